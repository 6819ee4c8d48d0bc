"""The later operations over gRPC: what they do, what they answer where they cannot, who and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.api import v1
from kusciajob.client import CallFailed, JobSpec, Task
from kusciajob.testing import JobServer
from kusciajob.testing.session import TestKit
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import running_server

# Fails in its first run, succeeds in its second; leaves a line per run.
SECOND_TIME = python_program(
    "import os, sys\n"
    "marks = os.environ['KUSCIAJOB_DOMAIN_DIR'] + '/' + os.environ['TASK_ID']\n"
    "with open(marks, 'a') as file:\n"
    "    file.write('run\\n')\n"
    "sys.exit(len(open(marks).readlines()) < 2)\n"
)


class Plain:
    """A client of a server under the test's control, by Kuscia's own messages."""

    def __init__(self, kuscia: TestKit, channel: grpc.Channel) -> None:
        self.stub: Any = job_pb2_grpc.JobServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
        self.channel = channel
        self._kuscia = kuscia

    def create(self, job_id: str, *tasks: pb.Task) -> pb.JobStatusDetail:
        """Its status after that."""
        assert self.stub.CreateJob(job_request(job_id, *tasks)).status.code == 0
        return self.status(job_id)

    def ask(self, operation: str, job_id: str, **reason: str) -> tuple[int, str]:
        """(code, message) of an operation."""
        request = getattr(pb, f"{operation}JobRequest")(job_id=job_id, **reason)
        response = getattr(self.stub, f"{operation}Job")(request)
        assert response.HasField("data") == (response.status.code == 0)
        return response.status.code, response.status.message

    def status(self, job_id: str) -> pb.JobStatusDetail:
        """Once nothing goes on any more."""
        self._kuscia.settle()
        status: pb.JobStatusDetail = self.stub.QueryJob(pb.QueryJobRequest(job_id=job_id)).data.status
        return status


@pytest.fixture
def plain(kuscia: TestKit) -> Iterator[Plain]:
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield Plain(kuscia, channel)


def test_suspend_stops_what_runs_and_restart_takes_it_up(kuscia: TestKit, plain: Plain) -> None:
    kuscia.task("slow").hangs()
    done, slow = task_request("done"), task_request("slow", dependencies=["done"])
    running = plain.create("rest", done, slow, task_request("last", dependencies=["slow"]))
    assert running.state == "Running"
    assert plain.ask("Suspend", "rest", reason="why not") == (0, "success")
    suspended = plain.status("rest")
    assert (suspended.state, suspended.end_time) == ("Suspended", "")
    assert suspended.err_msg == "Party: master execute the cmd: Suspend. Reason: why not"
    assert suspended.tasks[2].state == "Pending"
    assert suspended.stage_status_list[0].state == "JobSuspendStageSucceeded"
    text = 'job "rest" is Suspended: Suspend is possible only when it is Running'
    assert plain.ask("Suspend", "rest") == (11210, text)

    kuscia.task("slow").never_scheduled("no room")
    assert plain.ask("Restart", "rest", reason="go on") == (0, "success")
    again = plain.status("rest")
    assert (again.state, again.start_time) == ("Running", running.start_time)
    assert again.err_msg == "Party: master execute the cmd: Restart. Reason: go on"
    assert again.stage_status_list[0].state == "JobRestartStageSucceeded"  # until a task runs
    assert [task.task_id for task in again.tasks] == [task.task_id for task in running.tasks]
    assert plain.ask("Cancel", "rest") == (0, "success")
    assert plain.status("rest").state == "Cancelled"


def test_a_summary_tells_the_last_restart_and_none_where_there_was_none(kuscia: TestKit, plain: Plain) -> None:
    kuscia.task().fails(after="1min")

    def summary() -> v1.JobSummary:
        stub: Any = v1.JobsServiceStub(plain.channel)  # type: ignore[arg-type]  # typed for grpc.aio
        listed: v1.JobSummary = stub.ListJobs(v1.ListJobsRequest(job_id_prefix="once-more")).jobs[0]
        return listed

    plain.create("once-more")
    first = summary()
    assert not first.HasField("restart_time")
    kuscia.clock.advance("1h")
    plain.ask("Restart", "once-more")
    plain.status("once-more")
    again = summary()
    assert again.restart_time.seconds == first.end_time.seconds + 3600
    assert again.end_time.seconds == again.restart_time.seconds + 60
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
        restart = pb.RestartJobRequest(job_id="twice")
        assert (await server.stub.RestartJob(restart)).status.code == 0
        status = await in_state(server.stub, "twice", "Succeeded")
        assert [task.state for task in status.tasks] == ["Succeeded", "Succeeded", "Failed"]
        assert status.tasks[0].end_time == failed.tasks[0].end_time
        assert (domains / "alice" / failed.tasks[1].task_id).read_text() == "run\n" * 2
        refused = (await server.stub.RestartJob(restart)).status
        text = 'job "twice" is Succeeded: Restart is possible only when it is Failed or Suspended'
        assert (refused.code, refused.message) == (11211, text)


def test_cancel_is_final(kuscia: TestKit, plain: Plain) -> None:
    kuscia.task().hangs()
    plain.create("off")
    assert plain.ask("Cancel", "off", reason="no more") == (0, "success")
    cancelled = plain.status("off")
    assert cancelled.state == "Cancelled"
    assert cancelled.err_msg == "Party: master execute the cmd: Cancel. Reason: no more"
    assert cancelled.tasks[0].err_msg == "Job was cancelled"
    for operation in ("Cancel", "Stop"):
        assert plain.ask(operation, "off") == (0, "success")
    assert plain.status("off") == cancelled
    assert plain.ask("Restart", "off")[0] == 11211
    assert plain.ask("Suspend", "off")[0] == 11210


def test_a_failed_job_can_be_cancelled(kuscia: TestKit, plain: Plain) -> None:
    kuscia.task().fails()
    assert plain.create("bad").state == "Failed"
    assert plain.ask("Cancel", "bad") == (0, "success")
    assert plain.status("bad").state == "Cancelled"


@pytest.mark.parametrize(
    ("operation", "code"),
    [("Stop", 11205), ("Delete", 11204), ("Suspend", 11207), ("Restart", 11208), ("Cancel", 11209)],
)
def test_an_unknown_job(plain: Plain, operation: str, code: int) -> None:
    assert plain.ask(operation, "nobody") == (code, 'job "nobody" not found')
    assert plain.ask(operation, "") == (11100, "job_id is required: it must name a job")


def test_an_approval_needs_a_result(plain: Plain) -> None:
    status = plain.stub.ApproveJob(pb.ApproveJobRequest(job_id="asked")).status
    assert (status.code, status.message[:8]) == (11100, "result 0")


@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_a_job_waits_for_every_domain_but_the_initiators(decision: str) -> None:
    domains = ["alice", "bob", "carol"]
    with (
        JobServer(protocol="mtls", domains=domains, require_approval=True) as server,
        server.client() as master,
        server.domain_client("bob") as bob,
        server.domain_client("carol") as carol,
    ):
        job = master.create(JobSpec("asked", "alice", [Task("t", "any", domains)]))
        waiting = job.status()
        assert (waiting.state, waiting.tasks[0].err_msg) == ("AwaitingApproval", "waiting for approval")
        bob.job("asked").approve("as agreed")
        assert job.status().state == "AwaitingApproval"
        if decision == "accept":
            carol.job("asked").approve("as agreed")
            final, answers = "Succeeded", ["JobAccepted", "JobAccepted"]
        else:
            carol.job("asked").reject("as agreed")
            final, answers = "ApprovalReject", ["JobAccepted", "JobRejected"]
        server.kuscia.settle()
        over = job.status()
        assert over.state == final
        assert [answer.state for answer in over.raw.approve_status_list] == answers
        if final == "ApprovalReject":
            assert over.err_msg == "Party: carol rejected the job. Reason: as agreed"
        bob.job("asked").approve()
        with pytest.raises(CallFailed) as refused:
            bob.job("asked").reject()
        assert refused.value.code == 11206
        assert job.status() == over
