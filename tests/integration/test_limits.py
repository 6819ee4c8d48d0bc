"""The limits and the metrics of a real server."""

from contextlib import AsyncExitStack

import aiohttp
import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model.status import TaskState
from tests.support.metrics import metrics_of, watch_streams
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer

pytestmark = pytest.mark.settings(max_running_parties=2, max_jobs=3, max_watch_streams=2, max_streams_per_peer=2)


def long(job_id: str) -> pb.CreateJobRequest:
    return job_request(job_id, task_request("t", task_input_config='{"seconds": 60}'))


async def test_waiting_for_a_slot_is_told_and_ends(server: RunningServer) -> None:
    await create(server.stub, long("first"))
    await in_state(server.stub, "first", "Running")
    await create(server.stub, job_request("second"))

    async def waits() -> bool:
        task = (await status_of(server.stub, "second")).tasks[0]
        return (task.state, task.err_msg) == ("Pending", "waiting for 2 free slots (max_running_parties is 2)")

    await eventually_true(waits)
    assert (await metrics_of(server))["kusciajob_parties_running"] == 2
    await server.stub.StopJob(pb.StopJobRequest(job_id="first"))
    assert (await ended(server.stub, "second")).state == "Succeeded"


async def test_jobs_beyond_the_limit_are_refused(server: RunningServer) -> None:
    for number in range(3):
        await create(server.stub, job_request(f"job-{number}"))
    refused = await server.stub.CreateJob(job_request("job-3"))
    assert refused.status.code == 11201
    assert "3 jobs are stored, and no more than 3 may be (setting max_jobs)" in refused.status.message
    await create(server.stub, job_request("job-1"))
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="job-0"))
    await create(server.stub, job_request("job-3"))


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


async def test_the_metrics_tell_what_runs_and_what_waits(server: RunningServer) -> None:
    await create(server.stub, job_request("over"))
    await ended(server.stub, "over")
    tasks = [
        task_request("before", task_input_config='{"seconds": 0.01}'),
        task_request("t", task_input_config='{"seconds": 60}', dependencies=["before"]),
    ]
    await create(server.stub, job_request("runs", *tasks))

    async def runs() -> bool:
        return [task.state for task in (await status_of(server.stub, "runs")).tasks] == ["Succeeded", "Running"]

    await eventually_true(runs)
    await create(server.stub, job_request("waits", task_request("t", domains=["alice"])))

    async def waits() -> bool:
        return "waiting for" in (await status_of(server.stub, "waits")).tasks[0].err_msg

    await eventually_true(waits)
    shown = await metrics_of(server)
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
