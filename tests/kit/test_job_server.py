"""Servers for tests: in the process of the test and as processes of their own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kusciajob.client import Client, JobSpec, NotAllowed, State, Task
from kusciajob.testing import AsyncJobServer, JobServer, KitError, assert_job
from tests.support.polling import eventually

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def spec(job_id: str = "j1") -> JobSpec:
    return JobSpec(job_id, "alice", [Task("train", "app", ["alice", "bob"])])


def running() -> JobSpec:
    """A job that runs for an hour by its own script: a server that is started again has no rules yet."""
    return JobSpec("j1", "alice", [Task("train", "app", ["alice", "bob"], input={"simulate": {"seconds": 3600}})])


@pytest.mark.parametrize("process", [False, True])
def test_jobs_in_files_outlive_a_restart(*, process: bool) -> None:
    with JobServer(process=process, durable=True) as server, server.client() as client:
        job = client.create(running())
        job.wait(State.RUNNING, timeout=60)
        address = server.address
        server.restart()
        assert server.address == address
        assert job.status().state == State.RUNNING


@pytest.mark.parametrize("process", [False, True])
def test_wherever_jobs_are_30_days_pass_at_once(*, process: bool) -> None:
    with JobServer(process=process, durable=not process) as server, server.client() as client:
        client.create(spec())
        server.kuscia.settle()
        assert client.job("j1").status().state == State.SUCCEEDED
        server.kuscia.clock.advance(days=31)
        assert client.statuses("j1", missing="skip") == {}
        client.create(spec())
        server.kuscia.reset()
        assert list(client.jobs()) == []


def test_jobs_in_memory_outlive_a_restart_in_this_process() -> None:
    with JobServer() as server, server.client() as client:
        client.create(spec())
        server.kuscia.settle()
        server.restart()
        assert client.job("j1").status().state == State.SUCCEEDED
        with pytest.raises(KitError, match="process=True"):
            server.kill()


def test_a_wait_survives_a_kill() -> None:
    with JobServer(process=True, durable=True) as server, server.client() as client:
        server.kuscia.clock.advance(days=1)
        job = client.create(running())
        job.wait(State.RUNNING, timeout=60)
        began = server.kuscia.clock.now
        server.kill()
        server.start()
        assert server.kuscia.clock.now >= began
        server.kuscia.clock.advance(hours=2)
        assert job.result(timeout=60).state == State.SUCCEEDED


@pytest.mark.parametrize("protocol", ["tls", "mtls"])
def test_domains_have_tokens(protocol: str) -> None:
    with JobServer(protocol=protocol, domains=["alice", "bob"], require_approval=True) as server:  # type: ignore[arg-type]
        with server.domain_client("alice") as alice, server.domain_client("bob") as bob:
            job = alice.create(spec())
            assert job.status().state == State.AWAITING_APPROVAL
            bob.job("j1").approve()
            server.kuscia.settle()
            assert_job(alice, "j1", state="Succeeded")
            with pytest.raises(NotAllowed):
                bob.create(spec("j2"))
        with pytest.raises(KitError, match='"carol" has no token'):
            server.domain_client("carol")
        assert "alice" in [call.domain for call in server.kuscia.calls]


async def test_it_works_under_asyncio() -> None:
    async with AsyncJobServer() as server, server.client() as client:
        gate = server.kuscia.task("train").waits()
        job = await client.create(spec())
        await server.reached(gate)
        gate.release()
        assert (await job.result(timeout=60)).state == State.SUCCEEDED
        await server.advance(days=31)
        assert await server.settle()
        assert await client.statuses("j1", missing="skip") == {}


def test_a_failed_assertion_prints_the_history() -> None:
    with JobServer(clock="auto") as server, server.client() as client:
        server.kuscia.task("train", party="bob").fails(code=3, message="no disk", after="40min")
        server.kuscia.task("train", party="alice").hangs()
        client.create(spec()).wait("Failed", timeout=60)
        with pytest.raises(AssertionError, match=r"j1 is Failed, not Succeeded") as failure:
            assert_job(client, "j1")
    text = str(failure.value)
    assert "no disk" in text
    assert "2030-01-01 00:40:00 party_failed train bob" in text


def serve(*options: str, **more: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "kusciajob", "serve", "--testing", "--grpc-port=0", "--http-port=0", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **more)  # type: ignore[call-overload,no-any-return]


def test_a_descriptor_tells_that_the_server_serves(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    server = serve(f"--ready-fd={writing}", "--no-allow-insecure-bind", pass_fds=[writing], cwd=tmp_path)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = json.loads(pipe.read())
    try:
        assert (told["pid"], told["token"], told["ca"]) == (server.pid, None, None)
        with Client(told["grpc"]) as client:
            client.wait_ready(timeout=60)
        assert os.listdir(tmp_path) == []  # nothing is kept
    finally:
        server.terminate()
        assert server.wait() == 0


async def test_a_server_ends_with_its_parent(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    script = (
        "import subprocess, sys, time\nsubprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)\ntime.sleep(600)\n"
    )
    command = [sys.executable, "-m", "kusciajob", "serve", "--testing", "--grpc-port=0", "--http-port=-1"]
    parent = subprocess.Popen([sys.executable, "-c", script, *command, f"--ready-file={ready}", "--exit-with-parent"])
    await eventually(ready.exists)
    pid = json.loads(ready.read_text())["pid"]
    parent.kill()
    parent.wait()
    await eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())


async def test_many_servers_live_in_one_process() -> None:
    async def use(name: str) -> str:
        async with AsyncJobServer() as server, server.client() as client:
            server.kuscia.task("train").fails(message=name)
            job = await client.create(spec())
            return (await job.wait("Failed", timeout=60)).err_msg

    told = await asyncio.gather(*(use(f"server {number}") for number in range(3)))
    assert [f"server {number}" in text for number, text in enumerate(told)] == [True] * 3


def test_a_start_in_this_process_takes_a_moment() -> None:
    taken = []
    for _ in range(3):
        server = JobServer()
        began = time.process_time()
        server.start()
        taken.append(time.process_time() - began)
        server.stop()
    assert min(taken) < 0.15
