"""Connections that say nothing, or half of something, to a port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HALF_A_HEAD = b"POST /report/progress HTTP/1.1\r\nHost: x\r\nX-Slow:"


class Silent:
    """Connections that only wait."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    async def connect(self, address: str, count: int, *, first_words: bytes = b"", source: str = "127.0.0.1") -> None:
        """Make so many more, from one address; those that are refused at once count as closed."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            connection.bind((source, 0))
            await loop.sock_connect(connection, (host, int(port)))
            self._open.append(connection)
            with suppress(ConnectionError):
                await loop.sock_sendall(connection, first_words)

    def closed(self) -> int:
        """How many the other side has closed by now."""
        return sum(map(_is_closed, self._open))

    def close(self) -> None:
        for connection in self._open:
            connection.close()


@asynccontextmanager
async def silence() -> AsyncIterator[Silent]:
    """Nothing of it is left afterwards."""
    silent = Silent()
    try:
        yield silent
    finally:
        silent.close()


def _is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
