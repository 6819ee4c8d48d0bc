"""Programs and machines that misbehave: the task says what was wrong, the server goes on, nothing is left."""

import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.images import python_program, write_image
from tests.support.limits import launcher_of_bound_process, limited, open_files, unable_to_fork
from tests.support.polling import eventually
from tests.support.ports import free_range
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

pytestmark = pytest.mark.hostile

PORTS = 3

DAEMON = python_program(
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "        time.sleep(600)\n"
    "    os._exit(0)\n"
)
STUBBORN = python_program("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    write_image(images, "quick", ["true"])
    write_image(images, "not-executable", [str(plain)])
    write_image(images, "daemon", DAEMON)
    write_image(images, "silent", ["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 9"])
    write_image(images, "stubborn", STUBBORN)
    write_image(images, "sleep", ["sleep", "600"], ports=["one", "two"])
    write_image(images, "greedy", ["true"], ports=[f"port-{number}" for number in range(PORTS)])
    ports = free_range(PORTS)
    async with running_server(
        tmp_path,
        app_image_dir=images,
        domains_dir=tmp_path / "domains",
        stop_grace_seconds=0.3,
        first_port=ports[0],
        last_port=ports[-1],
    ) as server:
        yield server


async def failure(server: RunningServer, image: str, domain: str = "alice") -> str:
    """Run a job that fails, and the server another one after it; the text of the failure."""
    await create(server.stub, job_request(image, task_request("t", image, [domain])))
    status = await ended(server.stub, image)
    assert status.state == "Failed"
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id=image))
    await create(server.stub, job_request("after", task_request("t", "quick", [domain])))
    return status.err_msg


async def nothing_left(server: RunningServer) -> None:
    """Nothing but the shim works on the data directory."""
    await eventually(lambda: len(server.left_processes()) <= 1)


async def test_a_program_that_is_not_executable_is_named_and_told_as_error(server: RunningServer) -> None:
    watcher = Watcher(server)
    await watcher.connect()
    text = await failure(server, "not-executable")
    assert text.endswith("plain is not executable")
    await eventually(lambda: any("is not executable" in fault for fault in watcher.faults))
    assert (await ended(server.stub, "after")).state == "Succeeded"
    await watcher.close()


async def test_a_directory_that_cannot_be_written_is_named(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir(exist_ok=True)
    (tmp_path / "domains" / "carol").write_text("in the way")
    watcher = Watcher(server)
    await watcher.connect()
    text = await failure(server, "quick", "carol")
    assert "the party's directory cannot be written: File exists" in text
    assert str(tmp_path / "domains" / "carol") in text
    await eventually(lambda: any("cannot be written" in fault for fault in watcher.faults))
    await watcher.close()


async def test_a_machine_that_can_start_nothing_is_told_as_error_and_got_over(server: RunningServer) -> None:
    await create(server.stub, job_request("first", task_request("t", "sleep", ["alice"])))
    await in_state(server.stub, "first", "Running")
    watcher = Watcher(server)
    await watcher.connect()
    with limited(server.shim_pid, resource.RLIMIT_NOFILE, open_files(server.shim_pid)):
        await create(server.stub, job_request("second", task_request("t", "quick", ["alice"])))
        status = await ended(server.stub, "second")
        assert status.state == "Failed"
        assert "Too many open files" in status.err_msg
        await eventually(lambda: any("Too many open files" in fault for fault in watcher.faults))
    assert (await status_of(server.stub, "first")).state == "Running"
    await server.stub.RestartJob(pb.RestartJobRequest(job_id="second"))
    await eventually(lambda: watcher.jobs["second"].state == "Succeeded")
    await watcher.close()


async def test_a_fork_that_fails_is_told_as_error_and_got_over(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_image(images, "quick", ["true"])
    write_image(images, "sleep", ["sleep", "600"])
    launcher = launcher_of_bound_process()
    async with running_server(
        tmp_path,
        launcher,
        app_image_dir=images,
        domains_dir=tmp_path / "domains",
        stop_grace_seconds=0.3,
    ) as server:
        await create(server.stub, job_request("first", task_request("t", "sleep", ["alice"])))
        await in_state(server.stub, "first", "Running")
        watcher = Watcher(server)
        await watcher.connect()
        with unable_to_fork(server.shim_pid, launcher):
            await create(server.stub, job_request("second", task_request("t", "quick")))
            status = await ended(server.stub, "second")
            assert status.state == "Failed"
            text = "true: the limit of processes is reached (RLIMIT_NPROC or the system's)"
            assert text in status.err_msg
            assert {party.state for party in status.tasks[0].parties} == {"Failed"}
            await eventually(lambda: any(text in fault for fault in watcher.faults))
        assert (await status_of(server.stub, "first")).state == "Running"
        await server.stub.RestartJob(pb.RestartJobRequest(job_id="second"))
        await eventually(lambda: watcher.jobs["second"].state == "Succeeded")
        await watcher.close()


async def test_a_daemon_that_a_program_leaves_behind_is_gone_when_its_task_has_ended(server: RunningServer) -> None:
    await create(server.stub, job_request("daemon", task_request("t", "daemon")))
    assert (await ended(server.stub, "daemon")).state == "Succeeded"
    assert len(server.left_processes()) <= 1


async def test_a_program_that_closes_its_output_is_followed_to_its_end(server: RunningServer) -> None:
    assert (await failure(server, "silent")).endswith("exit code 9")


async def test_a_deleted_program_that_ignores_sigterm_is_killed(server: RunningServer) -> None:
    await create(server.stub, job_request("deaf", task_request("t", "stubborn")))
    await in_state(server.stub, "deaf", "Running")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="deaf"))
    await nothing_left(server)


async def test_when_all_ports_are_used_a_task_waits_says_so_and_goes_on(server: RunningServer) -> None:
    await create(server.stub, job_request("holder", task_request("t", "sleep", ["alice"])))
    await in_state(server.stub, "holder", "Running")
    await create(server.stub, job_request("waiter", task_request("t", "greedy", ["alice"])))
    watcher = Watcher(server)
    await watcher.connect()
    text = f"waiting for {PORTS} free ports (first_port is "
    await eventually(lambda: "waiter" in watcher.jobs and text in watcher.jobs["waiter"].tasks[0].err_msg)
    assert watcher.jobs["waiter"].tasks[0].state == "Pending"
    await server.stub.StopJob(pb.StopJobRequest(job_id="holder"))
    assert (await ended(server.stub, "waiter")).state == "Succeeded"
    await watcher.close()
    await nothing_left(server)
