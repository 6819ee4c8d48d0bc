"""A whole server in this process, called from synchronous tests as Hypothesis needs them."""

import asyncio
import io
import logging
import sqlite3
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import aiohttp
import grpc
import grpc.aio
from google.protobuf.message import Message
from msgspec import Struct
from yarl import URL

from kusciajob.config import Settings
from kusciajob.server import Server
from tests.fuzz.faults import FaultLog
from tests.support.polling import PATIENCE_SECONDS

CALL_SECONDS = 2 * PATIENCE_SECONDS
"""Longer than what waits within a call has patience."""
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)


class HttpAnswer(Struct, frozen=True):
    """What came back over HTTP."""

    status: int
    body: bytes


class Edge:
    """Runs its event loop only while a call is made. `faults` is what the server logged as errors."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.data_dir = directory / "data"
        self.faults: list[str] = []
        chosen: dict[str, Any] = {"grpc_port": 0, "http_port": 0, "runtime": "simulated"} | settings
        self._settings = Settings(data_dir=self.data_dir, **chosen)
        self._runner = asyncio.Runner(debug=False)
        self._log = FaultLog(self.faults)
        self._server: Server | None = None
        self._parts: list[Any] = []

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._log)
        self._runner.get_loop().set_exception_handler(lambda _, context: self.faults.append(repr(context)))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            logging.getLogger().removeHandler(self._log)
            self._runner.close()

    @property
    def server(self) -> Server:
        assert self._server is not None, "the server is stopped"
        return self._server

    def start(self) -> None:
        """Start a server on the data directory, on ports of its own."""
        self.run(self._start())

    def stop(self) -> None:
        """Stop it in order."""
        self.run(self._stop())

    def run(self, work: Coroutine[Any, Any, T], *, timeout_seconds: float = CALL_SECONDS) -> T:
        """The result; TimeoutError is a hang."""

        async def bounded() -> T:
            async with asyncio.timeout(timeout_seconds):
                return await work

        return self._runner.run(bounded())

    def call(self, path: str, request: Message, kind: type[Answer]) -> Answer:
        """A unary gRPC call that must end OK."""
        code, answers = self.call_bytes(path, request.SerializeToString())
        assert code is grpc.StatusCode.OK, (path, code, answers)
        return kind.FromString(answers[0])

    def call_bytes(self, path: str, request: bytes) -> tuple[grpc.StatusCode, list[bytes]]:
        """How a gRPC call ended and its answers; a stream is left after the first one."""
        return self.run(self.ask(path, request))

    def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """An HTTP call with a whole answer; of an endless one the first line."""
        return self.run(self.fetch(method, path, body, headers or {}))

    def exchange(self, pieces: Sequence[bytes], *, then: Literal["wait", "end", "leave"]) -> bytes:
        """What the HTTP port answers to bytes sent in pieces: until it closes, after our end, or nothing."""
        return self.run(self._exchange(pieces, then))

    def head(self) -> int:
        """The newest revision in the store's file."""
        with closing(sqlite3.connect(self.data_dir / "jobs.db")) as connection:
            return int(connection.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()[0])

    def check(self) -> None:
        """The server is well: it answers on both ports, no part has died and no error was logged."""
        faults = self.faults.copy()
        self.faults.clear()  # each test answers for its own
        assert not faults, faults
        assert not self.server._failed.done()
        assert self.call_bytes("/grpc.health.v1.Health/Check", b"") == (grpc.StatusCode.OK, [b"\x08\x01"])
        assert self.http("GET", "/healthZ").status == 200

    async def _start(self) -> None:
        server = await Server(self._settings).__aenter__()
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=_OPTIONS)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._server = server

    async def _stop(self) -> None:
        if self._server is None:
            return
        await self._session.close()
        await self._channel.close(None)
        server, self._server = self._server, None
        await server.__aexit__(None, None, None)

    async def ask(self, path: str, request: bytes) -> tuple[grpc.StatusCode, list[bytes]]:
        """See `call_bytes`."""
        call = self._channel.unary_stream(path, _same, _same)(request, timeout=CALL_SECONDS)
        answers = []
        try:
            async for answer in call:
                answers.append(answer)
                if path.endswith(("/WatchJob", "/Watch")):
                    call.cancel()
                    return grpc.StatusCode.OK, answers
        except grpc.aio.AioRpcError as error:
            return error.code(), answers
        return grpc.StatusCode.OK, answers

    def watch(self) -> Any:
        """A WatchJob stream that the caller reads and ends."""
        path = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService/WatchJob"
        return self._channel.unary_stream(path, _same, _same)(b"")

    async def fetch(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        """See `http`."""
        url = URL(f"http://127.0.0.1:{self.server.http_port}{path}", encoded=True)
        async with self._session.request(method, url, data=body and io.BytesIO(body), headers=headers) as response:
            if path.endswith("/watch") and response.status == 200:
                return HttpAnswer(response.status, b"")
            return HttpAnswer(response.status, await response.read())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the HTTP port."""
        return await asyncio.open_connection("127.0.0.1", self.server.http_port)

    async def _exchange(self, pieces: Sequence[bytes], then: str) -> bytes:
        reader, writer = await self.connect()
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if then == "leave":
                return b""
            if then == "end":
                writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def _same(data: bytes) -> bytes:
    return data
