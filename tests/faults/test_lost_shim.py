"""The shim dies and cannot be replaced at once, or the server does: nothing runs beside what may still run."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.database import read_checked
from tests.support.images import python_program, write_image
from tests.support.polling import eventually, eventually_true
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

DOMAINS = [f"domain-{number}" for number in range(24)]

# Tells that it runs, whether another one does in its domain at the same time, and stays for as long as its input says.
ALONE = python_program(
    "import fcntl, json, os, signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "domain, task = os.environ['KUSCIAJOB_DOMAIN_DIR'], json.load(open('conf/task.json'))\n"
    "lock = open(domain + '/lock', 'a')\n"
    "try:\n"
    "    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError:\n"
    "    open(domain + '/overlap', 'a').write(os.getcwd() + '\\n')\n"
    "open(domain + '/runs', 'a').write(os.getcwd() + '\\n')\n"
    "time.sleep(float(task['input']))\n"
)


# The same as a script that is quick: the first of all to run kills the shim while it is starting others.
KILLER = """
mkdir "$KUSCIAJOB_DOMAIN_DIR/../killed" 2>&- && kill -9 $PPID
trap "" TERM
exec 9>>"$KUSCIAJOB_DOMAIN_DIR/lock"
flock -n 9 || echo "$PWD" >>"$KUSCIAJOB_DOMAIN_DIR/overlap"
echo "$PWD" >>"$KUSCIAJOB_DOMAIN_DIR/runs"
while :; do sleep 1; done
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    write_image(images, "alone", ALONE)
    write_image(images, "killer", ["sh", "-c", KILLER])
    async with running_server(
        tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains", stop_grace_seconds=0.5
    ) as server:
        yield server


@contextmanager
def no_new_shim(server: RunningServer) -> Iterator[None]:
    """As long as this lasts none can be started; one that runs goes on."""
    place = server.data_dir / "shim.sock"
    place.unlink()
    place.mkdir()
    try:
        yield
    finally:
        place.rmdir()


def alone(job_id: str, domains: Sequence[str], *, seconds: float, **fields: Any) -> pb.CreateJobRequest:
    """A job of one task, with one party per domain."""
    fields = {"app_image": "alone", "task_input_config": str(seconds), **fields}
    return job_request(job_id, task_request("t", domains=domains, **fields))


def runs(server: RunningServer, domain: str) -> list[str]:
    """The runs that have begun in a domain, each as `job number/task.attempt/party`."""
    file = server.data_dir.parent / "domains" / domain / "runs"
    lines = file.read_text().split() if file.exists() else []
    return ["/".join(Path(line).relative_to(server.data_dir / "runs").parts[:3]) for line in lines]


def programs(server: RunningServer) -> list[int]:
    """The parties' programs that live."""
    found = []
    for pid in server.left_processes():
        with suppress(OSError):  # it has ended
            if b"flock" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def overlaps(server: RunningServer) -> list[Path]:
    return list((server.data_dir.parent / "domains").glob("*/overlap"))


async def health(server: RunningServer) -> tuple[bool, bool]:
    """Whether the standard service says SERVING, and Kuscia's over HTTP ready."""
    standard = await health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{server.http_address}/healthZ") as response,
    ):
        kuscia = await response.json()
    return standard.status == health_pb2.HealthCheckResponse.SERVING, kuscia["data"]["ready"]


async def test_what_may_have_been_started_is_gone_before_it_is_told_to_have_failed(server: RunningServer) -> None:
    await create(server.stub, alone("first", ["alice"], seconds=0))
    await ended(server.stub, "first")
    with no_new_shim(server):
        await create(server.stub, alone("unlucky", DOMAINS, seconds=600, app_image="killer"))
        await eventually(lambda: server.log.read_text().count("no connection to the shim") >= 2)
        await eventually(lambda: programs(server))  # nobody is there to end them
        assert (await status_of(server.stub, "unlucky")).state != "Failed", "its programs run"
        restart = await server.stub.RestartJob(pb.RestartJobRequest(job_id="unlucky"))
        assert restart.status.code == 11211
    status = await ended(server.stub, "unlucky")
    assert status.state == "Failed"
    assert programs(server) == []

    await server.stub.RestartJob(pb.RestartJobRequest(job_id="unlucky"))
    await eventually(lambda: all("/0.2/" in "".join(runs(server, domain)) for domain in DOMAINS))
    assert overlaps(server) == []


async def test_a_server_comes_up_without_a_shim_says_that_it_is_not_ready_and_goes_on_later(
    server: RunningServer,
) -> None:
    await create(server.stub, alone("old", DOMAINS[:2], seconds=600))
    await in_state(server.stub, "old", "Running")
    shim = server.shim_pid
    await server.kill()
    os.kill(shim, signal.SIGKILL)
    with no_new_shim(server):
        await server.start()
        assert await health(server) == (False, False)
        await create(server.stub, alone("new", ["alice"], seconds=0))
        await eventually(lambda: server.log.read_text().count("taking back party") >= 2)
        assert (await status_of(server.stub, "old")).state == "Running"
        assert runs(server, "alice") == []
        assert await health(server) == (False, False)
    status = await ended(server.stub, "old")
    assert (status.state, "lost" in status.err_msg) == ("Failed", True)
    assert (await ended(server.stub, "new")).state == "Succeeded"
    assert programs(server) == []

    async def is_healthy() -> bool:
        return await health(server) == (True, True)

    await eventually_true(is_healthy)


@pytest.mark.parametrize("is_killed", [False, True], ids=["as it serves", "killed after the delete"])
async def test_a_rerun_does_not_begin_beside_the_deleted_run(server: RunningServer, is_killed: bool) -> None:
    await create(server.stub, alone("again", ["alice"], seconds=600, task_id="again-t"))
    await eventually(lambda: runs(server, "alice"))
    deleted = await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="again"))
    assert deleted.status.code == 0
    if is_killed:
        await server.kill()
        await server.start()
    await create(server.stub, alone("again", ["alice"], seconds=0, task_id="again-t"))
    await create(server.stub, alone("other", ["bob"], seconds=0))
    assert (await ended(server.stub, "again")).state == "Succeeded"
    assert (await ended(server.stub, "other")).state == "Succeeded"
    assert len(runs(server, "alice")) == 2
    assert overlaps(server) == []
    await eventually(lambda: len(list((server.data_dir / "runs").iterdir())) == 2)
    await server.stop()
    records = read_checked(server.data_dir / "jobs.db")
    (number,) = [number for number, job in records.jobs.items() if job.job_id == "again"]
    told = [status.tasks[0].message for status in records.history[number]]
    assert told.count("waiting for the end of the deleted job again") <= 1, told
