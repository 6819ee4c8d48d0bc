"""The server is suspended, runs out of descriptors, or finds that the clock was set: it goes on afterwards."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.model.job import JobSpec, ScheduleConfig
from kusciajob.model.status import JobState, TaskState
from tests.support.builders import job_spec, task
from tests.support.clock import ManualClock
from tests.support.house import opened_house
from tests.support.images import write_image
from tests.support.limits import limited, open_files
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.runtimes import ManualRuntime
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

pytestmark = pytest.mark.hostile

SUSPENDED_SECONDS = 3.0
REFUSAL_SECONDS = 1.0
LEFT_DESCRIPTORS = 12
TIMEOUT_SECONDS = 60
DAY_SECONDS = 86_400.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    write_image(images, "short", ["sleep", "1"])
    write_image(images, "quick", ["true"])
    async with running_server(
        tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains", stop_grace_seconds=0.3
    ) as server:
        yield server


async def test_after_a_suspension_calls_streams_and_jobs_go_on(server: RunningServer) -> None:
    watcher = Watcher(server)
    await watcher.connect()
    await create(server.stub, job_request("before", task_request("t", "short")))
    await in_state(server.stub, "before", "Running")
    server.process.send_signal(signal.SIGSTOP)
    meanwhile = asyncio.ensure_future(create(server.stub, job_request("meanwhile", task_request("t", "quick"))))
    _, pending = await asyncio.wait([meanwhile], timeout=SUSPENDED_SECONDS)
    assert pending, "a suspended server answers nobody"
    server.process.send_signal(signal.SIGCONT)
    await meanwhile
    for job_id in ("before", "meanwhile"):
        assert (await ended(server.stub, job_id)).state == "Succeeded"
    await eventually(lambda: {job.state for job in watcher.jobs.values()} == {"Succeeded"})
    await watcher.close()


async def watched_halfway(server: RunningServer, job_id: str) -> Watcher:
    """Somebody watches while the first of the job's two tasks runs; a job "warm" has ended."""
    await create(server.stub, job_request("warm", task_request("t", "quick")))
    await ended(server.stub, "warm")
    watcher = Watcher(server)
    await watcher.connect()
    tasks = task_request("a", "short"), task_request("b", "quick", dependencies=["a"])
    await create(server.stub, job_request(job_id, *tasks))
    await in_state(server.stub, job_id, "Running")
    return watcher


async def test_of_the_last_descriptors_none_goes_to_new_calls_and_the_streams_go_on(server: RunningServer) -> None:
    watcher = await watched_halfway(server, "chain")
    pid = server.process.pid
    with limited(pid, resource.RLIMIT_NOFILE, open_files(pid) + LEFT_DESCRIPTORS):
        async with new_client(server) as channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            await eventually_true(lambda: is_exhausted(stub.QueryJob(pb.QueryJobRequest(job_id="warm"))))
            assert await is_exhausted(stub.WatchJob(pb.WatchJobRequest()).read())
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{server.http_address}/healthZ") as response,
        ):
            assert response.status == 429
        await eventually(lambda: watcher.jobs["chain"].state == "Succeeded")
    await eventually_true(lambda: is_answered(server.stub.QueryJob(pb.QueryJobRequest(job_id="warm"))))
    await watcher.close()


async def test_without_any_descriptor_tasks_fail_with_the_reason_and_the_streams_go_on(server: RunningServer) -> None:
    watcher = await watched_halfway(server, "poor")
    pid = server.process.pid
    with limited(pid, resource.RLIMIT_NOFILE, open_files(pid)):
        async with new_client(server) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await job_pb2_grpc.JobServiceStub(channel).QueryJob(
                    pb.QueryJobRequest(job_id="warm"), timeout=REFUSAL_SECONDS
                )
            assert refusal.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        await eventually(lambda: watcher.jobs["poor"].end_time)
        assert "Too many open files" in watcher.jobs["poor"].err_msg

    async with new_client(server) as channel:
        response = await job_pb2_grpc.JobServiceStub(channel).QueryJob(
            pb.QueryJobRequest(job_id="warm"), wait_for_ready=True, timeout=PATIENCE_SECONDS
        )
        assert response.status.code == 0
    await server.stub.RestartJob(pb.RestartJobRequest(job_id="poor"))
    await eventually(lambda: watcher.jobs["poor"].state == "Succeeded")
    await watcher.close()


async def is_exhausted(call: Awaitable[object]) -> bool:
    """Whether the call is refused for want of something; anything else but an answer raises."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return "file descriptors left" in (error.details() or "")
    return False


async def is_answered(call: Awaitable[object]) -> bool:
    """Whether it is not refused for want of something."""
    return not await is_exhausted(call)


def new_client(server: RunningServer) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])


@pytest.mark.parametrize("offset_seconds", [-DAY_SECONDS, DAY_SECONDS])
async def test_a_job_ends_in_order_though_the_clock_is_set_while_it_runs(offset_seconds: float) -> None:
    clock, runtime = ManualClock(), ManualRuntime()
    async with opened_house(runtime, clock=clock) as house:
        await house.create("job-1")
        await house.until_task(TaskState.RUNNING)
        clock.turn(offset_seconds)
        runtime.end()
        status = await house.until(JobState.SUCCEEDED)
        for phase in (status.phase, status.tasks[0].phase):
            assert phase.started_at is not None
            assert phase.ended_at is not None
            assert phase.ended_at >= phase.started_at


async def test_a_clock_that_is_set_back_lets_a_task_wait_longer_and_no_harm_done() -> None:
    clock, runtime = ManualClock(), ManualRuntime(capacity=0)
    async with opened_house(runtime, clock=clock) as house:
        await house.create(impatient())
        await house.until_message("waiting for room")
        clock.turn(-DAY_SECONDS)
        runtime.capacity = 2
        clock.advance(TIMEOUT_SECONDS)  # the timer that was to end the wait lets it look for room once more
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_a_clock_that_is_set_forward_lets_a_waiting_task_fail_with_the_reason() -> None:
    clock, runtime = ManualClock(), ManualRuntime(capacity=0)
    async with opened_house(runtime, clock=clock) as house:
        await house.create(impatient())
        await house.until_message("waiting for room")
        clock.turn(2 * DAY_SECONDS)
        clock.advance(TIMEOUT_SECONDS)
        status = await house.until(JobState.FAILED)
        assert f"not scheduled within {TIMEOUT_SECONDS} s" in status.message
        await house.until_idle()


def impatient() -> JobSpec:
    """A job whose task is given up when it is not started in time."""
    return job_spec(tasks=[replace(task(), schedule_config=ScheduleConfig(TIMEOUT_SECONDS))])
