"""Who may do what: a domain creates as itself only, answers for itself only, and cannot tell others' jobs from none."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc, log_pb2
from kusciajob.api.routes import ROUTES
from tests.support.callers import Caller
from tests.support.requests import job_request, task_request
from tests.support.secured import Place, secured_server

NOT_ALLOWED = 11102
FOREIGN, FOREIGN_TASK = "theirs", "their-task"
UNKNOWN, UNKNOWN_TASK = "nobodys", "no-task"
OF_ALICE = common_pb2.RequestHeader(custom_headers={"domain": "alice"})
THEIRS = job_request(FOREIGN, task_request("t", task_id=FOREIGN_TASK))


def carols_job(job_id: str, task_id: str = "") -> pb.CreateJobRequest:
    task = task_request("t", domains=["carol"], task_id=task_id)
    return pb.CreateJobRequest(job_id=job_id, initiator="carol", tasks=[task])


def requests(job_id: str, task_id: str) -> dict[str, list[Any]]:
    """By RPC, what can be asked about a job; with every choice that could make a difference."""
    return {
        "QueryJob": [pb.QueryJobRequest(job_id=job_id)],
        "BatchQueryJobStatus": [
            pb.BatchQueryJobStatusRequest(job_ids=job_ids)
            for job_ids in ([job_id], [job_id, "carols"], ["carols", job_id, "x"])
        ],
        "DeleteJob": [pb.DeleteJobRequest(job_id=job_id)],
        "StopJob": [pb.StopJobRequest(job_id=job_id)],
        "SuspendJob": [pb.SuspendJobRequest(job_id=job_id)],
        "RestartJob": [pb.RestartJobRequest(job_id=job_id)],
        "CancelJob": [pb.CancelJobRequest(job_id=job_id)],
        "ApproveJob": [
            pb.ApproveJobRequest(job_id=job_id, result=result)
            for result in (pb.APPROVE_RESULT_ACCEPT, pb.APPROVE_RESULT_REJECT)
        ],
        "QueryLog": [
            log_pb2.QueryLogRequest(task_id=task_id, header=header, follow=follow)
            for header in (None, OF_ALICE)
            for follow in (False, True)
        ],
        "QueryPodNode": [
            log_pb2.QueryPodNodeRequest(task_id=task_id, domain=domain) for domain in ("", "alice", "carol")
        ],
    }


RPCS = sorted(requests("", ""))


async def ask(place: Place, caller: Caller, transport: str, rpc: str, request: Any) -> dict[str, Any]:
    """The answer as JSON; of a stream the first one, after which it must end."""
    route = next(route for route in ROUTES if route.name == rpc)
    if transport == "http":
        return await asyncio.to_thread(ask_by_http, place, caller, route.path, request)
    async with caller.channel(place.server.address) as channel:
        method = f"/{route.call.containing_service.full_name}/{rpc}"
        call = channel.unary_stream(method, type(request).SerializeToString, route.response.FromString)
        answers = [answer async for answer in call(request, metadata=caller.metadata)]
    assert len(answers) == 1
    return {"status": MessageToDict(answers[0].status)}


def ask_by_http(place: Place, caller: Caller, path: str, request: Any) -> dict[str, Any]:
    connection = caller.connect_http(place.http_address)
    try:
        body = json.dumps(MessageToDict(request))
        connection.request("POST", path, body, {"Token": caller.token or "", "Content-Type": "application/json"})
        (answer,) = map(json.loads, connection.getresponse().read().splitlines())
    finally:
        connection.close()
    status = answer["status"]
    return {"status": {"code": status["code"], "message": status["message"]}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A job of alice and bob, and one of carol's."""
    async with secured_server(tmp_path_factory.mktemp("place"), require_approval=True) as place:
        assert await create(place, "alice", THEIRS) == (0, "success")
        assert await create(place, "carol", carols_job("carols")) == (0, "success")
        yield place


