"""restartPolicy OnFailure: a failed program is started again, one run after the other, as often as is allowed."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.runtime.process.shim.restarts import MAX_PAUSE_SECONDS, Paused, Restart
from tests.support.images import shell_image, write_images
from tests.support.polling import eventually
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Every run adds a line to the domain's file `runs`, which is the number of the run as well.
COUNT = 'cd "$KUSCIAJOB_DOMAIN_DIR"; echo run >> runs; run=$(grep -c . runs); '
SCRIPTS = {
    "third-time": COUNT + 'echo "run $run"; [ "$run" = 3 ] || exit 4',
    "never": COUNT + 'echo "no luck in run $run" >&2; exit 5',
    "killed-once": COUNT + '[ "$run" = 2 ] || kill -KILL $$$$',
    # What an earlier run left behind would find the lock taken by itself.
    "leaves-daemon": COUNT + "mkdir lock || { echo two at once >> overlap; exit 1; }; "
    "(trap '' TERM; exec 9>&-; sleep 600) & "
    '[ "$run" = 3 ] || { rmdir lock; exit 1; }; rmdir lock',
    "step": COUNT + 'while [ ! -e "go$run" ]; do sleep 0.02; done; [ "$run" = 3 ] || exit 8',
    "waits": COUNT + 'echo "run $run"; exit 6',
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("restarts")
    images = [shell_image(name, script, restart_policy="OnFailure") for name, script in SCRIPTS.items()]
    write_images(directory / "images", [*images, shell_image("once", SCRIPTS["never"])])
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(directory: Path) -> AsyncIterator[RunningServer]:
    async with running_server(
        directory,
        app_image_dir=directory / "images",
        domains_dir=directory / "domains",
        restart_pause_seconds=0.01,
        max_restarts=3,
    ) as server:
        yield server


async def run(server: RunningServer, app_image: str) -> pb.JobStatusDetail:
    """The end of a job of one party, whose domain is named like the AppImage."""
    await create(server.stub, job_request(app_image, task_request("t", app_image, [app_image])))
    return await ended(server.stub, app_image)


def runs(directory: Path, domain: str) -> int:
    file = directory / "domains" / domain / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


async def test_a_program_that_fails_is_started_again_until_it_succeeds(server: RunningServer, directory: Path) -> None:
    status = await run(server, "third-time")
    assert (status.state, status.err_msg) == ("Succeeded", "")
    assert runs(directory, "third-time") == 3
    party = next((server.data_dir / "runs").glob("*/0.1/0/stdout.log")).parent
    assert (party / "stdout.log").read_text() == "run 1\nrun 2\nrun 3\n"
    assert (party / "stderr.log").read_text() == (
        "kusciajob: exit code 4; started again in 0.01 s (1 of 3)\n"
        "kusciajob: exit code 4; started again in 0.02 s (2 of 3)\n"
    )


async def test_one_that_never_succeeds_fails_the_party_in_the_end(server: RunningServer, directory: Path) -> None:
    status = await run(server, "never")
    assert status.state == "Failed"
    assert "exit code 5, after 3 restarts: " in status.err_msg
    assert "no luck in run 4" in status.err_msg
    assert runs(directory, "never") == 4


async def test_without_the_policy_a_failure_is_the_end(server: RunningServer, directory: Path) -> None:
    status = await run(server, "once")
    assert status.err_msg == "Task[t]-Party[once]: exit code 5: no luck in run 1"
    assert runs(directory, "once") == 1


async def test_a_program_that_was_killed_is_started_again(server: RunningServer, directory: Path) -> None:
    assert (await run(server, "killed-once")).state == "Succeeded"
    assert runs(directory, "killed-once") == 2


async def test_a_run_begins_when_nothing_of_the_last_is_left(server: RunningServer, directory: Path) -> None:
    status = await run(server, "leaves-daemon")
    assert status.state == "Succeeded", status.err_msg
    assert not (directory / "domains" / "leaves-daemon" / "overlap").exists()
    assert [pid for pid in server.left_processes() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


async def test_a_program_is_started_again_while_no_server_runs(directory: Path, tmp_path: Path) -> None:
    place = tmp_path / "domains" / "step"
    async with running_server(
        tmp_path, app_image_dir=directory / "images", domains_dir=tmp_path / "domains", restart_pause_seconds=0.01
    ) as server:
        await create(server.stub, job_request("step", task_request("t", "step", ["step"])))
        await in_state(server.stub, "step", "Running")
        await eventually(lambda: runs(tmp_path, "step") == 1)
        await server.kill()
        for number in (1, 2):
            (place / f"go{number}").touch()
            await eventually(lambda wanted=number + 1: runs(tmp_path, "step") == wanted)  # type: ignore[misc]
        await server.start()
        await in_state(server.stub, "step", "Running")
        (place / "go3").touch()
        assert (await ended(server.stub, "step")).state == "Succeeded"
        assert runs(tmp_path, "step") == 3


@pytest_asyncio.fixture(loop_scope="module")
async def patient(directory: Path, tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server whose pauses no test waits for."""
    async with running_server(
        tmp_path, app_image_dir=directory / "images", domains_dir=tmp_path / "domains", restart_pause_seconds=300
    ) as server:
        await create(server.stub, job_request("waits", task_request("t", "waits", ["alice"])))
        await in_state(server.stub, "waits", "Running")
        await eventually(lambda: "started again in 300 s" in stderr_of(server))
        yield server


