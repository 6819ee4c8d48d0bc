"""A watcher that wants some jobs only. It is woken for what it wants, and now and then to be told where it is."""

import asyncio
from collections.abc import Callable, Sequence

from kusciajob.contracts import Published
from kusciajob.events.replay import FilteredReplay, Replay
from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.events.selection import BOOKMARK_EVENTS, Group, wants
from kusciajob.events.source import Source
from kusciajob.events.stream import Stream, Timeouts
from kusciajob.model.status import JobSummary


class FilteredStream(Stream):
    """A Stream of the events that a filter wants.

    A read returns empty before its time is over where a bookmark is due: at the end of a replay, and after
    BOOKMARK_EVENTS events that are not wanted.
    """

    def __init__(
        self,
        *,
        group: Group,
        ring: Ring,
        source: Source,
        after: int | None,
        batch_events: int,
        added: Callable[[JobSummary], SharedEvent],
        timeouts: Timeouts = asyncio.timeout,
    ) -> None:
        self._group = group
        super().__init__(
            ring=ring, source=source, after=after, batch_events=batch_events, added=added, timeouts=timeouts
        )
        self._owes_bookmark = after is None
        self.bookmark_at = self._cursor + BOOKMARK_EVENTS

    @property
    def lag(self) -> int:
        """How many events it has yet to read or to leave out; none if all that it has not passed are not wanted."""
        if self._is_live and not self._group.has_any_after(self._cursor):
            return 0
        return super().lag

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """See WatchStream. Raises LogTruncated, HubClosed."""
        events = await super().read(timeout)
        if not events and self._is_live:
            events = self._take_live()  # at least the place moves on
        if self._replay is None:
            self.bookmark_at = self._cursor + BOOKMARK_EVENTS
            if not events:
                self._owes_bookmark = False
        return events

    def end_wait(self) -> None:
        """End a read that only waits for events: while it reads the store, it finds itself that a bookmark is due."""
        if self._replay is None and self._is_live:
            self.interrupt()

    def _new_replay(self) -> Replay:
        return FilteredReplay(self._source, chosen=self._group.chosen, start=self._cursor, limit=self._batch_events)

    async def _next(self) -> list[SharedEvent]:
        while True:
            if was_behind := not self._is_live:
                # As in a Stream: a store may answer without yielding to the event loop.
                await asyncio.sleep(0)
                events = await self._read_store()
            else:
                events = self._take_live()
            if events or self._is_bookmark_due:
                return events
            if was_behind:  # a replay that has just found nothing more ends with the next look
                continue
            if self._group.has_any_after(self._cursor):
                await asyncio.sleep(0)  # much is left to be looked through
                continue
            # As long as the replay covers events that are yet to come, each of them counts.
            await (self._group if self._replay is None else self._ring).wait()
            self._ring.check_open()

    @property
    def _is_bookmark_due(self) -> bool:
        return self._replay is None and (self._owes_bookmark or self._cursor >= self.bookmark_at)

    def _take_live(self) -> list[SharedEvent]:
        events, through = self._group.after(self._cursor, self._batch_events)
        return self._pass_to(through, events)

    def _pass(self, events: list[SharedEvent]) -> list[SharedEvent]:
        if not events:
            return events
        chosen = self._group.chosen
        return self._pass_to(events[-1].event.revision, [each for each in events if wants(chosen, each.event)])
