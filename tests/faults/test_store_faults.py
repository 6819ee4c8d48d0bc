"""The disk of a running server is full or fails: changes are refused with the reason, and it gets over it by itself."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2 as kuscia_health_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2_grpc as kuscia_health_pb2_grpc
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.database import read_checked
from tests.support.limits import limited
from tests.support.polling import eventually, eventually_true
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

pytestmark = pytest.mark.hostile

DISK_KIBIBYTES = 1024
CREATE_FAILED = 11201
QUICK = '{"seconds": 0.1}'
LONG = '{"seconds": 2}'


@contextmanager
def file_size_limit(server: RunningServer) -> Iterator[None]:
    """Every write of the server beyond the first 16 KiB of a file fails."""
    with limited(server.process.pid, resource.RLIMIT_FSIZE, 16_384):
        yield


@contextmanager
def full_disk(server: RunningServer) -> Iterator[None]:
    """Something else takes all the room there is."""
    ballast = server.data_dir / "ballast"
    with ballast.open("wb", buffering=0) as file:
        block = bytes(512)
        try:
            while True:
                file.write(block)
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIBIBYTES}k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system; the same is tested with a limit of file sizes")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def health_of(server: RunningServer) -> tuple[bool, bool]:
    """Whether it serves, by the standard service and by Kuscia's."""
    standard = await health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
    kuscia = await kuscia_health_pb2_grpc.HealthServiceStub(server.channel).healthZ(kuscia_health_pb2.HealthRequest())
    return standard.status == health_pb2.HealthCheckResponse.SERVING, kuscia.data.ready


async def is_serving(server: RunningServer) -> bool:
    return await health_of(server) == (True, True)


async def is_out_of_service(server: RunningServer) -> bool:
    return await health_of(server) == (False, False)


async def refused(server: RunningServer, job_id: str) -> str:
    """The reason for which the job is not created."""
    response = await server.stub.CreateJob(job_request(job_id, task_request("t", task_input_config="x" * 20_000)))
    assert response.status.code == CREATE_FAILED
    return response.status.message


async def test_while_nothing_can_be_written_reads_go_on_and_the_rest_follows_later(server: RunningServer) -> None:
    watcher = Watcher(server)
    await watcher.connect()
    await create(server.stub, job_request("running", task_request("t", task_input_config=LONG)))
    await in_state(server.stub, "running", "Running")
    with file_size_limit(server):
        reason = await refused(server, "refused")
        assert reason.startswith("the job store cannot commit: "), reason
        assert "SQLITE_" in reason
        assert (await server.stub.StopJob(pb.StopJobRequest(job_id="running"))).status.code != 0
        await eventually_true(lambda: is_out_of_service(server))
        assert (await server.stub.QueryJob(pb.QueryJobRequest(job_id="running"))).data.status.state == "Running"
        # The task ends meanwhile; that it has ended cannot be stored.
        await eventually(lambda: "trying again" in server.log.read_text())
        assert not watcher.jobs["running"].end_time

    await eventually_true(lambda: is_serving(server))
    assert (await ended(server.stub, "running")).state == "Succeeded"
    assert (await server.stub.QueryJob(pb.QueryJobRequest(job_id="refused"))).status.code != 0
    await create(server.stub, job_request("refused"))
    await ended(server.stub, "refused")
    await eventually(lambda: any("the store failed for a while" in fault for fault in watcher.faults))
    await watcher.close()
    await server.stop()
    read_checked(server.data_dir / "jobs.db")


async def test_a_full_disk_is_told_and_got_over(disk: Path, tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated", data_dir=disk / "data") as server:
        server.data_dir = disk / "data"
        await create(server.stub, job_request("kept", task_request("t", task_input_config=QUICK)))
        await ended(server.stub, "kept")
        with full_disk(server):
            assert "full" in await refused(server, "refused")
            await eventually_true(lambda: is_out_of_service(server))
            assert (await server.stub.QueryJob(pb.QueryJobRequest(job_id="kept"))).status.code == 0
        await eventually_true(lambda: is_serving(server))
        await create(server.stub, job_request("after"))
        assert (await ended(server.stub, "after")).state == "Succeeded"
        await server.stop()
        read_checked(server.data_dir / "jobs.db")
