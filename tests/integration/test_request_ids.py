"""Each call has an id, in the log and in its answer: the client's own where it gives one."""

import http.client
import json
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.requests import create, job_request
from tests.support.server import RunningServer, running_server
from tests.support.story import until_told

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "x-request-id"
UNFIT = {"empty": "", "long": "x" * 129, "with a space": "a b", "no ASCII": "\u00e9"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path_factory.mktemp("ids"), runtime="simulated", log_format="json") as server:
        yield server


def post(server: RunningServer, path: str, body: object, given_id: str | None = None) -> tuple[int, str]:
    """The status and the id of the answer."""
    connection = http.client.HTTPConnection(server.http_address, timeout=20)
    headers = {"Content-Type": "application/json"} | ({} if given_id is None else {ID: given_id})
    with closing(connection):
        connection.request("POST", path, body=json.dumps(body), headers=headers)
        with connection.getresponse() as response:
            return response.status, response.headers[ID]


async def test_a_given_id_is_in_the_log_and_in_the_answer_over_grpc(server: RunningServer) -> None:
    call = server.stub.CreateJob(job_request("grpc-given"), metadata=((ID, "mine-1"),))
    assert (await call).status.code == 0
    assert dict(await call.initial_metadata())[ID] == "mine-1"
    (line,) = await until_told(server, "grpc-given", "job created")
    assert line["request"] == "mine-1"


async def test_without_one_an_id_is_made_that_log_and_answer_share_over_grpc(server: RunningServer) -> None:
    calls = [server.stub.CreateJob(job_request(f"grpc-made-{number}")) for number in range(2)]
    ids = [dict(await call.trailing_metadata())[ID] for call in calls]
    lines = [(await until_told(server, f"grpc-made-{number}", "job created"))[0] for number in range(2)]
    assert [line["request"] for line in lines] == ids
    assert len(set(ids)) == 2


async def test_streams_and_refused_calls_have_an_id_too(server: RunningServer) -> None:
    await create(server.stub, job_request("watched"))
    watch = server.stub.WatchJob(pb.WatchJobRequest(), metadata=((ID, "mine-2"),))
    assert dict(await watch.initial_metadata())[ID] == "mine-2"
    watch.cancel()
    refused = server.stub.WatchJob(pb.WatchJobRequest(timeout_seconds=-1), metadata=((ID, "mine-3"),))
    assert dict(await refused.trailing_metadata())[ID] == "mine-3"


async def test_the_same_over_http(server: RunningServer) -> None:
    job = {"job_id": "http-given", "initiator": "alice"}
    task = {"alias": "t", "app_image": "any", "parties": [{"domain_id": "alice"}]}
    assert post(server, "/api/v1/job/create", job | {"tasks": [task]}, "mine-4") == (200, "mine-4")
    (line,) = await until_told(server, "http-given", "job created")
    assert line["request"] == "mine-4"
    _, made = post(server, "/api/v1/job/create", job | {"job_id": "http-made", "tasks": [task]})
    (line,) = await until_told(server, "http-made", "job created")
    assert line["request"] == made
    assert post(server, "/api/v1/job/watch", {"timeout_seconds": 1}, "mine-5") == (200, "mine-5")
    assert post(server, "/nowhere", {}, "mine-6") == (404, "mine-6")


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=list(UNFIT))
async def test_an_id_that_could_harm_the_log_is_replaced(server: RunningServer, unfit: str) -> None:
    _, made = post(server, "/api/v1/job/query", {"job_id": "any"}, unfit)
    assert made != unfit
    assert len(made) == 16
