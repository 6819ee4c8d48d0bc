"""The later operations over gRPC: what they do, what they answer where they cannot, who and why."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob._gen.kusciajob.v1 import jobs_pb2, jobs_pb2_grpc
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.secured import Place, secured_server
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = '{"seconds": 600}'
# Fails in its first run, succeeds in its second; leaves a line per run.
SECOND_TIME = python_program(
    "import os, sys\n"
    "marks = os.environ['KUSCIAJOB_DOMAIN_DIR'] + '/' + os.environ['TASK_ID']\n"
    "with open(marks, 'a') as file:\n"
    "    file.write('run\\n')\n"
    "sys.exit(len(open(marks).readlines()) < 2)\n"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path_factory.mktemp("operations"), runtime="simulated") as server:
        yield server


async def ask(
    stub: job_pb2_grpc.JobServiceStub, operation: str, job_id: str, reason: str = "why not"
) -> tuple[int, str]:
    """(code, message) of an operation."""
    request = getattr(pb, f"{operation}JobRequest")(job_id=job_id, reason=reason)
    response = await getattr(stub, f"{operation}Job")(request)
    assert response.HasField("data") == (response.status.code == 0)
    return response.status.code, response.status.message


async def test_suspend_stops_what_runs_and_restart_takes_it_up(server: RunningServer) -> None:
    stub = server.stub
    done = task_request("done")
    slow = task_request("slow", task_input_config=SLOW, dependencies=["done"])
    last = task_request("last", dependencies=["slow"])
    await create(stub, job_request("rest", done, slow, last))
    running = await in_state(stub, "rest", "Running")
    assert await ask(stub, "Suspend", "rest") == (0, "success")
    suspended = await in_state(stub, "rest", "Suspended")
    assert suspended.end_time == ""
    assert suspended.err_msg == "Party: master execute the cmd: Suspend. Reason: why not"
    assert suspended.tasks[2].state == "Pending"
    assert suspended.stage_status_list[0].state == "JobSuspendStageSucceeded"

    code, text = await ask(stub, "Suspend", "rest")
    assert (code, text) == (11210, 'job "rest" is Suspended: Suspend is possible only when it is Running')

    assert await ask(stub, "Restart", "rest", "go on") == (0, "success")
    again = await in_state(stub, "rest", "Running")
    assert again.err_msg == "Party: master execute the cmd: Restart. Reason: go on"
    # Until a task runs, which may be now.
    assert again.stage_status_list[0].state in ("JobRestartStageSucceeded", "JobStartStageSucceeded")
    assert [task.task_id for task in again.tasks] == [task.task_id for task in running.tasks]
    assert again.start_time == running.start_time
    assert await ask(stub, "Cancel", "rest") == (0, "success")
    assert (await ended(stub, "rest")).state == "Cancelled"


async def test_a_summary_tells_the_last_restart_and_none_where_there_was_none(server: RunningServer) -> None:
    jobs = jobs_pb2_grpc.JobsServiceStub(server.channel)

    async def summary() -> jobs_pb2.JobSummary:
        (listed,) = (await jobs.ListJobs(jobs_pb2.ListJobsRequest(job_id_prefix="once-more"))).jobs
        return listed

    await create(server.stub, job_request("once-more", task_request("t", task_input_config='{"exit_code": 3}')))
    await ended(server.stub, "once-more")
    first = await summary()
    assert not first.HasField("restart_time")
    await ask(server.stub, "Restart", "once-more")
    await ended(server.stub, "once-more")
    again = await summary()
    assert first.end_time.ToNanoseconds() < again.restart_time.ToNanoseconds() < again.end_time.ToNanoseconds()
    assert again.start_time == first.start_time


async def test_restart_reruns_only_what_did_not_succeed(tmp_path: Path) -> None:
    images, domains = tmp_path / "images", tmp_path / "domains"
    write_image(images, "second-time", SECOND_TIME)
    write_image(images, "true", python_program("import os; open(os.environ['KUSCIAJOB_DOMAIN_DIR'] + '/ok', 'x')"))
    async with running_server(tmp_path, app_image_dir=images, domains_dir=domains) as server:
        tasks = [
            task_request("good", "true", ["alice"]),
            task_request("bad", "second-time", ["alice"], dependencies=["good"]),
            task_request("after", "second-time", ["bob"], dependencies=["bad"], tolerable=True),
        ]
        await create(server.stub, job_request("twice", *tasks))
        failed = await ended(server.stub, "twice")
        assert failed.state == "Failed"
        assert failed.tasks[2].err_msg == 'never started: dependency "bad" failed'
        assert await ask(server.stub, "Restart", "twice") == (0, "success")
        status = await in_state(server.stub, "twice", "Succeeded")
        assert [task.state for task in status.tasks] == ["Succeeded", "Succeeded", "Failed"]
        assert status.tasks[0].end_time == failed.tasks[0].end_time
        assert (domains / "alice" / failed.tasks[1].task_id).read_text() == "run\n" * 2
        assert await ask(server.stub, "Restart", "twice") == (
            11211,
            'job "twice" is Succeeded: Restart is possible only when it is Failed or Suspended',
        )


async def test_cancel_is_final(server: RunningServer) -> None:
    stub = server.stub
    await create(stub, job_request("off", task_request("t", task_input_config=SLOW)))
    await in_state(stub, "off", "Running")
    assert await ask(stub, "Cancel", "off", "no more") == (0, "success")
    cancelled = await ended(stub, "off")
    assert cancelled.state == "Cancelled"
    assert cancelled.err_msg == "Party: master execute the cmd: Cancel. Reason: no more"
    assert cancelled.tasks[0].err_msg == "Job was cancelled"
    for operation in ("Cancel", "Stop"):
        assert await ask(stub, operation, "off") == (0, "success")
    assert await status_of(stub, "off") == cancelled
    assert (await ask(stub, "Restart", "off"))[0] == 11211
    assert (await ask(stub, "Suspend", "off"))[0] == 11210


async def test_a_failed_job_can_be_cancelled(server: RunningServer) -> None:
    await create(server.stub, job_request("bad", task_request("t", task_input_config='{"exit_code": 1}')))
    await in_state(server.stub, "bad", "Failed")
    assert await ask(server.stub, "Cancel", "bad") == (0, "success")
    assert (await status_of(server.stub, "bad")).state == "Cancelled"


@pytest.mark.parametrize(
    ("operation", "code"),
    [("Stop", 11205), ("Delete", 11204), ("Suspend", 11207), ("Restart", 11208), ("Cancel", 11209)],
)
async def test_an_unknown_job(server: RunningServer, operation: str, code: int) -> None:
    request = getattr(pb, f"{operation}JobRequest")
    response = await getattr(server.stub, f"{operation}Job")(request(job_id="nobody"))
    assert (response.status.code, response.status.message) == (code, 'job "nobody" not found')
    nameless = await getattr(server.stub, f"{operation}Job")(request())
    assert (nameless.status.code, nameless.status.message) == (11100, "job_id is required: it must name a job")


async def approve(place: Place, domain: str, result: int, job_id: str = "asked") -> tuple[int, str]:
    request = pb.ApproveJobRequest(job_id=job_id, result=result, reason="as agreed")  # type: ignore[arg-type]
    token = place.domain(domain).token or ""
    async with place.master.channel(place.server.address) as channel:
        response = await job_pb2_grpc.JobServiceStub(channel).ApproveJob(request, metadata=(("token", token),))
    return response.status.code, response.status.message


@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_a_job_waits_for_every_domain_but_the_initiators(tmp_path: Path, decision: str) -> None:
    async with secured_server(tmp_path, require_approval=True) as place:
        channel = place.master.channel(place.server.address)
        async with channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            master = (("token", place.master.token or ""),)
            task = task_request("t", domains=["alice", "bob", "carol"])
            await stub.CreateJob(job_request("asked", task), metadata=master)

            async def status() -> pb.JobStatusDetail:
                response = await stub.QueryJob(pb.QueryJobRequest(job_id="asked"), metadata=master)
                return response.data.status

            waiting = await status()
            assert (waiting.state, waiting.tasks[0].err_msg) == ("AwaitingApproval", "waiting for approval")
            code, text = await approve(place, "bob", pb.APPROVE_RESULT_UNKNOWN)
            assert (code, text[:8]) == (11100, "result 0")
            assert await approve(place, "bob", pb.APPROVE_RESULT_ACCEPT) == (0, "success")
            assert (await status()).state == "AwaitingApproval"
            if decision == "accept":
                assert await approve(place, "carol", pb.APPROVE_RESULT_ACCEPT) == (0, "success")
                final, answers = "Succeeded", ["JobAccepted", "JobAccepted"]
            else:
                assert await approve(place, "carol", pb.APPROVE_RESULT_REJECT) == (0, "success")
                final, answers = "ApprovalReject", ["JobAccepted", "JobRejected"]

            async for event in stub.WatchJob(pb.WatchJobRequest(timeout_seconds=20), metadata=master):
                if event.object.status.end_time:
                    break
            over = await status()
            assert over.state == final
            assert [answer.state for answer in over.approve_status_list] == answers
            if final == "ApprovalReject":
                assert over.err_msg == "Party: carol rejected the job. Reason: as agreed"
            assert await approve(place, "bob", pb.APPROVE_RESULT_ACCEPT) == (0, "success")
            assert (await approve(place, "bob", pb.APPROVE_RESULT_REJECT))[0] == 11206
            assert await status() == over
