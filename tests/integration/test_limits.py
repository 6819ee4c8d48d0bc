"""The limits and the metrics of a real server."""

from contextlib import AsyncExitStack

import aiohttp
import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.client import Client, JobSpec, LimitReached, Task
from kusciajob.model.status import TaskState
from kusciajob.testing.session import TestKit
from tests.support.metrics import metrics_of, watch_streams
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer

LIMITED = pytest.mark.kuscia(max_running_parties=2, max_jobs=3)


def spec(job_id: str, *domains: str) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("t", "any", domains or ["alice", "bob"])])


@LIMITED
async def test_waiting_for_a_slot_is_told_and_ends(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task(job="first").hangs()
    first, second = (kuscia_client.create(spec(job_id)) for job_id in ("first", "second"))
    kuscia.settle()
    (task,) = second.status().tasks
    assert (task.state, task.err_msg) == ("Pending", "waiting for 2 free slots (max_running_parties is 2)")
    assert (await metrics_of(kuscia))["kusciajob_parties_running"] == 2
    first.stop()
    second.result(timeout=PATIENCE_SECONDS)


@LIMITED
def test_jobs_beyond_the_limit_are_refused(kuscia_client: Client) -> None:
    for number in range(3):
        kuscia_client.create(spec(f"job-{number}"))
    with pytest.raises(LimitReached, match=r"3 jobs are stored, and no more than 3 may be \(setting max_jobs\)"):
        kuscia_client.create(spec("job-3"))
    kuscia_client.create(spec("job-1"))
    kuscia_client.job("job-0").delete()
    kuscia_client.create(spec("job-3"))


@pytest.mark.settings(max_watch_streams=2, max_streams_per_peer=2)
async def test_streams_beyond_the_limit_are_refused_and_places_are_given_back(server: RunningServer) -> None:
    await create(server.stub, job_request("any"))
    for _ in range(5):
        streams = [server.stub.WatchJob(pb.WatchJobRequest()) for _ in range(2)]
        for stream in streams:
            event = await stream.read()
            assert isinstance(event, pb.WatchJobEventResponse)
            assert event.object.job_id == "any"
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await server.stub.WatchJob(pb.WatchJobRequest()).read()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            response = await stack.enter_async_context(session.post(f"http://{server.http_address}/api/v1/job/watch"))
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
            assert "2 watch streams are open" in await response.text()
        for stream in streams:
            stream.cancel()

        async def is_free() -> bool:
            return await watch_streams(server) == 0

        await eventually_true(is_free)


@LIMITED
async def test_the_metrics_tell_what_runs_and_what_waits(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("t", job="runs").hangs()
    before, hangs = Task("before", "any", ["alice", "bob"]), Task("t", "any", ["alice", "bob"], after=["before"])
    for job in (spec("over"), JobSpec("runs", "alice", [before, hangs]), spec("waits", "alice")):
        kuscia_client.create(job)
        kuscia.settle()
    shown = await metrics_of(kuscia)
    parties = {state: shown[f'kusciajob_parties{{state="{state}"}}'] for state in TaskState}
    assert parties == {"Pending": 1, "Starting": 0, "Running": 2, "Succeeded": 2, "Failed": 0}
    assert (shown["kusciajob_scheduler_jobs"], shown["kusciajob_scheduler_waiting_for_room"]) == (2, 1)


async def test_the_metrics_tell_what_has_happened(server: RunningServer) -> None:
    await create(server.stub, job_request("done"))
    await ended(server.stub, "done")
    await server.stub.QueryJob(pb.QueryJobRequest(job_id="unknown"))
    shown = await metrics_of(server)
    assert shown['kusciajob_calls_total{code="0",method="CreateJob",transport="grpc"}'] == 1
    assert shown['kusciajob_calls_total{code="11202",method="QueryJob",transport="grpc"}'] == 1
    assert shown['kusciajob_call_seconds_count{method="CreateJob",transport="grpc"}'] == 1
    assert shown['kusciajob_jobs{state="Succeeded"}'] == 1
    assert shown['kusciajob_jobs{state="Failed"}'] == 0
    assert shown["kusciajob_commit_seconds_count"] >= 3
    assert shown["kusciajob_commit_changes_sum"] >= 3
    assert shown["kusciajob_data_directory_bytes"] > 10_000
    assert shown["process_resident_memory_bytes"] > 10_000_000
    assert {"kusciajob_watch_lag_events_max", "kusciajob_store_queue_length"} <= shown.keys()
