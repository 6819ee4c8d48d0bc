"""A domain's token: what carol, who has no part in a job of alice and bob, gets to know of it. Nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc, log_pb2, log_pb2_grpc
from tests.support.callers import Caller
from tests.support.images import python_program, write_image
from tests.support.polling import eventually
from tests.support.requests import job_request, task_request
from tests.support.secured import Place, secured_server

NOT_ALLOWED = 11102
JOB, TASK = "their-job", "their-task"
# Not before its partners have said theirs: when one fails, the others are stopped at once.
SAYS_AND_FAILS = """
import json, os, pathlib, sys, time
print("their-output", flush=True)
print("their-error", file=sys.stderr, flush=True)
task, own = os.environ["TASK_ID"], pathlib.Path(os.environ["KUSCIAJOB_DOMAIN_DIR"])
(own / task).touch()
parties = json.loads(os.environ["TASK_CLUSTER_DEFINE"])["parties"]
while not all((own.parent / party["name"] / task).exists() for party in parties):
    time.sleep(0.01)
sys.exit(3)
"""


class Domain:
    """A client of one domain: its calls, a watch over gRPC of all it is told, and one over HTTP."""

    def __init__(self, place: Place, caller: Caller, channel: grpc.aio.Channel) -> None:
        self.jobs = job_pb2_grpc.JobServiceStub(channel)
        self.logs = log_pb2_grpc.LogServiceStub(channel)
        self.told: list[pb.WatchJobEventResponse] = []
        self.told_by_http: list[dict[str, Any]] = []
        self._caller = caller
        self._http_address = place.http_address

    async def call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self._caller.metadata)

    async def read_log(self, domain: str = "", *, follow: bool = False) -> list[log_pb2.QueryLogResponse]:
        header = common_pb2.RequestHeader(custom_headers={"domain": domain} if domain else {})
        request = log_pb2.QueryLogRequest(header=header, task_id=TASK, follow=follow)
        return [response async for response in self.logs.QueryLog(request, metadata=self._caller.metadata)]

    async def watch(self) -> None:
        async for event in self.jobs.WatchJob(pb.WatchJobRequest(), metadata=self._caller.metadata):
            self.told.append(event)

    async def watch_by_http(self) -> None:
        reader, writer = await asyncio.open_connection(*self._http_address.split(":"), ssl=self._caller.ssl_context)
        try:
            writer.write(
                b"POST /api/v1/job/watch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                b"Token: " + (self._caller.token or "").encode() + b"\r\n\r\n"
            )
            async for line in reader:
                if line.startswith(b"{"):  # others are of the head, and sizes of chunks
                    self.told_by_http.append(json.loads(line))
        finally:
            writer.close()

    def has_failed(self, job_id: str) -> bool:
        """Whether the domain was told so."""
        return any(event.object.job_id == job_id and event.object.status.state == "Failed" for event in self.told)

    def has_failed_by_http(self) -> bool:
        """Whether the last that the domain was told over HTTP is that a job has failed."""
        return bool(self.told_by_http) and self.told_by_http[-1]["object"]["status"]["state"] == "Failed"


@asynccontextmanager
async def watching(place: Place, name: str) -> AsyncIterator[Domain]:
    caller = place.domain(name)
    async with caller.channel(place.server.address) as channel:
        domain = Domain(place, caller, channel)
        tasks = [asyncio.create_task(domain.watch()), asyncio.create_task(domain.watch_by_http())]
        yield domain
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """The programs of the AppImage "their-image" write to both outputs and fail."""
    images = tmp_path / "images"
    write_image(images, "their-image", python_program(SAYS_AND_FAILS))
    async with secured_server(tmp_path, runtime="process", app_image_dir=images) as place:
        yield place


def their_job() -> pb.CreateJobRequest:
    task = task_request("their-alias", "their-image", task_id=TASK, task_input_config="their-input")
    return job_request(JOB, task, custom_fields={"key": "their-field"})


def carols_job(job_id: str, task_id: str = "") -> pb.CreateJobRequest:
    task = task_request("hers", "their-image", ["carol"], task_id=task_id)
    return pb.CreateJobRequest(job_id=job_id, initiator="carol", tasks=[task])


async def run_their_job(alice: Domain) -> None:
    created = await alice.call(alice.jobs.CreateJob, their_job())
    assert created.status.code == 0, created.status.message
    await eventually(lambda: alice.has_failed(JOB))


async def test_every_call_of_a_stranger_is_refused_and_tells_nothing(place: Place) -> None:
    async with watching(place, "alice") as alice, watching(place, "carol") as carol:
        await run_their_job(alice)
        jobs, logs = carol.jobs, carol.logs
        answers = [
            await carol.call(jobs.QueryJob, pb.QueryJobRequest(job_id=JOB)),
            await carol.call(jobs.BatchQueryJobStatus, pb.BatchQueryJobStatusRequest(job_ids=[JOB])),
            await carol.call(jobs.StopJob, pb.StopJobRequest(job_id=JOB)),
            await carol.call(jobs.SuspendJob, pb.SuspendJobRequest(job_id=JOB)),
            await carol.call(jobs.RestartJob, pb.RestartJobRequest(job_id=JOB)),
            await carol.call(jobs.CancelJob, pb.CancelJobRequest(job_id=JOB)),
            await carol.call(jobs.ApproveJob, pb.ApproveJobRequest(job_id=JOB, result=pb.APPROVE_RESULT_ACCEPT)),
            await carol.call(jobs.DeleteJob, pb.DeleteJobRequest(job_id=JOB)),
            await carol.call(jobs.CreateJob, their_job()),
            await carol.call(jobs.CreateJob, job_request("another", task_request("x", "their-image"))),
            await carol.call(jobs.CreateJob, carols_job(JOB)),
        ]
        by_task = [
            await carol.call(logs.QueryPodNode, log_pb2.QueryPodNodeRequest(task_id=TASK, domain="alice")),
        ]
        for domain in ("", "alice", "bob", "carol"):
            by_task += await carol.read_log(domain) + await carol.read_log(domain, follow=True)
        answers += by_task
        assert [answer for answer in answers if answer.status.code != NOT_ALLOWED] == []
        told_more = [answer for answer in answers if [field.name for field, _ in answer.ListFields()] != ["status"]]
        assert told_more == []

        taken = await carol.call(jobs.CreateJob, carols_job("carols-job", task_id=TASK))
        assert taken.status.code == 11201
        assert [answer for answer in (*by_task, taken) if JOB in answer.status.message] == []
        for answer in (*answers, taken):  # of what she did not say herself, no word
            words = answer.status.message.replace(f'"{JOB}"', "").replace(f'"{TASK}"', "")
            assert "their" not in words
            assert "alice" not in words.replace('output of domain "alice"', "").replace('initiator "alice"', "")
        unchanged = await alice.call(alice.jobs.QueryJob, pb.QueryJobRequest(job_id=JOB))
        assert unchanged.data.status.state == "Failed"
        assert "carol" not in unchanged.data.status.err_msg


async def test_streams_of_a_stranger_tell_of_her_own_jobs_only(place: Place) -> None:
    async with watching(place, "alice") as alice, watching(place, "carol") as early:
        await run_their_job(alice)
        async with watching(place, "carol") as late:
            created = await early.call(early.jobs.CreateJob, carols_job("carols-job"))
            assert created.status.code == 0, created.status.message
            await eventually(lambda: early.has_failed("carols-job") and late.has_failed("carols-job"))
            await eventually(lambda: early.told_by_http and late.told_by_http and alice.told_by_http)
            deleted = await alice.call(alice.jobs.DeleteJob, pb.DeleteJobRequest(job_id=JOB))
            assert deleted.status.code == 0, deleted.status.message
            await eventually(lambda: alice.told[-1].type == pb.DELETED)
    for carol in (early, late):
        assert {event.object.job_id for event in carol.told} == {"carols-job"}
        assert {event["object"]["job_id"] for event in carol.told_by_http} == {"carols-job"}
    assert {event.object.job_id for event in alice.told} == {JOB}
    assert {event["object"]["job_id"] for event in alice.told_by_http} == {JOB}


async def test_a_party_reads_its_own_output_only(place: Place) -> None:
    async with watching(place, "alice") as alice:
        await run_their_job(alice)
        for domain in ("", "alice"):
            text = "".join(response.log for response in await alice.read_log(domain))
            assert text == "their-output\ntheir-error\n"
        (answer,) = await alice.read_log("bob")
        assert (answer.status.code, answer.log) == (NOT_ALLOWED, "")


async def test_what_a_program_wrote_is_told_to_its_own_domain_and_the_master_only(place: Place) -> None:
    request, batch = pb.QueryJobRequest(job_id=JOB), pb.BatchQueryJobStatusRequest(job_ids=[JOB])
    async with watching(place, "alice") as alice, watching(place, "bob") as bob:
        await run_their_job(alice)
        for name, domain in (("alice", alice), ("bob", bob)):
            await eventually(partial(domain.has_failed, JOB))
            await eventually(domain.has_failed_by_http)
            line = json.dumps(domain.told_by_http[-1]["object"]["status"])
            for status in (
                (await domain.call(domain.jobs.QueryJob, request)).data.status,
                (await domain.call(domain.jobs.BatchQueryJobStatus, batch)).data.jobs[0].status,
                domain.told[-1].object.status,
                json_format.Parse(line, pb.JobStatusDetail()),
            ):
                check_texts(status, told_of=[name])
        async with place.master.channel(place.server.address) as channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            answer = await stub.QueryJob(request, metadata=place.master.metadata)
        check_texts(answer.data.status, told_of=["alice", "bob"])


def check_texts(status: pb.JobStatusDetail, *, told_of: list[str]) -> None:
    """The last lines are told of these domains' parties; the texts of task and job are made of the parties'."""
    (task,) = status.tasks
    ended = [party for party in task.parties if party.err_msg.startswith("exit code 3")]  # others were stopped
    assert ended
    for party in ended:
        assert party.err_msg == ("exit code 3: their-error" if party.domain_id in told_of else "exit code 3")
    assert task.err_msg == "; ".join(f"Party[{party.domain_id}]: {party.err_msg}" for party in task.parties)
    assert status.err_msg == "; ".join(
        f"Task[their-alias]-Party[{party.domain_id}]: {party.err_msg}" for party in task.parties
    )
