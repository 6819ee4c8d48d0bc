"""The HTTP edge under clients that misbehave and below a service that fails: what it costs, and what they are told."""

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest

from kusciajob.api.calls import build_calls
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc.server import AddressInUse
from kusciajob.api.http import connections as http_connections
from kusciajob.api.http import gateway as http_gateway
from kusciajob.api.http import messages as http_messages
from kusciajob.api.http import streams as http_streams
from kusciajob.api.http.gateway import HttpGateway
from kusciajob.clock import SystemClock
from kusciajob.contracts import Form, HubClosed, Published
from kusciajob.events.ring import SharedEvent
from kusciajob.model.errors import LogTruncated
from kusciajob.model.status import EventType, Job, JobEvent
from kusciajob.telemetry.metrics import Metrics
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from tests.support.builders import new_job
from tests.support.polling import PATIENCE_SECONDS, eventually

HOST = "127.0.0.1"
MAX_BYTES = 64 * 1024
EVENT = SharedEvent(JobEvent(1, EventType.MODIFIED, new_job("x" * 200).summary))
BATCH_EVENTS = 100


class Service:
    """A service whose watch does what it is told to, and counts."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.open_streams = 0
        self.read_batches = 0
        self.batches = 0
        """How many batches a stream has; endlessly many below 0."""
        self.end: BaseException | None = None
        """What comes after the batches; None: nothing, ever."""

    @asynccontextmanager
    async def watch(self, caller: Caller, *, form: Form | None = None) -> AsyncIterator["Service"]:
        self.open_streams += 1
        try:
            yield self
        finally:
            self.open_streams -= 1

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        if self.batches:
            self.batches -= 1
            self.read_batches += 1
            return [EVENT] * BATCH_EVENTS
        if self.end is not None:
            raise self.end
        try:
            async with asyncio.timeout(timeout):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        return []

    async def query(self, job_id: str, caller: Caller) -> Job:
        raise RuntimeError("the secret details")


class Output:
    """Output that is followed for ever."""

    def __init__(self) -> None:
        self.followers = 0

    async def read(self, task_id: str, **_: object) -> AsyncIterator[str]:
        self.followers += 1
        try:
            yield "one line\n"
            await asyncio.Event().wait()
        finally:
            self.followers -= 1


async def no_metrics() -> bytes:
    return b""


class Edge:
    """A gateway before the doubles."""

    def __init__(self) -> None:
        self.service = Service()
        self.output = Output()
        self.port = 0
        calls = build_calls(
            cast(JobService, self.service),
            cast(TaskOutput, self.output),
            app_images=cast(AppImageService, None),
        )
        calls.HealthService.is_serving = True
        self.gateway = HttpGateway(
            calls,
            gate=open_gates(Limits(), Metrics())[1],
            read_metrics=no_metrics,
            max_message_bytes=MAX_BYTES,
        )

    async def connect(self, head: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which this has been sent; its own buffers are small."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (HOST, self.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=4096)
        writer.write(head.replace("\n", "\r\n").encode() + body)
        await writer.drain()
        return reader, writer


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    edge.port = await edge.gateway.start(HOST, 0)
    yield edge
    await edge.gateway.stop()


@pytest.fixture
async def session(edge: Edge) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{HOST}:{edge.port}") as session:
        yield session


WATCH = "POST /api/v1/job/watch HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n"


async def test_a_client_that_does_not_read_holds_back_its_own_stream_only(edge: Edge) -> None:
    edge.service.batches = -1
    _, writer = await edge.connect(WATCH)
    seen: list[int] = []

    def has_stopped() -> bool:
        seen.append(edge.service.read_batches)
        return len(seen) > 50 and len(set(seen[-30:])) == 1

    await eventually(has_stopped)
    line_bytes = len(http_streams.encode_event(EVENT.event))
    # What the kernel takes for a connection on loopback is the bulk of it.
    assert edge.service.read_batches * BATCH_EVENTS * line_bytes < 16 << 20
    writer.transport.abort()
    await eventually(lambda: edge.service.open_streams == 0)


async def test_a_client_that_vanishes_frees_its_stream_at_once(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_streams, "HEARTBEAT_SECONDS", 3600)  # by which it would be missed otherwise
    reader, writer = await edge.connect(WATCH)
    await reader.readuntil(b"\r\n\r\n")
    assert edge.service.open_streams == 1
    writer.close()
    await eventually(lambda: edge.service.open_streams == 0)


async def test_a_client_that_vanishes_is_followed_no_longer(edge: Edge) -> None:
    reader, writer = await edge.connect(WATCH.replace("job/watch", "log/task/query"))
    await reader.readuntil(b"one line")
    assert edge.output.followers == 1
    writer.close()
    await eventually(lambda: edge.output.followers == 0)


@pytest.mark.parametrize(
    "error", [LogTruncated("too old"), RuntimeError("a bug")], ids=lambda error: type(error).__name__
)
async def test_a_stream_with_a_hole_breaks_off_after_what_was_sent(
    edge: Edge, session: aiohttp.ClientSession, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    edge.service.batches, edge.service.end = 1, error
    async with session.post("/api/v1/job/watch") as response:
        lines = [json.loads(await response.content.readline()) for _ in range(BATCH_EVENTS)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readline()
    assert {line["type"] for line in lines} == {"MODIFIED"}
    assert "broke off a stream to 127.0.0.1" in caplog.text


async def test_a_stream_ends_in_order_with_the_server(edge: Edge, session: aiohttp.ClientSession) -> None:
    edge.service.batches, edge.service.end = 1, HubClosed("closed")
    async with session.post("/api/v1/job/watch") as response:
        assert len((await response.read()).splitlines()) == BATCH_EVENTS


async def test_following_ends_with_the_server_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_gateway, "STOP_GRACE_SECONDS", 3600)  # after which it would end otherwise
    edge = Edge()
    edge.port = await edge.gateway.start(HOST, 0)
    async with (
        aiohttp.ClientSession(f"http://{HOST}:{edge.port}") as session,
        session.post("/api/v1/log/task/query", json={"follow": True}) as response,
    ):
        assert json.loads(await response.content.readline())["log"] == "one line\n"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await edge.gateway.stop()
        assert edge.output.followers == 0


async def test_heartbeats_come_while_nothing_happens_and_not_after_the_timeout(
    edge: Edge, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_streams, "HEARTBEAT_SECONDS", 0.3)
    edge.service.batches = 1
    async with session.post("/api/v1/job/watch", json={"timeout_seconds": 1}) as response:
        types = [json.loads(line)["type"] async for line in response.content]
    assert types[:BATCH_EVENTS] == ["MODIFIED"] * BATCH_EVENTS
    assert types[BATCH_EVENTS:] in (["HEARTBEAT"], ["HEARTBEAT"] * 2, ["HEARTBEAT"] * 3)  # fewer when one comes late


async def test_a_binary_watch_request_is_answered_with_lines_of_json(
    edge: Edge, session: aiohttp.ClientSession
) -> None:
    edge.service.batches, edge.service.end = 1, HubClosed("closed")
    headers = {"Content-Type": "application/x-protobuf"}
    async with session.post("/api/v1/job/watch", data=b"\x10\x05", headers=headers) as response:
        assert response.content_type == "application/json"
        assert all(json.loads(line) for line in (await response.read()).splitlines())


async def test_http_1_0_gets_its_stream_without_chunks(edge: Edge) -> None:
    edge.service.batches, edge.service.end = 1, HubClosed("closed")
    reader, writer = await edge.connect(WATCH.replace("HTTP/1.1", "HTTP/1.0"))
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert len([json.loads(line) for line in body.splitlines()]) == BATCH_EVENTS
    writer.close()


async def test_a_log_request_that_cannot_be_read_is_one_line_that_says_so(session: aiohttp.ClientSession) -> None:
    async with session.post("/api/v1/log/task/query", data=b'{"follow": "yes"}') as response:
        (line,) = [json.loads(line) async for line in response.content]
    assert (response.status, line["status"]["code"]) == (200, 11101)
    assert "follow: expected true or false" in line["status"]["message"]


async def test_an_unexpected_error_is_a_reference_to_the_log(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with session.post("/api/v1/job/query", json={"job_id": "a"}) as response:
        answer = await response.json()
    assert (response.status, answer["status"]["code"]) == (200, 11101)
    reference = answer["status"]["message"].rpartition(" ")[2]
    assert "secret" not in str(answer)
    assert reference in caplog.text
    assert "the secret details" in caplog.text


async def refusal(session: aiohttp.ClientSession, method: str, path: str, **request: Any) -> tuple[int, str]:
    async with session.request(method, path, **request) as response:
        answer = await response.json()
        assert set(answer) == {"status"}
        return response.status, answer["status"]["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "TRACE", "PROPFIND"])
async def test_a_wrong_method_is_told_the_right_one(session: aiohttp.ClientSession, method: str) -> None:
    async with session.request(method, "/api/v1/job/query") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST, OPTIONS")
        if method != "HEAD":
            assert "takes POST, OPTIONS only" in (await response.json())["status"]["message"]


async def test_options_tells_the_methods_and_head_is_get_without_a_body(session: aiohttp.ClientSession) -> None:
    for path, allowed in {"/api/v1/job/query": "POST, OPTIONS", "/healthZ": "POST, GET, HEAD, OPTIONS"}.items():
        async with session.options(path) as response:
            assert (response.status, response.headers["Allow"], await response.read()) == (204, allowed, b"")
    async with session.head("/healthZ") as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/api/v1/job/query/", "/api/v1/job", "/%00", "/healthz"])
async def test_any_other_path_is_unknown(session: aiohttp.ClientSession, path: str) -> None:
    status, text = await refusal(session, "POST", path)
    assert (status, "/openapi.json" in text) == (404, True)


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.parametrize("kind", ["length", "chunks", "compressed"])
async def test_a_body_above_the_limit_is_refused_however_it_comes(session: aiohttp.ClientSession, kind: str) -> None:
    headers = {}
    data: Any = b" " * (MAX_BYTES + 1)
    if kind == "chunks":
        data = chunks(MAX_BYTES // 1024 + 1)
    elif kind == "compressed":
        data, headers = gzip.compress(b" " * (64 << 20)), {"Content-Encoding": "gzip"}
    status, text = await refusal(session, "POST", "/api/v1/job/query", data=data, headers=headers)
    assert (status, f"at most {MAX_BYTES} bytes" in text) == (413, True)


async def test_a_body_declared_above_the_limit_is_refused_before_it_arrives(edge: Edge) -> None:
    reader, writer = await edge.connect(f"POST /healthZ HTTP/1.1\nHost: localhost\nContent-Length: {MAX_BYTES + 1}\n\n")
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_a_body_at_the_limit_is_read(session: aiohttp.ClientSession) -> None:
    async with session.post("/healthZ", data=b"{}".ljust(MAX_BYTES)) as response:
        assert (await response.json())["data"] == {"ready": True}
    async with session.post("/healthZ", data=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}) as response:
        assert (await response.json())["data"] == {"ready": True}


@pytest.mark.parametrize(
    ("head", "body"),
    [("Content-Encoding: gzip\nContent-Length: 4", b"abcd"), ("Transfer-Encoding: chunked", b"zz\r\nabcd\r\n")],
    ids=["gzip", "chunks"],
)
async def test_a_broken_body_is_a_bad_request(edge: Edge, head: str, body: bytes) -> None:
    reader, writer = await edge.connect(f"POST /healthZ HTTP/1.1\nHost: localhost\n{head}\n\n", body)
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_request_that_trickles_in_is_given_up(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_messages, "BODY_SECONDS", 0.1)
    reader, writer = await edge.connect("POST /healthZ HTTP/1.1\nHost: localhost\nContent-Length: 10\n\n", b"{")
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_connection_that_brings_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.1)
    edge = Edge()
    edge.port = await edge.gateway.start(HOST, 0)
    reader, writer = await edge.connect("POST /healthZ HTTP/1.1\nHost: localhost\nX-Slow:")
    assert await reader.read(-1) == b""
    writer.close()
    await edge.gateway.stop()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /healthZ HTTP/1.1\nToken: secret\x01\n\n", b" 400 "),
        ("GET /healthZ HTTP/x.y\n\n", b" 400 "),
        (f"GET /healthZ HTTP/1.1\nToken: {'secret' * 2000}\n\n", b" 431 "),
    ],
    ids=["control", "version", "long"],
)
async def test_what_is_not_http_is_refused_and_not_logged(
    edge: Edge, caplog: pytest.LogCaptureFixture, head: str, status: bytes
) -> None:
    reader, writer = await edge.connect(head)
    assert status in await reader.readline()
    writer.close()
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text
    assert all(record.levelno <= logging.WARNING for record in caplog.records)


async def test_a_taken_port_is_said(edge: Edge) -> None:
    second = Edge().gateway
    with pytest.raises(AddressInUse, match=f"127.0.0.1:{edge.port}"):
        await second.start(HOST, edge.port)
    await second.stop()
