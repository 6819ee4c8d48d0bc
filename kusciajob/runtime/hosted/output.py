"""Keeps the output of a workload while it runs, each piece once, whatever becomes of connections and servers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from kusciajob.runtime.file_work import FileWork
from kusciajob.runtime.hosted.engine import Engine, EngineUnavailable, LogPiece, OutputIncomplete, Ref, nanoseconds
from kusciajob.runtime.hosted.kept import KeptRun, Progress

logger = logging.getLogger(__name__)

MAX_PENDING_BYTES = 1 << 20
"""So much may wait to be written; then nothing more is read."""
DRAIN_SECONDS = 30.0
"""How long the end of a workload waits for the rest of its output once the engine fails to bring it."""
LONGEST_DRAIN_SECONDS = 600.0
"""The same of an engine that does not fail: where thousands end at once, each waits for its turn."""
GONE_DRAIN_SECONDS = 2.0


async def nobody_else() -> None:
    """There is one server."""


class OutputCollector:
    """Collects the output of one workload into the directory of its run, from where it was left, until it ends."""

    def __init__(
        self,
        engine: Engine,
        ref: Ref,
        kept: KeptRun,
        *,
        pause: Callable[[], Awaitable[None]],
        file_work: FileWork,
        limit_bytes: int | None,
        held: Callable[[], Awaitable[None]] = nobody_else,
    ) -> None:
        """`held`: see HostedRuntime."""
        self._held = held
        self._engine = engine
        self._ref = ref
        self._kept = kept
        self._pause = pause
        self._file_work = file_work
        self._limit_bytes = limit_bytes
        self._progress = Progress()
        self._has_complained = False
        self.failed = asyncio.Event()
        """Set when the engine could not be asked, until it is asked again."""

    async def run(self) -> None:
        """Return once all output is kept."""
        self._progress = await self._file_work.do(self._kept.resume)
        while True:
            self.failed.clear()
            try:
                await self._collect()
            except OutputIncomplete:
                # What comes again is written over what came.
                self._progress = replace(self._progress, streams=self._progress.began)
            except EngineUnavailable:
                self.failed.set()
                await self._pause()
            else:
                return

    async def _collect(self) -> None:
        """Write what comes; while that is being written, more is read."""
        pending: list[LogPiece] = []
        has_more, has_room = asyncio.Event(), asyncio.Event()
        reading = asyncio.create_task(self._read(pending, has_more, has_room), name=f"log of {self._ref.name}")
        reading.add_done_callback(lambda _: has_more.set())
        try:
            while not (reading.done() and not pending):
                await has_more.wait()
                has_more.clear()
                pieces = pending[:]
                pending.clear()
                has_room.set()
                if pieces:
                    await self._write(pieces)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, pending: list[LogPiece], has_more: asyncio.Event, has_room: asyncio.Event) -> None:
        streams, began = self._progress.streams, self._progress.began
        since = {stream: position.time for stream, position in streams.items()}
        has_gone_on = False
        size = 0
        async for piece in self._new(self._engine.logs(self._ref, since, is_continued=streams != began)):
            if not has_gone_on:
                # What came before is complete, and nothing of this has been written yet.
                self._progress = replace(self._progress, began=streams)
                has_gone_on = True
            size = size + len(piece.data) if pending else len(piece.data)
            pending.append(piece)
            has_more.set()
            while pending and size > MAX_PENDING_BYTES:
                has_room.clear()
                await has_room.wait()

    async def _new(self, pieces: AsyncIterator[LogPiece]) -> AsyncIterator[LogPiece]:
        """Leave out what is kept already."""
        streams = self._progress.streams.items()
        known = {stream: (nanoseconds(position.time), position.pieces) for stream, position in streams}
        async for piece in pieces:
            time, alike = known.get(piece.stream, (0, 0))
            at = nanoseconds(piece.time)
            if at > time or not time:
                known.pop(piece.stream, None)
                yield piece
            elif at == time and alike > 0:
                known[piece.stream] = time, alike - 1
            elif at == time:
                yield piece

    async def _write(self, pieces: list[LogPiece]) -> None:
        await self._held()
        append = partial(self._kept.append, pieces, self._progress, limit_bytes=self._limit_bytes)
        try:
            self._progress = await self._file_work.do(append)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Output that cannot be kept is dropped; the program goes on."""
        if not self._has_complained and self._kept.exists:
            logger.error("output of %s cannot be kept: %s", self._ref.name, error.strerror)
        self._has_complained = True


async def drained(collecting: "asyncio.Task[None]", failed: asyncio.Event, *, is_gone: bool) -> None:
    """Wait until all output is kept, but not for ever: an engine may fail just then."""
    if not is_gone:
        failing = asyncio.create_task(failed.wait(), name="failure of an output")
        await asyncio.wait({collecting, failing}, timeout=LONGEST_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        failing.cancel()
        await asyncio.gather(failing, return_exceptions=True)
    if failed.is_set() or is_gone:
        await asyncio.wait({collecting}, timeout=GONE_DRAIN_SECONDS if is_gone else DRAIN_SECONDS)
    if not collecting.done():
        logger.warning("%s: the rest of it did not come in time", collecting.get_name())
        collecting.cancel()
    for error in await asyncio.gather(collecting, return_exceptions=True):
        if isinstance(error, Exception):
            logger.error("%s failed: %s", collecting.get_name(), error, exc_info=error)
