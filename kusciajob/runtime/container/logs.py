"""Reads the output of containers: frames of one line, or a part of one, each with its time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing

import aiohttp
from aiodocker.exceptions import DockerError

from kusciajob.contracts import OutputStream
from kusciajob.runtime.container.connection import CONFLICT, Connection, is_gone, refusal
from kusciajob.runtime.hosted.engine import PIECES_AHEAD, EngineUnavailable, LogPiece, nanoseconds
from kusciajob.streams import interleaved

HEADER_BYTES = 8
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Engines cut lines at 16 KiB."""
_STREAMS = {1: OutputStream.STDOUT, 2: OutputStream.STDERR}


async def read(
    connection: Connection, containers: Sequence[str], since: Mapping[OutputStream, str], *, follows: bool
) -> AsyncIterator[LogPiece]:
    """The output of all the containers so far; if it `follows`, until they stop. Raises EngineUnavailable.

    Of several containers the pieces come as they are read; after a broken connection, pieces of one that are older
    than what is known of the other are not told again.
    """
    sources = [_read_one(connection, container, since, follows=follows) for container in containers]
    async with aclosing(interleaved(sources, ahead=PIECES_AHEAD)) as pieces:
        async for piece in pieces:
            yield piece


async def _read_one(
    connection: Connection, container: str, since: Mapping[OutputStream, str], *, follows: bool
) -> AsyncGenerator[LogPiece, None]:
    first = min((nanoseconds(since.get(stream, "")) for stream in OutputStream), default=0)
    params = {
        "follow": "1" if follows else "0",
        "stdout": "1",
        "stderr": "1",
        "timestamps": "1",
        # Podman tells whole seconds and compares nanoseconds: the second before loses nothing.
        "since": str(max(first // 10**9 - 1, 0)),
    }
    newest: dict[OutputStream, int] = {}
    try:
        async with connection.stream("GET", f"containers/{container}/logs", params) as answer:
            while header := await _header(answer):
                size = int.from_bytes(header[4:])
                if header[0] not in _STREAMS or size > MAX_FRAME_BYTES:
                    raise EngineUnavailable("the container engine sends output in a form that is not known")
                frame = await answer.readexactly(size)
                time, _, data = frame.partition(b" ")
                piece = LogPiece(_STREAMS[header[0]], time.decode(errors="replace"), data)
                # When Docker begins a new file for its log, it tells the last lines of the former one twice.
                if (at := nanoseconds(piece.time)) >= newest.get(piece.stream, 0):
                    newest[piece.stream] = at
                    yield piece
    except DockerError as error:
        if error.status != CONFLICT and not is_gone(error):
            raise EngineUnavailable(f"output cannot be read: {refusal(error)}") from None


async def _header(answer: aiohttp.StreamReader) -> bytes:
    """The next frame's header; empty at the end."""
    try:
        return await answer.readexactly(HEADER_BYTES)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
