"""One address before several servers: each connection goes to one that answers, as a proxy does that checks health."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

CHECK_SECONDS = 0.5
ANSWER_SECONDS = 2.0
CHUNK_BYTES = 64 * 1024


class FrontDoor:
    """Forwards to the servers' gRPC addresses, in turn. Connections to one that does not answer are cut.

    `servers`: for each the HTTP address that is asked whether it answers, and the gRPC address.
    """

    def __init__(self, servers: Sequence[tuple[str, str]]) -> None:
        self._servers = servers
        self._answers = [False] * len(servers)
        self._open: list[set[asyncio.StreamWriter]] = [set() for _ in servers]
        self._turn = count()
        self._listener: asyncio.Server | None = None
        self._checks: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        self._checks = [asyncio.create_task(self._check(place)) for place in range(len(self._servers))]

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in (*self._checks, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._checks, *self._tasks, return_exceptions=True)

    async def _check(self, place: int) -> None:
        while True:
            self._answers[place] = await _answers(self._servers[place][0])
            if not self._answers[place]:
                for writer in list(self._open[place]):
                    writer.transport.abort()
            await asyncio.sleep(CHECK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for _ in self._servers:
            place = next(self._turn) % len(self._servers)
            host, _, port = self._servers[place][1].rpartition(":")
            if self._answers[place]:
                with suppress(OSError):
                    far_reader, far_writer = await asyncio.open_connection(host, int(port))
                    break
        else:
            writer.transport.abort()
            return
        self._open[place] |= {writer, far_writer}
        with suppress(asyncio.CancelledError):  # asyncio's servers complain of cancelled handlers
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._open[place] -= {writer, far_writer}
        for each in (writer, far_writer):
            each.transport.abort()


async def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /healthZ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
