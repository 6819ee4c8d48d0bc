"""One watcher: a place in the log. Nothing grows while the watcher does not read."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from kusciajob.contracts import Published
from kusciajob.events.replay import Replay
from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.events.source import Source
from kusciajob.model.status import JobSummary

Timeouts: TypeAlias = Callable[[float | None], AbstractAsyncContextManager[asyncio.Timeout]]
"""What limits how long a read waits, as asyncio.timeout."""


class Stream:
    """A WatchStream. It reads the ring, or the store's log after it has fallen behind.

    One read at a time. A cancelled read loses nothing.
    """

    def __init__(
        self,
        *,
        ring: Ring,
        source: Source,
        after: int | None,
        batch_events: int,
        added: Callable[[JobSummary], SharedEvent],
        timeouts: Timeouts = asyncio.timeout,
    ) -> None:
        self._timeouts = timeouts
        self._ring = ring
        self._source = source
        self._batch_events = batch_events
        self._added = added
        self._cursor = ring.head if after is None else after
        self._replay = self._new_replay() if after is None else None
        self._deadline: asyncio.Timeout | None = None

    @property
    def lag(self) -> int:
        """How many events it has yet to read, not counting a replay."""
        return max(0, self._ring.head - self._cursor)

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """The next events, at least one; empty after `timeout` seconds without any. Raises LogTruncated, HubClosed."""
        self._ring.check_open()
        if self._is_live and (events := self._take_live()):
            return events
        try:
            async with self._timeouts(timeout) as self._deadline:
                return await self._next()
        except TimeoutError:
            self._ring.check_open()
            return []
        finally:
            self._deadline = None

    @property
    def is_up_to_date(self) -> bool:
        """Whether its watcher has taken all that there is, and waits for more."""
        return self._deadline is not None and self._is_live and not self.lag

    def interrupt(self) -> None:
        """End a waiting read at once, because the hub is closed."""
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())

    @property
    def position(self) -> int | None:
        """See WatchStream."""
        return self._cursor if self._replay is None else None

    def _new_replay(self) -> Replay:
        return Replay(self._source, start=self._cursor, limit=self._batch_events)

    async def _next(self) -> list[SharedEvent]:
        while True:
            if not self._is_live:
                # A store may answer without yielding to the event loop, and there may be a thousand pages.
                await asyncio.sleep(0)
                events = await self._read_store()
            elif self.lag:
                events = self._take_live()
            else:
                await self._ring.wait()
                self._ring.check_open()
                continue
            if events:
                return events

    @property
    def _is_live(self) -> bool:
        return (self._replay is None or self._replay.is_complete) and self._ring.reaches(self._cursor)

    def _take_live(self) -> list[SharedEvent]:
        return self._pass(self._ring.after(self._cursor, self._batch_events))

    async def _read_store(self) -> list[SharedEvent]:
        if self._replay is not None and not self._replay.is_complete:
            return [self._added(job) for job in await self._replay.next_page()]
        events = await self._source.read_log(self._cursor, self._batch_events)
        return self._pass([SharedEvent(event) for event in events])

    def _pass(self, events: list[SharedEvent]) -> list[SharedEvent]:
        """Pass these events; return those that the watcher does not know from the replay."""
        return self._pass_to(events[-1].event.revision, events) if events else events

    def _pass_to(self, revision: int, events: list[SharedEvent]) -> list[SharedEvent]:
        """The same where others up to that revision are passed, too."""
        self._cursor = revision
        replay = self._replay
        if replay is None:
            return events
        if replay.covers_nothing_after(self._cursor):
            self._replay = None
        return [shared for shared in events if not replay.covers(shared.event)]
