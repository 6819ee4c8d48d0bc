"""The server's log tells the life of each job: one line a fact, all with the same fields."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.program import shell_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server
from tests.support.story import messages, told, until_told

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRITTEN = "what-the-program-wrote"


def shell(job_id: str, script: str, *domains: str) -> pb.CreateJobRequest:
    """A job of one task, all of whose parties run the script; its task's id is `<job id>-t`."""
    task = task_request("t", "shell", domains or ["alice"], task_input_config=script, task_id=f"{job_id}-t")
    return job_request(job_id, task)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("story")
    async with running_server(
        directory,
        app_image_dir=shell_image(directory),
        log_format="json",
        max_running_parties=2,
        stop_grace_seconds=5,
    ) as server:
        yield server


async def test_a_job_is_told_from_its_creation_to_its_deletion(server: RunningServer) -> None:
    await create(server.stub, shell("whole", "exit 0", "alice", "bob"))
    await ended(server.stub, "whole")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="whole"))
    await until_told(server, "whole", "job deleted")
    lines = told(server, "whole")
    texts = [line["message"] for line in lines]
    assert sorted(texts[1:-3]) == ["job started", "party began", "party began", "party ended", "party ended"]
    assert texts[0] == "job created: 1 tasks, 2 parties"
    assert texts[-3:] == ["task ended", "job ended", "job deleted"]
    assert {line["caller"] for line in lines if "caller" in line} == {"master"}
    parties = [line for line in lines if line["message"].startswith("party")]
    assert {(line["task"], line["attempt"]) for line in parties} == {("whole-t", 1)}
    assert {(line["domain"], line["party"].rpartition("/")[2]) for line in parties} == {("alice", "0"), ("bob", "1")}
    assert {line["exit_code"] for line in lines if line["message"] == "party ended"} == {0}
    assert [line["state"] for line in lines if "ended" in line["message"]] == ["Succeeded"] * 4
    assert all(0 <= line["seconds"] < 60 for line in lines if "ended" in line["message"])


async def test_a_failure_is_told_with_its_exit_code_and_without_what_the_program_wrote(server: RunningServer) -> None:
    await create(server.stub, shell("fails", f"echo {WRITTEN}; echo {WRITTEN} >&2; exit 7"))
    await ended(server.stub, "fails")
    (job,) = await until_told(server, "fails", "job ended")
    (party,) = told(server, "fails", message="party ended")
    assert (party["exit_code"], party["state"], party["reason"]) == (7, "Failed", "exit code 7")
    assert (job["state"], job["reason"]) == ("Failed", "Task[t]-Party[alice]: exit code 7")
    assert WRITTEN not in server.log.read_text()


async def test_a_stop_is_told_with_who_asked_and_why_on_one_line_of_bounded_length(server: RunningServer) -> None:
    await create(server.stub, shell("stopped", "exec sleep 600"))
    await in_state(server.stub, "stopped", "Running")
    reason = 'too slow\n{"logger": "kusciajob.telemetry.story", "message": "forged"}\x1b[2J' + "x" * 5000
    await server.stub.StopJob(pb.StopJobRequest(job_id="stopped", reason=reason))
    await until_told(server, "stopped", "job ended")
    (stop,) = told(server, "stopped", message="job stopped")
    assert stop["caller"] == "master"
    assert stop["reason"].startswith("too slow\n")
    assert len(stop["reason"]) <= 256
    (party,) = told(server, "stopped", message="party ended")
    assert (party["exit_code"], party["reason"]) == (143, "Job was stopped")
    assert told(server, message="forged") == []
    assert "\x1b" not in server.log.read_text()


async def test_a_job_that_waits_for_room_says_so_once_for_each_reason(server: RunningServer) -> None:
    await create(server.stub, shell("first", "exec sleep 600"))
    await in_state(server.stub, "first", "Running")
    await create(server.stub, shell("second", "exit 0", "alice", "bob"))
    (wait,) = await until_told(server, "second", "task waits")
    assert wait["reason"] == "waiting for 2 free slots (max_running_parties is 2)"
    await create(server.stub, shell("third", "exit 0"))
    await until_told(server, "third", "task waits")
    await server.stub.CancelJob(pb.CancelJobRequest(job_id="first"))
    await until_told(server, "second", "job ended")
    assert len(told(server, "second", message="task waits")) == 1


async def test_a_command_without_effect_is_told_by_no_line(server: RunningServer) -> None:
    request = shell("once", "exit 0")
    await create(server.stub, request)
    await until_told(server, "once", "job ended")
    lines = messages(server, "once")
    await create(server.stub, request)
    await server.stub.StopJob(pb.StopJobRequest(job_id="once"))
    await server.stub.RestartJob(pb.RestartJobRequest(job_id="once"))
    await create(server.stub, shell("after", "exit 0"))
    await until_told(server, "after", "job created")
    assert messages(server, "once") == lines


async def test_a_restart_of_the_server_tells_what_was_taken_up_and_no_party_twice(tmp_path: Path) -> None:
    async with running_server(tmp_path, app_image_dir=shell_image(tmp_path), log_format="json") as server:
        await create(server.stub, shell("long", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done", "alice", "bob"))
        await in_state(server.stub, "long", "Running")
        await until_told(server, "long", "party began", times=2)
        await server.kill()
        known = len(told(server, "long"))
        await server.start()
        await until_told(server, "long", "job taken up")
        assert [line["message"] for line in told(server)][-1] == "taken up: 1 unfinished jobs, 2 parties that ran"
        (tmp_path / "go").touch()
        await until_told(server, "long", "job ended")
        texts = messages(server, "long")[known:]
        assert texts[0] == "job taken up: 2 parties of 1 tasks are looked after again"
        assert sorted(texts[1:]) == ["job ended", "party ended", "party ended", "task ended"]
        assert {line["exit_code"] for line in told(server, "long", message="party ended")} == {0}
