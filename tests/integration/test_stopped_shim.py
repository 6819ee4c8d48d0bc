"""A shim that does not answer any more is replaced; health tells, and calls work afterwards."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.runtime.process.shim_client import ShimClient
from kusciajob.runtime.process.shim_heartbeat import BEATS, Heartbeat, kill_shim
from tests.support.images import write_image
from tests.support.polling import eventually, eventually_true
from tests.support.processes import is_alive, pid_of, state_of
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

ANSWER_SECONDS = 0.4
CULPRIT = "until [ -e $KUSCIAJOB_DOMAIN_DIR/go ]; do sleep 0.01; done; kill -STOP $PPID; sleep 600"
FOREVER = "while :; do sleep 0.05; done"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ShimClient]:
    client = ShimClient(tmp_path / "data", answer_seconds=ANSWER_SECONDS)
    await client.connect()
    yield client
    for party in await client.list():
        await client.stop(party.key, grace_seconds=0)
    await client.close()


async def start(client: ShimClient, directory: Path, script: str) -> int:
    directory.mkdir()
    state = await client.start(
        directory.name,
        argv=["/bin/sh", "-c", script],
        env={"PATH": "/bin:/usr/bin"},
        cwd=directory,
        directory=directory,
    )
    assert state.pid is not None
    return state.pid


@pytest.mark.parametrize("before", ["true", "ln -sf /etc/hostname ../data/shim.lock", "rm ../data/shim.*"])
async def test_a_program_that_stops_the_shim_is_lost_and_the_next_shim_works(
    client: ShimClient, tmp_path: Path, before: str
) -> None:
    first_shim = pid_of(client)
    other = await start(client, tmp_path / "other", FOREVER)
    culprit = await start(
        client, tmp_path / "culprit", f"until [ -e go ]; do :; done; {before}; kill -STOP $PPID; {FOREVER}"
    )
    (tmp_path / "culprit" / "go").touch()

    for name in ("other", "culprit"):
        assert (await client.wait(name)).lost

    assert not any(map(is_alive, (first_shim, other, culprit)))
    assert not client.failing.is_set()
    await start(client, tmp_path / "after", "exit 3")
    assert (await client.wait("after")).code == 3


async def test_a_shim_that_is_stopped_when_the_server_comes_is_replaced(client: ShimClient, tmp_path: Path) -> None:
    pid = await start(client, tmp_path / "party", FOREVER)
    os.kill(pid_of(client), signal.SIGSTOP)
    later = ShimClient(tmp_path / "data", answer_seconds=ANSWER_SECONDS)

    await later.connect()

    assert (await later.recover("party", tmp_path / "party")).state == "lost"
    assert not is_alive(pid)
    await later.close()


async def test_a_pause_of_the_server_is_not_taken_for_the_shims() -> None:
    asked: list[float] = []
    is_silent = asyncio.Event()
    loop = asyncio.get_running_loop()
    heartbeat = Heartbeat(
        ask=lambda: asked.append(loop.time()),
        on_doubt=lambda: None,
        on_silence=is_silent.set,
        answer_seconds=ANSWER_SECONDS,
    )

    heartbeat.start()
    while loop.time() < asked[0] + 2 * ANSWER_SECONDS:
        pass  # nothing else on the event loop has its turn meanwhile, no answer could be read
    await asyncio.sleep(0)
    assert not is_silent.is_set()
    await is_silent.wait()

    assert len(asked) == BEATS


async def test_nothing_but_the_holder_of_the_lock_is_killed(client: ShimClient, tmp_path: Path) -> None:
    with (tmp_path / "data" / "shim.lock").open() as lock:
        reader = await asyncio.create_subprocess_exec("/bin/sleep", "600", stdin=lock)

        assert kill_shim(tmp_path) == []
        assert kill_shim(tmp_path / "data") == [pid_of(client)]

    assert reader.returncode is None
    reader.kill()
    await reader.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    write_image(images, "culprit", ["sh", "-c", CULPRIT])
    write_image(images, "sleep", ["sleep", "600"])
    write_image(images, "quick", ["true"])
    async with running_server(tmp_path, app_image_dir=images, stop_grace_seconds=0.3) as server:
        yield server


async def test_health_tells_of_a_stopped_shim_and_stop_works_after_its_replacement(server: RunningServer) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)

    async def serves(expected: bool) -> bool:
        answer = await health.Check(health_pb2.HealthCheckRequest())
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{server.http_address}/healthZ") as response,
        ):
            ready = (await response.json())["data"]["ready"]
        status = health_pb2.HealthCheckResponse.SERVING if expected else health_pb2.HealthCheckResponse.NOT_SERVING
        return bool(answer.status == status and ready is expected)

    await create(server.stub, job_request("victim", task_request("t", "sleep")))
    await in_state(server.stub, "victim", "Running")
    await create(server.stub, job_request("culprit", task_request("t", "culprit", ["alice"])))

    # The stop is answered at once and done when there is a shim again.
    await in_state(server.stub, "culprit", "Running")
    (server.data_dir / "domains" / "alice" / "go").touch()
    await eventually(lambda: state_of(server.shim_pid) == "T")
    stop = await server.stub.StopJob(pb.StopJobRequest(job_id="culprit"))
    assert stop.status.code == 0, stop.status.message
    await eventually_true(lambda: serves(False), timeout_seconds=20)
    await eventually_true(lambda: serves(True), timeout_seconds=20)

    victim = await ended(server.stub, "victim")
    assert victim.state == "Failed"
    assert "lost: " in victim.err_msg
    assert "Job was stopped" in (await ended(server.stub, "culprit")).tasks[0].err_msg
    assert len(server.left_processes()) == 1
    await create(server.stub, job_request("after", task_request("t", "quick")))
    assert (await ended(server.stub, "after")).state == "Succeeded"
    await create(server.stub, job_request("stopped", task_request("t", "sleep")))
    await in_state(server.stub, "stopped", "Running")
    assert (await server.stub.StopJob(pb.StopJobRequest(job_id="stopped"))).status.code == 0
    await eventually(lambda: len(server.left_processes()) == 1)