def stderr_of(server: RunningServer) -> str:
    return "".join(file.read_text() for file in (server.data_dir / "runs").glob("*/*/*/stderr.log"))


async def test_a_party_that_pauses_is_stopped_at_once(patient: RunningServer, tmp_path: Path) -> None:
    await patient.stub.StopJob(pb.StopJobRequest(job_id="waits", reason="enough"))
    status = await ended(patient.stub, "waits")
    assert (status.state, status.tasks[0].err_msg) == ("Failed", "Job was stopped")
    (record,) = [json.loads(file.read_text()) for file in (patient.data_dir / "runs").glob("*/*/*/exit.json")]
    assert (record["code"], record["stopped"], record["restarts"]) == (6, True, 1)
    assert runs(tmp_path, "alice") == 1


async def test_a_job_that_pauses_is_suspended_and_runs_anew(patient: RunningServer, tmp_path: Path) -> None:
    await patient.stub.SuspendJob(pb.SuspendJobRequest(job_id="waits"))
    await in_state(patient.stub, "waits", "Suspended")
    await patient.stub.RestartJob(pb.RestartJobRequest(job_id="waits"))
    await eventually(lambda: stderr_of(patient).count("started again in 300 s (1 of 6)") == 2)
    assert runs(tmp_path, "alice") == 2
    await patient.stub.CancelJob(pb.CancelJobRequest(job_id="waits"))
    assert (await ended(patient.stub, "waits")).state == "Cancelled"
    assert len(patient.left_processes()) <= 1  # the shim


async def test_a_pause_outlives_the_server(patient: RunningServer) -> None:
    await patient.kill()
    await patient.start()
    status = await in_state(patient.stub, "waits", "Running")
    assert status.tasks[0].parties[0].state == "Running"
    await patient.stub.DeleteJob(pb.DeleteJobRequest(job_id="waits"))
    await eventually(lambda: not list((patient.data_dir / "runs").iterdir()))


async def test_a_party_that_pauses_is_lost_with_its_shim_and_not_run_again(
    patient: RunningServer, tmp_path: Path
) -> None:
    os.kill(patient.shim_pid, signal.SIGKILL)
    status = await ended(patient.stub, "waits")
    assert status.state == "Failed"
    assert "lost: its process was found dead" in status.err_msg
    assert runs(tmp_path, "alice") == 1


class Failing:
    """A party whose program always fails."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.key = "k"
        self.directory = str(directory)
        self.code = 1
        self.is_stopped = False
        self.restart: Restart | None = Restart(limit, 10.0)
        self.restarts = 0


async def test_pauses_double_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").touch()
    party, paused = Failing(tmp_path, 10_000), Paused[Failing]()
    for _ in range(2000):
        assert paused.add(party)
    told = (tmp_path / "stderr.log").read_text().splitlines()
    assert [line.split(" in ")[1].split(" s ")[0] for line in told[:7]] == ["10", "20", "40", "80", "160", "300", "300"]
    assert f" in {MAX_PAUSE_SECONDS:g} s (2000 of 10000)" in told[-1]
