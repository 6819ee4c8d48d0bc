"""The ways in which three real clients use the API, each as one life cycle."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.testing.session import TestKit
from tests.support.images import python_program, write_image
from tests.support.polling import eventually, eventually_true
from tests.support.requests import job_request, task_request
from tests.support.secured import Place, secured_server
from tests.support.server import running_server

ENGINE = python_program("import time; time.sleep(600)")
FLAKY = task_request("flaky", domains=["alice"], task_input_config='{"exit_code": 1, "message": "no peer"}')
STEADY = task_request("steady", domains=["alice"])


class Platform:
    """Keeps one stream open for ever and holds what it was told; a client of a job platform."""

    def __init__(self, place: Place) -> None:
        caller = place.master
        credentials = grpc.ssl_channel_credentials(
            (place.certs / "ca.crt").read_bytes(),
            (place.certs / "client.key").read_bytes(),
            (place.certs / "client.crt").read_bytes(),
        )
        # Such clients take any server; gRPC's Python client can only be told to overlook its name.
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.initial_reconnect_backoff_ms", 20)]
        self._channel = grpc.aio.secure_channel(place.server.address, credentials, options)
        self._metadata = (("token", caller.token or ""),)
        self.stub = job_pb2_grpc.JobServiceStub(self._channel)
        self.jobs: dict[str, pb.JobStatusDetail] = {}
        self.streams = 0

    async def follow(self) -> None:
        while True:
            self.streams += 1
            try:
                async for event in self.stub.WatchJob(pb.WatchJobRequest(), metadata=self._metadata):
                    if event.type == pb.DELETED:
                        self.jobs.pop(event.object.job_id, None)
                    elif event.type != pb.ERROR:
                        self.jobs[event.object.job_id] = event.object.status
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0)  # at once, without back-off

    async def told(self, job_id: str, state: str) -> pb.JobStatusDetail:
        await eventually(lambda: job_id in self.jobs and self.jobs[job_id].state == state)
        return self.jobs[job_id]

    async def create(self, request: pb.CreateJobRequest) -> int:
        return (await self.stub.CreateJob(request, metadata=self._metadata)).status.code

    async def delete(self, job_id: str) -> int:
        return (await self.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id), metadata=self._metadata)).status.code

    async def restart(self, job_id: str) -> int:
        request = pb.RestartJobRequest(job_id=job_id, reason="try again")
        return (await self.stub.RestartJob(request, metadata=self._metadata)).status.code

    async def close(self) -> None:
        await self._channel.close(None)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[tuple[Place, Platform]]:
    async with secured_server(tmp_path) as place:
        platform = Platform(place)
        following = asyncio.create_task(platform.follow())
        yield place, platform
        following.cancel()
        await asyncio.wait([following])
        await platform.close()


async def test_a_platform_with_one_stream_for_ever(platform: tuple[Place, Platform]) -> None:
    place, client = platform
    assert await client.create(job_request("flow", STEADY, FLAKY)) == 0
    failed = await client.told("flow", "Failed")
    assert failed.err_msg == "Task[flaky]-Party[alice]: exit code 1: no peer"
    task_ids = [task.task_id for task in failed.tasks]

    # The failed task runs again, what succeeded does not.
    first_end = failed.tasks[0].end_time
    assert await client.restart("flow") == 0
    again = await client.told("flow", "Failed")
    assert [task.task_id for task in again.tasks] == task_ids
    assert again.tasks[0].end_time == first_end

    # The stream outlives a restart of the server, and rerunning is deleting and creating.
    streams = client.streams
    await place.server.restart()
    assert await eventually_true(lambda: _is_answered(client.delete("flow"))) is True
    assert await client.create(job_request("flow", STEADY)) == 0
    assert len((await client.told("flow", "Succeeded")).tasks) == 1
    assert client.streams > streams


async def _is_answered(call: Coroutine[Any, Any, int]) -> bool:
    try:
        return await call == 0
    except grpc.aio.AioRpcError:
        return False


@pytest.mark.kuscia(clock="stopped")
def test_a_client_that_watches_for_thirty_seconds_in_a_loop(kuscia: TestKit) -> None:
    kuscia.task("slow").succeeds(after="45s")
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
        assert stub.CreateJob(job_request("loop", task_request("slow"))).status.code == 0
        for last in ("Running", "Succeeded"):
            call = stub.WatchJob(pb.WatchJobRequest(timeout_seconds=30))
            call.initial_metadata()
            kuscia.clock.advance("30s")
            events = list(call)
            assert call.code() is grpc.StatusCode.OK
            assert events[0].type == pb.ADDED
            assert events[-1].object.status.state == last
        assert next(stub.WatchJob(pb.WatchJobRequest(timeout_seconds=30))).object.status.end_time


async def test_a_query_broker_with_one_task_that_it_polls_for_endpoints(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_image(images, "scql", ENGINE, ports=["intra", "inter"])
    async with running_server(tmp_path, app_image_dir=images, stop_grace_seconds=0.5) as server:
        parties = [pb.Party(domain_id=domain, role="engine") for domain in ("alice", "bob")]
        task = pb.Task(app_image="scql", alias="Start-SCQLEngine", task_id="", parties=parties)
        created = await server.stub.CreateJob(job_request("scql-1", task, max_parallelism=1))
        assert (created.status.code, created.data.job_id) == (0, "scql-1")

        async def endpoints() -> dict[str, dict[str, str]]:
            response = await server.stub.QueryJob(pb.QueryJobRequest(job_id="scql-1"))
            if response.data.status.state != "Running":
                return {}
            return {
                party.domain_id: {endpoint.port_name: endpoint.endpoint for endpoint in party.endpoints}
                for party in response.data.status.tasks[0].parties
            }

        found = await eventually_true(endpoints)
        assert {domain: sorted(ports) for domain, ports in found.items()} == {
            "alice": ["inter", "intra"],
            "bob": ["inter", "intra"],
        }
        assert len({address for ports in found.values() for address in ports.values()}) == 4
        query = await server.stub.QueryJob(pb.QueryJobRequest(job_id="scql-1"))
        assert query.data.tasks[0].alias == "Start-SCQLEngine"
        assert query.data.tasks[0].task_id.startswith("scql-1-")

        stopped = await server.stub.StopJob(pb.StopJobRequest(job_id="scql-1", reason="query done"))
        assert stopped.status.code == 0
        await eventually(lambda: len(server.left_processes()) <= 1)
