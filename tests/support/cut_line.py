"""A line to a server that can be cut: new connections are refused, those that are open end."""

import asyncio
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class CutLine:
    """Forwards connections of a port of this machine. `silence` is a half-open connection: nothing comes any more."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.loses_answers = False
        """What is asked arrives; what is answered does not, and nobody is told."""
        self.port = 0
        self.connections = 0
        """How many were made."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def mend(self) -> None:
        if self._server is None:
            await self.open()

    def silence(self) -> None:
        """What is sent from now on does not arrive; nobody is told."""
        self._flows.clear()

    def speak(self) -> None:
        self._flows.set()

    async def close(self) -> None:
        await self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        # asyncio's servers complain of cancelled handlers.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer, is_answer=True))
        self._writers -= {writer, far_writer}

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._flows.wait()
                if is_answer and self.loses_answers:
                    continue
                writer.write(chunk)
                await writer.drain()
        writer.close()
