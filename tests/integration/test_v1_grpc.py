"""kusciajob.v1 over gRPC: native statuses with details, streams whose headers come first."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.contracts import HubClosed
from kusciajob.model.errors import InvalidJob, JobNotFound, LogTruncated, Problem, StoreFailed
from tests.support.polling import PATIENCE_SECONDS
from tests.support.rich import Refusal, refusal_of
from tests.support.told import Part, ToldEvent, told_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "/kusciajob.v1.JobsService"


class Client:
    """Calls a part as strangers would, by the names of its RPCs."""

    def __init__(self, part: Part, channel: grpc.aio.Channel) -> None:
        self.part = part
        self._channel = channel

    async def read(self, name: str, data: bytes = b"") -> list[bytes]:
        """All messages of an answer."""
        call = self._channel.unary_stream(f"{SERVICE}/{name}", bytes, bytes)(data, timeout=PATIENCE_SECONDS)
        return [message async for message in call]

    async def refused(self, name: str, data: bytes = b"") -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.read(name, data)
        return refusal_of(caught.value)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Client]:
    async with told_grpc() as (part, channel):
        yield Client(part, channel)


@pytest.fixture
def client(shared: Client) -> Client:
    shared.part.refusal = shared.part.end = None
    shared.part.batches = []
    return shared


async def test_an_answer_is_the_message_alone(client: Client) -> None:
    (answer,) = await client.read("GetJob", pb.GetJobRequest(job_id="a").SerializeToString())
    assert pb.GetJobResponse.FromString(answer).job.summary.job_id == "a"


@pytest.mark.parametrize("name", ["GetJob", "SubmitJob", "WatchJobs", "ReadTaskLog"])
async def test_an_error_is_a_status_with_details_in_every_kind_of_call(client: Client, name: str) -> None:
    client.part.refusal = JobNotFound("a")
    refusal = await client.refused(name)
    assert (refusal.code, refusal.reason, refusal.text) == ("NOT_FOUND", "JOB_NOT_FOUND", 'job "a" not found')
    assert refusal.kuscia_code == {"SubmitJob": 11201, "ReadTaskLog": 13200}.get(name, 11202)
    client.part.refusal = RuntimeError("the secret details")
    refusal = await client.refused(name)
    assert (refusal.code, refusal.reason, refusal.kuscia_code) == ("INTERNAL", "UNEXPECTED", 11101)
    assert "secret" not in refusal.text


async def test_each_problem_of_a_request_is_a_violation(client: Client) -> None:
    problems = [Problem("job.tasks[0].alias", "is empty"), Problem("deadline", "must be above 0")]
    client.part.refusal = InvalidJob("two problems", problems=problems)
    refusal = await client.refused("SubmitJob")
    assert (refusal.code, refusal.kuscia_code) == ("INVALID_ARGUMENT", 11100)
    assert refusal.violations == [("job.tasks[0].alias", "is empty"), ("deadline", "must be above 0")]
    client.part.refusal = InvalidJob("雪" * 5000, problems=[Problem(f"f[{n}]", "x" * 1000) for n in range(500)])
    refusal = await client.refused("SubmitJob")
    assert refusal.violations[0][0] == "f[0]"  # it arrives: metadata are not too large


@pytest.mark.parametrize("name", ["GetJob", "WatchJobs"])
async def test_bytes_that_are_no_message_are_refused_with_details(client: Client, name: str) -> None:
    refusal = await client.refused(name, b"\xff\xff")
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "UNREADABLE")
    assert f"cannot be read as {name}Request" in refusal.text


async def test_a_stream_ends_with_its_error_after_what_was_sent(client: Client) -> None:
    client.part.batches = [[ToldEvent(7, "added", "a"), pb.WatchJobsResponse(revision=8)]]
    for error, code in (
        (LogTruncated("it reaches back to 12"), "OUT_OF_RANGE"),
        (HubClosed(), "UNAVAILABLE"),
        (StoreFailed("disk"), "UNAVAILABLE"),
    ):
        client.part.end = error
        call: Any = client._channel.unary_stream(f"{SERVICE}/WatchJobs", bytes, bytes)(b"", timeout=PATIENCE_SECONDS)
        assert [pb.WatchJobsResponse.FromString(await call.read()).revision for _ in range(2)] == [7, 8]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert refusal_of(caught.value).code == code


async def test_headers_come_before_any_message_and_errors_keep_the_id_of_the_request(client: Client) -> None:
    client.part.lasts = True
    call = client._channel.unary_stream(f"{SERVICE}/WatchJobs", bytes, bytes)(b"")
    async with asyncio.timeout(PATIENCE_SECONDS):
        headers = dict(await call.initial_metadata() or ())
    assert headers["x-request-id"]
    call.cancel()
    client.part.lasts = False
    client.part.refusal = JobNotFound("a")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client._channel.unary_unary(f"{SERVICE}/GetJob", bytes, bytes)(b"")
    metadata: Any = caught.value.trailing_metadata()
    assert dict(metadata)["x-request-id"]


async def test_what_no_part_serves_is_unimplemented(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.read("ListAuditEntries")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