async def create(place: Place, domain: str, request: pb.CreateJobRequest) -> tuple[int, str]:
    caller = place.domain(domain) if domain else place.master
    async with caller.channel(place.server.address) as channel:
        response = await job_pb2_grpc.JobServiceStub(channel).CreateJob(request, metadata=caller.metadata)
    return response.status.code, response.status.message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("rpc", RPCS)
async def test_to_a_domain_a_job_of_others_is_as_one_that_does_not_exist(
    place: Place, rpc: str, transport: str
) -> None:
    carol = place.domain("carol")
    foreign, unknown = requests(FOREIGN, FOREIGN_TASK)[rpc], requests(UNKNOWN, UNKNOWN_TASK)[rpc]
    for of_foreign, of_unknown in zip(foreign, unknown, strict=True):
        told = await ask(place, carol, transport, rpc, of_foreign)
        assert told["status"]["code"] == NOT_ALLOWED, told
        expected = json.dumps(await ask(place, carol, transport, rpc, of_unknown))
        assert json.dumps(told) == expected.replace(UNKNOWN, FOREIGN).replace(UNKNOWN_TASK, FOREIGN_TASK)
        assert "bob" not in expected
    untouched = await ask(place, place.domain("alice"), "grpc", "QueryJob", pb.QueryJobRequest(job_id=FOREIGN))
    assert untouched["status"] == {"message": "success"}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_master_is_told_what_is_unknown(place: Place) -> None:
    told = await ask(place, place.master, "grpc", "QueryJob", pb.QueryJobRequest(job_id=UNKNOWN))
    assert told["status"] == {"code": 11202, "message": 'job "nobodys" not found'}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_domain_creates_as_itself_only(place: Place) -> None:
    """Else it could name its victim as initiator, whose consent is not asked for, and approve the rest itself."""
    task = task_request("t", domains=["alice", "carol"])
    code, text = await create(place, "carol", job_request("forged", task))
    assert code == NOT_ALLOWED
    assert text == 'domain "carol" may not create a job of initiator "alice": only jobs of which it is the initiator'
    assert (await create(place, "carol", THEIRS))[0] == NOT_ALLOWED
    assert (await ask(place, place.master, "grpc", "QueryJob", pb.QueryJobRequest(job_id="forged")))["status"]["code"]

    own = pb.CreateJobRequest(job_id="hers", initiator="carol", tasks=[task])
    assert await create(place, "carol", own) == (0, "success")
    assert await create(place, "", job_request("by-master", task)) == (0, "success")
    for job_id, awaited, other in (("hers", "alice", "carol"), ("by-master", "carol", "alice")):
        accept = pb.ApproveJobRequest(job_id=job_id, result=pb.APPROVE_RESULT_ACCEPT)
        await ask(place, place.domain(other), "grpc", "ApproveJob", accept)
        assert await state_of(place, job_id) == "AwaitingApproval"
        await ask(place, place.domain(awaited), "grpc", "ApproveJob", accept)
        assert await state_of(place, job_id) != "AwaitingApproval"


async def state_of(place: Place, job_id: str) -> str:
    async with place.master.channel(place.server.address) as channel:
        stub = job_pb2_grpc.JobServiceStub(channel)
        response = await stub.QueryJob(pb.QueryJobRequest(job_id=job_id), metadata=place.master.metadata)
    state: str = response.data.status.state
    return state


@pytest.mark.asyncio(loop_scope="module")
async def test_an_id_that_others_use_is_taken_and_no_more_is_told(place: Place) -> None:
    assert await create(place, "carol", carols_job(FOREIGN)) == (
        NOT_ALLOWED,
        'domain "carol" may not use job_id "theirs": it is taken, choose another',
    )
    assert await create(place, "carol", carols_job("new", FOREIGN_TASK)) == (
        11201,
        'one of the task ids "their-task" is taken: choose others, or leave them empty',
    )
