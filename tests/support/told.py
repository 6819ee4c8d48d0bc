"""Parts of kusciajob.v1 that do as a test wants, behind the real edges."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import grpc.aio

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.calls import Calls, build_calls
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc.server import GrpcServer
from kusciajob.api.http.gateway import HttpGateway
from kusciajob.telemetry.metrics import Metrics
from kusciajob.usecases.callers import Caller
from kusciajob.wire.json import to_json

HOST = "127.0.0.1"
_CHANNEL_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class ToldEvent:
    """An item of a watch whose forms are made once."""

    def __init__(self, revision: int, event: str, job_id: str) -> None:
        self.id = str(revision or "")
        self.event = event
        self._message = pb.WatchJobsResponse(revision=revision, job=pb.JobSummary(job_id=job_id))

    def SerializeToString(self) -> bytes:
        return self._message.SerializeToString()

    def to_json(self) -> bytes:
        return to_json(self._message)


class Part:
    """Calls that tell what they are told to. `asked` has all requests."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.refusal: Exception | None = None
        """With which a call ends, or a stream begins."""
        self.batches: list[Sequence[Any]] = []
        self.end: Exception | None = None
        """With which a stream ends after its batches; None: in order."""
        self.lasts = False
        """Whether a stream stays open after its batches."""
        self.open_streams = 0

    async def GetJob(self, request: pb.GetJobRequest, caller: Caller) -> pb.GetJobResponse:
        self._ask(request)
        return pb.GetJobResponse(job=pb.Job(summary=pb.JobSummary(job_id=request.job_id)))

    async def ListJobs(self, request: pb.ListJobsRequest, caller: Caller) -> pb.ListJobsResponse:
        self._ask(request)
        return pb.ListJobsResponse()

    async def SubmitJob(self, request: pb.SubmitJobRequest, caller: Caller) -> pb.SubmitJobResponse:
        self._ask(request)
        return pb.SubmitJobResponse(job=pb.JobSummary(job_id=request.job.job_id))

    async def WatchJobs(self, request: pb.WatchJobsRequest, caller: Caller) -> AsyncGenerator[Sequence[Any], None]:
        async for batch in self._stream(request):
            yield batch

    async def ReadTaskLog(self, request: pb.ReadTaskLogRequest, caller: Caller) -> AsyncGenerator[Sequence[Any], None]:
        async for batch in self._stream(request):
            yield batch

    def _ask(self, request: Any) -> None:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal

    async def _stream(self, request: Any) -> AsyncGenerator[Sequence[Any], None]:
        self._ask(request)
        self.open_streams += 1
        try:
            yield ()
            for batch in self.batches:
                yield batch
            if self.lasts:
                await asyncio.Event().wait()
            if self.end is not None:
                raise self.end
        finally:
            self.open_streams -= 1


def _calls(part: Part) -> Calls:
    """The part alone: nothing else is asked."""
    nothing = cast(Any, None)
    return build_calls(nothing, nothing, part, app_images=nothing)


class Edges:
    """The edge of HTTP before a part."""

    def __init__(self, limits: Limits, max_message_bytes: int) -> None:
        self.part = Part()
        self.metrics = Metrics()
        calls = _calls(self.part)
        gate = open_gates(limits, self.metrics)[1]
        self.http = HttpGateway(calls, gate=gate, read_metrics=self._read_metrics, max_message_bytes=max_message_bytes)
        self.http_port = 0
        self.session: aiohttp.ClientSession

    async def _read_metrics(self) -> bytes:
        return self.metrics.render()

    async def connect(self, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over HTTP on which this has been sent; its own buffers are small."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (HOST, self.http_port))
        reader, writer = await asyncio.open_connection(sock=client, limit=4096)
        writer.write(head.replace("\n", "\r\n").encode())
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def told_edges(*, limits: Limits | None = None, max_message_bytes: int = 1 << 20) -> AsyncIterator[Edges]:
    """The edge of HTTP, with a client."""
    edges = Edges(limits or Limits(), max_message_bytes)
    edges.http_port = await edges.http.start(HOST, 0)
    try:
        async with aiohttp.ClientSession(f"http://{HOST}:{edges.http_port}") as edges.session:
            yield edges
    finally:
        await edges.http.stop()


@asynccontextmanager
async def told_grpc() -> AsyncIterator[tuple[Part, grpc.aio.Channel]]:
    """The edge of gRPC before a part, with a client. A process can have one event loop with such a server only."""
    part = Part()
    calls = _calls(part)
    server = GrpcServer(calls, gate=open_gates(Limits(), Metrics())[0], max_message_bytes=1 << 20)
    port = await server.start(f"{HOST}:0")
    try:
        async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=_CHANNEL_OPTIONS) as channel:
            yield part, channel
    finally:
        await server.stop()
