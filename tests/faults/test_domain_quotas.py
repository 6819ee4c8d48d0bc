"""One domain cannot use all up: neither the places for jobs nor those for streams."""

from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.callers import Caller
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, job_request, task_request
from tests.support.secured import Place, secured_server
from tests.support.server import RunningServer

pytestmark = [pytest.mark.hostile, pytest.mark.settings(max_jobs_per_domain=2)]


def job_of(initiator: str, job_id: str) -> pb.CreateJobRequest:
    return pb.CreateJobRequest(job_id=job_id, initiator=initiator, tasks=[task_request("t")])


async def is_refused(server: RunningServer, request: pb.CreateJobRequest) -> bool:
    answer = await server.stub.CreateJob(request)
    if answer.status.code == 0:
        return False
    assert answer.status.code == 11201
    assert "2 jobs of initiator" in answer.status.message
    assert "no more than 2 may be (setting max_jobs_per_domain)" in answer.status.message
    return True


async def test_a_domain_stores_so_many_jobs_and_another_stores_its_own(server: RunningServer) -> None:
    for job_id in ("a1", "a2"):
        await create(server.stub, job_of("alice", job_id))
    assert await is_refused(server, job_of("alice", "a3"))
    await create(server.stub, job_of("alice", "a2"))  # again, which stores nothing
    await create(server.stub, job_of("bob", "b1"))
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="a1"))
    await create(server.stub, job_of("alice", "a3"))


async def test_the_jobs_of_a_domain_are_known_after_a_restart(server: RunningServer) -> None:
    for job_id in ("a1", "a2"):
        await create(server.stub, job_of("alice", job_id))
        await ended(server.stub, job_id)
    await server.kill()
    await server.start()
    assert await is_refused(server, job_of("alice", "a3"))
    await create(server.stub, job_of("bob", "b1"))


async def test_a_domain_opens_so_many_streams_over_both_protocols_and_others_open_theirs(tmp_path: Path) -> None:
    async with secured_server(tmp_path, max_streams_per_domain=2) as place:
        alice, server = place.domain("alice"), place.server
        async with alice.channel(server.address) as channel, place.master.channel(server.address) as other:
            master, stub = job_pb2_grpc.JobServiceStub(other), job_pb2_grpc.JobServiceStub(channel)
            await master.CreateJob(job_request("any"), metadata=place.master.metadata)
            streams = [stub.WatchJob(pb.WatchJobRequest(), metadata=alice.metadata) for _ in range(2)]
            for stream in streams:
                await stream.read()
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.WatchJob(pb.WatchJobRequest(), metadata=alice.metadata).read()
            assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "(setting max_streams_per_domain)" in str(refusal.value.details())
            assert await watch_status(place, alice) == 429
            assert await watch_status(place, place.domain("bob")) == 200
            await master.WatchJob(pb.WatchJobRequest(), metadata=place.master.metadata).read()
            streams[0].cancel()

            async def is_free() -> bool:
                return await watch_status(place, alice) == 200

            await eventually_true(is_free)


async def watch_status(place: Place, caller: Caller) -> int:
    """What a watch stream over HTTP begins with; it is left at once."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=caller.ssl_context)) as session,
        session.post(
            f"https://{place.http_address}/api/v1/job/watch", headers={"Token": caller.token or ""}
        ) as response,
    ):
        return response.status
