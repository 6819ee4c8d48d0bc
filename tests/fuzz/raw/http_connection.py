"""The HTTP edge without its sockets: all the bytes that a client sends on a connection before it ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf import json_format

from kusciajob.api.calls import build_calls
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.http.gateway import HttpGateway
from kusciajob.api.routes import ROUTES
from kusciajob.telemetry.metrics import Metrics
from tests.fuzz.raw.requests import good_requests
from tests.fuzz.raw.world import finish, opened_world

MAX_MESSAGE_BYTES = 3_000
"""Less than what an input may have."""
TURNS = 50
"""So many turns of the event loop, and every call without a thread is answered."""
LEAVES_AFTER = 2
"""So many lines of a stream; there is always one more."""
_, _gate = open_gates(Limits(), Metrics())


class Connection(asyncio.Transport):
    """The server's end of a connection. The client keeps what it gets, and leaves a stream when it has seen enough."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 4711)})
        self.received = bytearray()
        self._protocol = protocol
        self._closed = asyncio.Event()
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """The client sends."""
        self._protocol.data_received(data)

    def end(self) -> None:
        """The client sends no more."""
        if not self.is_closing() and not self._protocol.eof_received():
            self.close()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.received += data
        if self.received.count(b"}\n") >= LEAVES_AFTER:
            self.close()

    def close(self) -> None:
        if not self.is_closing():
            self._closed.set()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self._closed.is_set()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """There is nothing to read but what was sent."""

    resume_reading = pause_reading


@asynccontextmanager
async def opened_connection() -> AsyncIterator[Connection]:
    """To a new server."""
    async with opened_world() as world:
        gateway = HttpGateway(
            build_calls(world.service, world.output, app_images=world.app_images),
            gate=_gate,
            read_metrics=_read_no_metrics,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        connection = Connection(gateway._listener._server())
        try:
            yield connection
        finally:
            connection.close()
            await gateway.stop()


async def _read_no_metrics() -> bytes:
    return b""


def run(data: bytes) -> None:
    """Answered in HTTP or not at all."""
    received = finish(_exchange(data))
    assert not received or received.startswith(b"HTTP/"), received
    assert received[9:12] != b"500", received


async def _exchange(data: bytes) -> bytes:
    async with opened_connection() as connection:
        connection.send(data)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        connection.end()
        await connection.wait_closed()
        return bytes(connection.received)


def seeds() -> list[bytes]:
    paths = {route.name: route.path for route in ROUTES}
    bodies = [(paths[name], json_format.MessageToJson(request, indent=None)) for name, request in good_requests()]
    posts = [
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        for path, body in bodies[::4]
    ]
    chunked = "POST /api/v1/job/query HTTP/1.1\r\nTransfer-Encoding: chunked\r\nToken: t\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    gets = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in ("/healthZ", "/openapi.json", "/metrics", "/no")
    ]
    others = [
        "POST /healthZ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        "OPTIONS * HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "".join(gets),
    ]
    return [text.encode() for text in (*posts, chunked, *gets, *others)]
