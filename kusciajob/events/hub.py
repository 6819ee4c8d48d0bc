"""Tails the store's log once, and lets any number of watchers read it from memory."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress

from cachetools import LRUCache

from kusciajob.contracts import JobStore
from kusciajob.events.filtered import FilteredStream
from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.events.selection import Selection
from kusciajob.events.source import Source
from kusciajob.events.stream import Stream, Timeouts
from kusciajob.model import weight
from kusciajob.model.errors import LogTruncated
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, JobEvent, JobSummary

logger = logging.getLogger(__name__)

RING_EVENTS = 1024
BATCH_EVENTS = 128


class Hub:
    """An EventHub over any store. What it promises to each stream:

    Ordered: live events come in the order of their commits.
    Unique: no change comes twice, neither in two events nor in the replay and an event.
    Reliable: however slow it reads, it learns the last state of every job, or ends with an error; never a hole.
    Resumable: `subscribe(after=...)` continues with exactly what was committed next. (A watcher may know some of that
        from a replay, whose pages show jobs as they are when they are read.)
    Bounded: a stream that does not read costs a place in the log, whatever happens meanwhile.

    A stream with a filter has the same guarantees for the events of jobs that pass the filter before or after the
    change. It is not woken for others. Streams with equal filters are a group, for which an event is matched once.

    An event is encoded once for all streams that are at most `ring_events` behind (fewer if events are big). While the
    store fails, the hub waits. Any other error closes the streams, and `wait_failed` raises it.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        ring_events: int = RING_EVENTS,
        batch_events: int = BATCH_EVENTS,
        timeouts: Timeouts = asyncio.timeout,
    ) -> None:
        self._timeouts = timeouts
        self._source = Source(store)
        self._ring = Ring(ring_events)
        self._batch_events = batch_events
        self._selection = Selection(self._ring)
        self._streams: set[Stream] = set()
        self._replayed: LRUCache[int, SharedEvent] = LRUCache(weight.KEPT_BYTES, lambda shared: shared.weight)
        self._tail: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the head of the log and begin to tail it."""
        self._ring.open(await self._source.head())
        self._tail = asyncio.create_task(self._follow_log(), name="event hub")
        self._tail.add_done_callback(self._note_end)

    async def close(self) -> None:
        """End every stream, and every read that waits, with HubClosed."""
        self._end("the event hub is closed")
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.wait([self._tail])

    async def wait_failed(self) -> None:
        """Return once the hub is closed, or raise the error that ended it."""
        if self._tail is not None:
            await asyncio.wait([self._tail])
            if not self._tail.cancelled():
                self._tail.result()

    @asynccontextmanager
    async def subscribe(self, *, after: int | None = None, chosen: JobFilter | None = None) -> AsyncIterator[Stream]:
        """See EventHub. Raises HubClosed."""
        self._ring.check_open()
        with self._filtered(after, chosen) if chosen is not None else nullcontext(self._unfiltered(after)) as stream:
            self._streams.add(stream)
            try:
                yield stream
            finally:
                self._streams.discard(stream)

    def _unfiltered(self, after: int | None) -> Stream:
        return Stream(
            ring=self._ring,
            source=self._source,
            after=after,
            batch_events=self._batch_events,
            added=self._added,
            timeouts=self._timeouts,
        )

    @contextmanager
    def _filtered(self, after: int | None, chosen: JobFilter) -> Iterator[Stream]:
        group = self._selection.join(chosen)
        stream = FilteredStream(
            group=group,
            ring=self._ring,
            source=self._source,
            after=after,
            batch_events=self._batch_events,
            added=self._added,
            timeouts=self._timeouts,
        )
        self._selection.mark(stream)
        try:
            yield stream
        finally:
            self._selection.unmark(stream)
            self._selection.leave(group)

    @property
    def head(self) -> int:
        """The newest revision that streams can read."""
        return self._ring.head

    @property
    def lags(self) -> list[int]:
        """For each open stream, how many events it has yet to read."""
        return [stream.lag for stream in self._streams]

    @property
    def waits_for(self) -> int:
        """How many open streams have yet to take what there is; 0 if all wait for more."""
        return sum(not stream.is_up_to_date for stream in self._streams)

    async def _follow_log(self) -> None:
        while True:
            try:
                await self._source.wait_log(self.head)
                events = await self._source.read_log(self.head, self._batch_events)
            except LogTruncated:
                # The log was truncated beyond what was published. Streams find out when they ask the store.
                self._ring.restart(await self._source.head())
                self._selection.restart()
                continue
            if events:
                published = [SharedEvent(event) for event in events]
                self._ring.append(published)
                self._selection.note(published)
            # A store with endless events, or endless hints, must not keep the streams from reading.
            await asyncio.sleep(0)

    def _added(self, job: JobSummary) -> SharedEvent:
        """The job as an ADDED event, or ERROR if damaged. Streams that replay it at about one time share it."""
        shared = self._replayed.get(job.revision)
        if shared is None:
            kind = EventType.ERROR if job.status.is_damaged else EventType.ADDED
            shared = SharedEvent(JobEvent(job.revision, kind, job))
            with suppress(ValueError):  # too large by itself
                self._replayed[job.revision] = shared
        return shared

    def _note_end(self, tail: asyncio.Task[None]) -> None:
        error = None if tail.cancelled() else tail.exception()
        if error is not None:
            logger.error("the event hub has died", exc_info=error)
            self._end(f"the event hub has died: {error!r}", error)

    def _end(self, reason: str, cause: BaseException | None = None) -> None:
        self._ring.close(reason, cause)
        for stream in self._streams:
            stream.interrupt()
