"""The newest events, in memory, shared by all streams."""

import asyncio
from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from kusciajob.contracts import Form, HubClosed
from kusciajob.model import failures, weight
from kusciajob.model.status import JobEvent

RING_BYTES = 64 << 20
"""What the events in the ring may take, roughly."""
FORMS = weight.FORMS + 2
"""What an event weighs with its encodings, protobuf and JSON for two kinds of watches, in multiples of itself."""
KEPT_VIEWS = 8
"""So many domains' views of an event with details are kept with it; others are made for each watcher."""


class SharedEvent:
    """A Published: all streams that read it from the ring share the object and its encodings."""

    __slots__ = ("_forms", "_views", "event", "weight")

    def __init__(self, event: JobEvent) -> None:
        self.event = event
        self._forms: dict[Form, bytes] = {}
        self._views: dict[str, SharedEvent] | None = {} if event.job.status.has_details else None
        """What domains see of it; None where all see the same."""
        job = event.job
        self.weight = FORMS * (weight.status_bytes(job.status) + weight.traits_bytes(job.traits))
        if self._views is not None:
            self.weight *= 1 + KEPT_VIEWS

    def encoded(self, encode: Form) -> bytes:
        """The encoded event. `encode` is called once and must be the same function each time."""
        form = self._forms.get(encode)
        if form is None:
            form = self._forms[encode] = encode(self.event)
        return form

    def seen_by(self, domain: str) -> "SharedEvent":
        """The event without the details of other domains' parties."""
        if self._views is None:
            return self
        view = self._views.get(domain)
        if view is None:
            job = self.event.job
            view = SharedEvent(replace(self.event, job=replace(job, status=failures.seen_by(job.status, domain))))
            if len(self._views) < KEPT_VIEWS:
                self._views[domain] = view
        return view


class Ring:
    """The newest events without gaps, up to `head`: at most `capacity`, fewer if they are big, but at least one.

    It is closed until `open`; while it is closed, every call raises HubClosed.
    """

    def __init__(self, capacity: int, max_bytes: int = RING_BYTES) -> None:
        if capacity < 1:
            raise ValueError(f"the ring must hold at least 1 event, not {capacity}")
        self.head = 0
        self.weight = 0
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._events: deque[SharedEvent] = deque()
        self._news = asyncio.Event()
        self._closed: str | None = "the event hub is not open yet"
        self._cause: BaseException | None = None

    def open(self, head: int) -> None:
        """Begin, empty, after that revision."""
        self._closed = None
        self.restart(head)

    def restart(self, head: int) -> None:
        """Continue, empty, after that revision. Earlier events are in the store's log only."""
        self._events.clear()
        self.weight = 0
        self.head = head
        self._wake_all()

    def append(self, events: Iterable[SharedEvent]) -> None:
        """Publish the events that follow `head`. One signal wakes all waiting streams."""
        kept = self._events
        for shared in events:
            kept.append(shared)
            self.weight += shared.weight
        while len(kept) > self._capacity or (self.weight > self._max_bytes and len(kept) > 1):
            self.weight -= kept.popleft().weight
        self.head = kept[-1].event.revision
        self._wake_all()

    def close(self, reason: str, cause: BaseException | None = None) -> None:
        """From now on every call raises HubClosed. An earlier reason that has a cause stays."""
        if self._cause is None:
            self._closed, self._cause = reason, cause
        self._wake_all()

    def check_open(self) -> None:
        if self._closed is not None:
            raise HubClosed(self._closed) from self._cause

    def reaches(self, revision: int) -> bool:
        """Whether every event after that revision is here, or yet to come."""
        return revision >= self.head - len(self._events)

    def after(self, revision: int, limit: int) -> list[SharedEvent]:
        """Up to `limit` events after a revision that the ring reaches."""
        events = self._events
        start = revision - (self.head - len(events))
        # By index: a deque counts from the nearer end, and most streams are near the head.
        return [events[index] for index in range(start, min(start + limit, len(events)))]

    def at(self, revision: int) -> SharedEvent:
        """The event of a revision that the ring holds."""
        return self._events[revision - 1 - (self.head - len(self._events))]

    async def wait(self) -> None:
        """Until something is appended, or the ring is restarted or closed."""
        await self._news.wait()

    def _wake_all(self) -> None:
        self._news.set()
        self._news.clear()
