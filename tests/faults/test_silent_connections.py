"""Connections that say nothing take no place of others: there are so many of an address, so many in all, so long."""

import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.api.http import connections as http_connections
from kusciajob.api.http.connections import HANDSHAKE_SECONDS, ConnectionLimits, HttpListener
from kusciajob.api.progress import ProgressListener
from kusciajob.contracts import PartyKey
from kusciajob.security.progress import ProgressSecrets
from tests.support.images import python_program, write_image
from tests.support.limits import open_files
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true
from tests.support.requests import create, ended, job_request, task_request
from tests.support.secured import secured_server
from tests.support.server import RunningServer, running_server
from tests.support.silence import HALF_A_HEAD, Silent, silence

pytestmark = pytest.mark.hostile

SILENT = 300
LIMIT_PER_PEER = 20
FEW_DESCRIPTORS = 160
"""The server has a few more than it keeps for itself; the rest is shared out among its ports."""
OTHER_ADDRESS = "127.0.0.2"
PORTS: dict[str, Callable[[RunningServer], str]] = {
    "grpc": lambda server: server.address,
    "http": lambda server: server.http_address,
    "progress": lambda server: f"127.0.0.1:{(server.data_dir / 'progress.port').read_text().strip()}",
}


async def is_served(server: RunningServer) -> bool:
    """Whether new connections to both ports are answered."""
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = await job_pb2_grpc.JobServiceStub(channel).QueryJob(pb.QueryJobRequest(job_id="x"), timeout=5)
        except grpc.aio.AioRpcError:
            return False
    async with aiohttp.ClientSession(f"http://{server.http_address}") as session:
        try:
            async with session.get("/healthZ") as response:
                return bool(answer.status.code == 11202 and response.status == 200)
        except aiohttp.ClientError:
            return False


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    async with silence() as silent:
        yield silent


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("words", [b"", HALF_A_HEAD], ids=["silent", "half"])
async def test_silent_connections_to_one_port_leave_descriptors_for_all(
    tmp_path: Path, silent: Silent, port: str, words: bytes
) -> None:
    few = ["prlimit", f"--nofile={256 + FEW_DESCRIPTORS}:{256 + FEW_DESCRIPTORS}"]
    async with running_server(tmp_path, few, app_image_dir=tmp_path, domains_dir=tmp_path / "domains") as server:
        before = open_files(server.process.pid)
        source = OTHER_ADDRESS if port != "progress" else "127.0.0.1"
        await silent.connect(PORTS[port](server), SILENT, first_words=words, source=source)
        await eventually(lambda: silent.closed() >= SILENT - FEW_DESCRIPTORS // 2)
        assert open_files(server.process.pid) <= before + FEW_DESCRIPTORS // 2
        await eventually_true(lambda: is_served(server))


@pytest.mark.parametrize("port", ["grpc", "http"])
async def test_an_address_has_only_so_many_connections(tmp_path: Path, silent: Silent, port: str) -> None:
    async with running_server(tmp_path, runtime="simulated", max_connections_per_peer=LIMIT_PER_PEER) as server:
        assert await is_served(server)
        await silent.connect(PORTS[port](server), LIMIT_PER_PEER * 3, source=OTHER_ADDRESS)
        await eventually(lambda: silent.closed() >= LIMIT_PER_PEER * 2)
        assert silent.closed() <= LIMIT_PER_PEER * 2
        assert await is_served(server)
        await eventually(lambda: "(setting max_connections_per_peer)" in server.log.read_text())


async def test_a_connection_over_grpc_that_is_of_use_is_not_the_one_to_go(tmp_path: Path, silent: Silent) -> None:
    async with running_server(tmp_path, runtime="simulated", max_connections_per_peer=LIMIT_PER_PEER) as server:
        stream = server.stub.WatchJob(pb.WatchJobRequest())
        created = await server.stub.CreateJob(pb.CreateJobRequest())
        assert created.status.code == 11100
        await silent.connect(server.address, LIMIT_PER_PEER * 2)
        await eventually(lambda: silent.closed() > LIMIT_PER_PEER)
        assert not stream.done()
        answer = await server.stub.QueryJob(pb.QueryJobRequest(job_id="x"), timeout=PATIENCE_SECONDS)
        assert answer.status.code == 11202


async def test_a_connection_that_does_not_shake_hands_is_closed(silent: Silent, tmp_path: Path) -> None:
    async with secured_server(tmp_path / "tls") as place, running_server(tmp_path, runtime="simulated") as plain:
        for address in (place.server.address, place.http_address, plain.address):
            await silent.connect(address, 3)
        await silent.connect(plain.address, 3, first_words=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await eventually(lambda: silent.closed() == 12, timeout_seconds=HANDSHAKE_SECONDS + 15)


@pytest.mark.parametrize("words", [b"", HALF_A_HEAD], ids=["silent", "half"])
async def test_a_report_of_progress_that_never_comes_is_given_up(
    silent: Silent, tmp_path: Path, words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.1)

    def report(party: PartyKey, progress: float) -> bool:
        raise AssertionError

    port_file = tmp_path / "progress.port"
    listener = ProgressListener(report, secrets=ProgressSecrets(b"key"), port_file=port_file)
    await listener.start()
    await silent.connect(f"127.0.0.1:{int(port_file.read_text())}", 5, first_words=words)
    await eventually(lambda: silent.closed() == 5)
    await listener.stop()


async def test_the_place_of_a_connection_is_free_when_it_has_gone() -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="served")

    listener = HttpListener(serve, limits=ConnectionLimits(per_peer=2, in_all=2), stop_grace_seconds=0)
    port = await listener.start("127.0.0.1", 0)
    for _ in range(3):
        async with silence() as silent:
            await silent.connect(f"127.0.0.1:{port}", 5)
            await eventually(lambda silent=silent: silent.closed() == 3)  # type: ignore[misc]

    async def is_answered() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

    await eventually_true(is_answered)
    await listener.stop()


async def test_the_server_may_open_as_many_files_as_the_system_allows_and_its_programs_as_before(
    tmp_path: Path,
) -> None:
    show = python_program("import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))")
    write_image(tmp_path / "images", "show", show)
    launcher = ["prlimit", "--nofile=512:2048"]
    async with running_server(
        tmp_path, launcher, app_image_dir=tmp_path / "images", domains_dir=tmp_path / "domains"
    ) as server:
        assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (2048, 2048)
        await create(server.stub, job_request("j", task_request("t", "show", ["alice"])))
        assert (await ended(server.stub, "j")).state == "Succeeded"
        (output,) = server.data_dir.glob("runs/*/*/*/stdout.log")
        assert output.read_text() == "(512, 2048)\n"
