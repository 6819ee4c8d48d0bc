"""What filtered streams want: the hub asks once for each event and kind of filter, not once for each stream."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Protocol, TypeAlias

from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobEvent

BOOKMARK_EVENTS = 1000
"""After so many events that it does not want, a stream is told where it is."""
RECENT_EVENTS = 32
"""So many wanted events are remembered for each filter. A stream that has more to read looks for them in the ring."""
FIRST_BOOKMARK_STEP = 617
"""Spreads the first bookmarks of streams that begin together; it has no common factor with BOOKMARK_EVENTS."""

_Key: TypeAlias = tuple[str, str]
"""What an event must have to be a candidate: a kind, and a value of it."""

_ANY: _Key = ("any", "")


def wants(chosen: JobFilter, event: JobEvent) -> bool:
    """Whether the event is told: its job passes before or after it, or that cannot be known, because it is damaged."""
    before, after = chosen.passes(event)
    return before or after or (event.job.status.is_damaged and chosen.matches_always(event.job))


class Marked(Protocol):
    """A stream that is told where it is from time to time."""

    bookmark_at: int
    """The revision at which that is due."""

    def end_wait(self) -> None:
        """End a read that only waits for events."""


class Group:
    """The streams with equal filters. It remembers the revisions of the newest events that they want.

    `complete_after`: it knows every wanted event with a revision above that.
    """

    def __init__(self, chosen: JobFilter, ring: Ring) -> None:
        self.chosen = chosen
        self.streams = 0
        self._ring = ring
        self._recent: deque[int] = deque()
        self._complete_after = ring.head
        self._news = asyncio.Event()

    def note(self, revision: int) -> None:
        """An event that is in the ring is wanted. The waiting streams are to be woken after that."""
        self._recent.append(revision)
        if len(self._recent) > RECENT_EVENTS:
            self._complete_after = self._recent.popleft()

    def restart(self) -> None:
        """The ring continues, empty, at its head."""
        self._recent.clear()
        self._complete_after = self._ring.head
        self.wake()

    def wake(self) -> None:
        self._news.set()
        self._news.clear()

    async def wait(self) -> None:
        """Until a wanted event is in the ring, or the ring is restarted."""
        await self._news.wait()

    def has_any_after(self, revision: int) -> bool:
        """Whether there may be a wanted event after that revision."""
        return revision < self._complete_after or (bool(self._recent) and self._recent[-1] > revision)

    def after(self, revision: int, limit: int) -> tuple[list[SharedEvent], int]:
        """Up to `limit` wanted events after a revision that the ring reaches, and the revision looked through.

        It can find nothing and not have looked through all.
        """
        ring = self._ring
        if revision < self._complete_after:
            looked_at = ring.after(revision, limit)
            return [shared for shared in looked_at if wants(self.chosen, shared.event)], revision + len(looked_at)
        wanted = [each for each in self._recent if each > revision]
        if len(wanted) > limit:
            wanted = wanted[:limit]
            return list(map(ring.at, wanted)), wanted[-1]
        return list(map(ring.at, wanted)), max(revision, ring.head)


class Selection:
    """All groups, found by what an event must have at least to be wanted.

    A stream that does not want an event costs nothing then. After BOOKMARK_EVENTS of them its read ends.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._groups: dict[JobFilter, Group] = {}
        self._candidates: dict[_Key, dict[JobFilter, Group]] = defaultdict(dict)
        self._kinds: dict[str, int] = defaultdict(int)
        """How many groups are found by each kind of key."""
        self._due: dict[int, set[Marked]] = defaultdict(set)
        """The streams by the revision at which a bookmark may be due."""
        self._due_of: dict[Marked, int] = {}
        self._seen = 0
        self._serial = count()

    def join(self, chosen: JobFilter) -> Group:
        """The group of a stream, which must `leave` it."""
        group = self._groups.get(chosen)
        if group is None:
            group = self._groups[chosen] = Group(chosen, self._ring)
            keys = _keys_of(chosen)
            self._kinds[keys[0][0]] += 1
            for key in keys:
                self._candidates[key][chosen] = group
        group.streams += 1
        return group

    def leave(self, group: Group) -> None:
        group.streams -= 1
        if group.streams:
            return
        del self._groups[group.chosen]
        keys = _keys_of(group.chosen)
        self._kinds[keys[0][0]] -= 1
        for key in keys:
            found = self._candidates[key]
            del found[group.chosen]
            if not found:
                del self._candidates[key]

    def mark(self, stream: Marked) -> None:
        """End a read of the stream at its `bookmark_at`, the first time somewhat earlier: not all at once."""
        step = 1 + next(self._serial) * FIRST_BOOKMARK_STEP % BOOKMARK_EVENTS
        stream.bookmark_at += step - BOOKMARK_EVENTS
        self._set_due(stream)

    def unmark(self, stream: Marked) -> None:
        """Forget the stream."""
        revision = self._due_of.pop(stream)
        self._due[revision].discard(stream)
        if not self._due[revision]:
            del self._due[revision]

    def note(self, events: Sequence[SharedEvent]) -> None:
        """Wake the streams that want any of these events, which the ring has now, or to which a bookmark is due."""
        if not self._groups:
            self._seen = self._ring.head
            return
        woken: set[Group] = set()
        for shared in events:
            event = shared.event
            for group in self._candidates_of(event):
                if wants(group.chosen, event):
                    group.note(event.revision)
                    woken.add(group)
        for group in woken:
            group.wake()
        for revision in range(self._seen + 1, self._ring.head + 1):
            self._end_waits(revision)
        self._seen = self._ring.head

    def restart(self) -> None:
        """The ring continues, empty, at its head."""
        for group in self._groups.values():
            group.restart()
        for revision in [revision for revision in self._due if revision <= self._ring.head]:
            self._end_waits(revision)
        self._seen = self._ring.head

    def _end_waits(self, revision: int) -> None:
        for stream in self._due.pop(revision, ()):
            if stream.bookmark_at <= self._ring.head:
                stream.end_wait()
            self._set_due(stream)

    def _set_due(self, stream: Marked) -> None:
        head = self._ring.head
        due = stream.bookmark_at if stream.bookmark_at > head else head + BOOKMARK_EVENTS
        self._due_of[stream] = due
        self._due[due].add(stream)

    def _candidates_of(self, event: JobEvent) -> Iterator[Group]:
        job, kinds = event.job, self._kinds
        keys = [_ANY, ("id", job.job_id), ("initiator", job.initiator)]
        if kinds["party"] or kinds["own"]:
            domains = job.status.domains
            if kinds["party"]:
                keys += [("party", domain) for domain in domains]
            if kinds["own"]:
                keys += [("own", domain) for domain in {job.initiator, *domains}]
        for key in keys:
            if key in self._candidates:
                yield from self._candidates[key].values()


def _keys_of(chosen: JobFilter) -> list[_Key]:
    """All of one kind: an event that the filter lets pass has exactly one of them."""
    if chosen.job_ids:
        return [("id", job_id) for job_id in chosen.job_ids]
    if chosen.initiator:
        return [("initiator", chosen.initiator)]
    if chosen.party:
        return [("party", chosen.party)]
    return [("own", chosen.visible_to)] if chosen.visible_to else [_ANY]
