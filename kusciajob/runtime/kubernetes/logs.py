"""Reads the output of pods: while it comes for some, now and then for the others."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from msgspec import Struct

from kusciajob.contracts import OutputStream
from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece, Ref, nanoseconds
from kusciajob.runtime.kubernetes.api import Api, ApiError, NotFound

logger = logging.getLogger(__name__)

PART_BYTES = 64 * 1024
MAX_FOLLOWED = 400
"""So many streams of output are followed at once, each with a connection of its own."""
GLANCE_SECONDS = 5.0
GLANCES_PER_SECOND = 20
"""How often the others are read: each every few seconds, or as often as that rate allows; in any case when they end."""
PAUSE_SECONDS = 0.2
REFUSALS = 3
"""So often the output of a pod that has ended may be refused: its node may be a moment behind."""
READ_SECONDS = 300.0
"""A program may write nothing for long: its connection is made anew then."""
FIRST_SPLIT_MINOR = 32
_MAX_TIME_CHARACTERS = 40


class Source(NamedTuple):
    """A stream, and how the API server is asked for it alone; "" if it cannot be."""

    stream: OutputStream
    asked: str = ""


SPLIT = (Source(OutputStream.STDOUT, "Stdout"), Source(OutputStream.STDERR, "Stderr"))
UNSPLIT = (Source(OutputStream.STDOUT),)


class _Version(Struct, frozen=True):
    minor: str = ""


class LineReader:
    """Cuts what the API server sends into lines with times; long ones into parts of the same size each time."""

    def __init__(self, stream: OutputStream) -> None:
        self._stream = stream
        self._rest = bytearray()
        self._time = ""
        """Of a line of which a part was told."""

    def feed(self, chunk: bytes) -> Iterator[LogPiece]:
        """What is complete by now."""
        self._rest += chunk
        while True:
            end = self._rest.find(b"\n")
            if not self._time:
                space = self._rest.find(b" ", 0, _MAX_TIME_CHARACTERS)
                if space < 0 and end < 0 and len(self._rest) < _MAX_TIME_CHARACTERS:
                    return
                time = bytes(self._rest[: max(space, 0)]).decode(errors="replace")
                if not nanoseconds(time):
                    if end < 0:
                        return
                    # The cluster's own words, such as that the output is gone.
                    logger.warning("in an output: %s", bytes(self._rest[:end])[:200].decode(errors="replace"))
                    del self._rest[: end + 1]
                    continue
                self._time = time
                del self._rest[: space + 1]
                continue
            size = end + 1 if end >= 0 else len(self._rest)
            if size > PART_BYTES or (end < 0 and size == PART_BYTES):
                yield self._piece(PART_BYTES)
            elif end >= 0:
                yield self._piece(size)
                self._time = ""
            else:
                return

    def rest(self) -> Iterator[LogPiece]:
        """What was written last, without the end of a line."""
        if self._time and self._rest:
            yield self._piece(len(self._rest))

    def _piece(self, size: int) -> LogPiece:
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return LogPiece(self._stream, self._time, data)


class Logs:
    """The output of all pods of a server."""

    def __init__(self, api: Api, *, max_followed: int = MAX_FOLLOWED, glance_seconds: float = GLANCE_SECONDS) -> None:
        self._api = api
        self._turns = asyncio.Semaphore(max_followed)
        self._glance_seconds = glance_seconds
        self._reading = 0
        self._streams: tuple[Source, ...] = ()
        """What can be asked for; empty until that is known."""

    async def sources(self, path: str, container: str, over: asyncio.Event) -> tuple["Source", ...]:
        """What to read of a container: both streams, where the cluster tells them apart. It is asked once.

        That is a feature gate (PodLogsQuerySplitStreams). Earlier clusters ignore that they are asked for one stream.
        Raises EngineUnavailable while the container does not let it be known.
        """
        if not self._streams:
            version = await self._api.get("/version", _Version)
            self._streams = UNSPLIT
            if int("".join(filter(str.isdigit, version.minor)) or "0") >= FIRST_SPLIT_MINOR:
                try:
                    query = {"container": container, "limitBytes": "1", "stream": "Stdout"}
                    async with self._api.stream(f"{path}/log", read_seconds=READ_SECONDS, **query):
                        self._streams = SPLIT
                except ApiError as error:
                    if "stream" not in str(error):
                        self._streams = ()
                        if over.is_set() or isinstance(error, NotFound):
                            return UNSPLIT  # it never ran, or is gone
                        raise EngineUnavailable(f"the output of {container} cannot be read yet: {error}") from None
        return self._streams

    async def of_container(
        self, path: str, container: str, ref: Ref, source: "Source", *, since: str, over: asyncio.Event
    ) -> AsyncGenerator[LogPiece, None]:
        """The output of one container until it is `over`, and then what is left of it. Raises EngineUnavailable."""
        self._reading += 1
        try:
            async for piece in self._all(path, container, ref, source, place=_Place(since), over=over):
                yield piece
        finally:
            self._reading -= 1

    async def _all(
        self, path: str, container: str, ref: Ref, source: "Source", *, place: "_Place", over: asyncio.Event
    ) -> AsyncIterator[LogPiece]:
        refusals = 0
        while True:
            was_over = over.is_set()
            try:
                async for piece in self._read(path, container, source, place, is_last=was_over):
                    yield piece
            except NotFound:
                return
            except ApiError as error:
                refusals += was_over
                if refusals == REFUSALS:
                    logger.info("no output of %s: %s", ref.name, error)  # it never ran
                    return
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if was_over:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._pause_seconds())

    def _pause_seconds(self) -> float:
        """Until an output is read again: those that cannot be followed share a rate of requests."""
        if not self._turns.locked():
            return PAUSE_SECONDS
        return max(self._glance_seconds, self._reading / GLANCES_PER_SECOND)

    async def _read(
        self, path: str, container: str, source: "Source", place: "_Place", *, is_last: bool
    ) -> AsyncIterator[LogPiece]:
        query = {"container": container, "timestamps": "true"}
        if source.asked:
            query["stream"] = source.asked
        if place.time:
            query["sinceTime"] = place.time
        async with AsyncExitStack() as stack:
            if not is_last and not self._turns.locked():
                await stack.enter_async_context(self._turns)
                query["follow"] = "true"
            chunks = await stack.enter_async_context(
                self._api.stream(f"{path}/log", read_seconds=READ_SECONDS, **query)
            )
            reader = LineReader(source.stream)
            place.rewind()
            async for chunk in chunks:
                for piece in reader.feed(chunk):
                    if place.moves_to(piece):
                        yield piece
            # Where the connection was cut, this would be half of a line.
            for piece in reader.rest() if is_last else ():
                if place.moves_to(piece):
                    yield piece


class _Place:
    """How far an output was told: the time of the last piece, and how many pieces of that time."""

    def __init__(self, since: str) -> None:
        self.time = since
        self._at = nanoseconds(since)
        self._alike = 0
        self._from = 0
        self._to_skip = 0

    def rewind(self) -> None:
        """The output will be read again from the last time on."""
        self._from, self._to_skip = self._at, self._alike

    def moves_to(self, piece: LogPiece) -> bool:
        """Whether the piece is new."""
        at = nanoseconds(piece.time)
        if at < self._from:
            return False
        if at == self._from and self._to_skip:
            self._to_skip -= 1
            return False
        if at > self._at:
            self.time, self._at, self._alike = piece.time, at, 1
        elif at == self._at:
            self._alike += 1
        return True
