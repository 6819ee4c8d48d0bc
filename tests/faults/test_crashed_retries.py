"""The server is killed while a retry is awaited or runs: back-off and count are those of a server that lives."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.images import write_image
from tests.support.polling import eventually, eventually_true
from tests.support.requests import ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

BACKOFF_SECONDS = 2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    fails = f"echo run >> {tmp_path}/runs; exit 3"
    write_image(tmp_path / "images", "fails", ["sh", "-c", fails])
    write_image(tmp_path / "images", "sleeps", ["sh", "-c", f"echo run >> {tmp_path}/runs; sleep 600"])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", stop_grace_seconds=0.5) as server:
        yield server


def runs(tmp_path: Path) -> int:
    file = tmp_path / "runs"
    return len(file.read_text().split()) if file.exists() else 0


async def submit(server: RunningServer, image: str, **policy: Duration) -> None:
    request = pb.SubmitJobRequest(
        job=job_request("tried", task_request("t", image, ["alice"])),
        task_policies={
            "t": pb.TaskPolicy(
                retry=pb.Retry(max_attempts=3, first_backoff=Duration(seconds=BACKOFF_SECONDS), factor=1), **policy
            )
        },
    )
    await jobs_pb2_grpc.JobsServiceStub(server.channel).SubmitJob(request)


async def task_of(server: RunningServer) -> pb.Task:
    answer = await jobs_pb2_grpc.JobsServiceStub(server.channel).GetJob(pb.GetJobRequest(job_id="tried"))
    return answer.job.tasks[0]


async def awaits_retry(server: RunningServer, attempt: int) -> pb.Task:
    """The task once it awaits its next attempt after that one."""

    async def is_awaited() -> pb.Task | None:
        task = await task_of(server)
        return task if task.attempt == attempt and task.HasField("retry_time") else None

    task = await eventually_true(is_awaited)
    assert task is not None
    return task


async def history(server: RunningServer) -> list[str]:
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    answer = await stub.ListJobHistory(pb.ListJobHistoryRequest(job_id="tried"))
    return [entry.event for entry in answer.entries]


async def test_a_back_off_survives_a_kill_and_each_attempt_is_counted_once(
    server: RunningServer, tmp_path: Path
) -> None:
    await submit(server, "fails")
    for attempt in (1, 2):
        before = await awaits_retry(server, attempt)
        assert before.state == "Pending"
        assert before.err_msg.startswith(f"attempt {attempt + 1} of 3 in 2 s; attempt {attempt}: ")
        await server.kill()
        await server.restart()
        after = await task_of(server)
        assert after.retry_time == before.retry_time or after.attempt == attempt + 1
    status = await ended(server.stub, "tried")
    assert (status.state, status.err_msg) == ("Failed", "Task[t]-Party[alice]: exit code 3")
    task = await task_of(server)
    assert [(each.number, each.state, each.parties[0].exit_code) for each in task.attempts] == [
        (1, "Failed", 3),
        (2, "Failed", 3),
        (3, "Failed", 3),
    ]
    for earlier, later in zip(task.attempts, task.attempts[1:], strict=False):
        waited = later.parties[0].start_time.ToNanoseconds() - earlier.end_time.ToNanoseconds()
        assert waited >= BACKOFF_SECONDS * 10**9
    assert runs(tmp_path) == 3
    assert (await history(server)).count("task_retried") == 2


async def test_an_attempt_that_runs_while_the_server_is_killed_is_the_same_one_afterwards(
    server: RunningServer, tmp_path: Path
) -> None:
    await submit(server, "sleeps")
    await in_state(server.stub, "tried", "Running")
    await eventually(lambda: runs(tmp_path) == 1)
    await server.kill()
    await server.restart()
    await in_state(server.stub, "tried", "Running")
    task = await task_of(server)
    assert (task.attempt, runs(tmp_path)) == (1, 1)


async def test_the_time_of_an_attempt_goes_on_while_the_server_is_dead(server: RunningServer, tmp_path: Path) -> None:
    await submit(server, "sleeps", run_timeout=Duration(seconds=1))
    await in_state(server.stub, "tried", "Running")
    await server.kill()
    await server.restart()
    task = await awaits_retry(server, 1)
    assert task.err_msg == (
        "attempt 2 of 3 in 2 s; attempt 1: Party[alice]: not ended within 1 s after its start (run_timeout)"
    )
    (attempt,) = task.attempts
    assert attempt.end_time.ToNanoseconds() - attempt.start_time.ToNanoseconds() >= 10**9
    assert not attempt.parties[0].HasField("exit_code")
