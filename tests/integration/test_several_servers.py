"""Three servers on one PostgreSQL: each serves every call and every watch, one schedules, and another takes over."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.appimage_pb2 import QueryAppImageRequest
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.appimage_pb2_grpc import AppImageServiceStub
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from kusciajob.store.postgres.lease import LEASE_SECONDS
from tests.support.app_images import shell_request
from tests.support.polling import PROMISED_SECONDS, eventually, eventually_true, passed
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

pytestmark = pytest.mark.postgres

STANDS_BY = "takes over when that one ends"
SCHEDULES = "this server schedules from now on"
LOST = "this server schedules no more"


@pytest.fixture
async def servers(tmp_path: Path, url: str) -> AsyncIterator[Sequence[RunningServer]]:
    """The first one schedules."""
    async with AsyncExitStack() as stack:
        names = ("one", "other", "third")
        for name in names:
            (tmp_path / name).mkdir()
        opened = [running_server(tmp_path / name, runtime="simulated", store=url) for name in names]
        first = await stack.enter_async_context(opened[0])
        started = [first, *await asyncio.gather(*map(stack.enter_async_context, opened[1:]))]
        for server in started[1:]:
            await server.logged(STANDS_BY)
        yield started


def running_for(seconds: float, job_id: str = "job-1") -> pb.CreateJobRequest:
    return job_request(job_id, task_request("a", task_input_config=f'{{"seconds": {seconds}}}'))


async def test_every_server_serves_every_call_and_every_watch(servers: Sequence[RunningServer]) -> None:
    watchers = [Watcher(server) for server in servers]
    for watcher in watchers:
        await watcher.connect()
    leader, other, third = servers
    for number, server in enumerate(servers):
        await create(server.stub, running_for(0, f"quick-{number}"))
        await create(server.stub, running_for(1000, f"long-{number}"))
    for number in range(3):
        assert (await ended(other.stub, f"quick-{number}")).state == "Succeeded"
        await in_state(third.stub, f"long-{number}", "Running")
    await third.stub.StopJob(pb.StopJobRequest(job_id="long-0", reason="enough"))
    await other.stub.SuspendJob(pb.SuspendJobRequest(job_id="long-1"))
    await other.stub.CancelJob(pb.CancelJobRequest(job_id="long-2"))
    await in_state(leader.stub, "long-1", "Suspended")
    await third.stub.RestartJob(pb.RestartJobRequest(job_id="long-1"))
    await in_state(other.stub, "long-1", "Running")
    await third.stub.DeleteJob(pb.DeleteJobRequest(job_id="long-1"))
    for watcher in watchers:
        await eventually(lambda watcher=watcher: "long-1" not in watcher.jobs)  # type: ignore[misc]
        states = {job_id: status.state for job_id, status in watcher.jobs.items()}
        assert states == {
            "quick-0": "Succeeded",
            "quick-1": "Succeeded",
            "quick-2": "Succeeded",
            "long-0": "Failed",
            "long-2": "Cancelled",
        }
        await watcher.close()


async def test_another_server_takes_over_after_a_crash(servers: Sequence[RunningServer]) -> None:
    leader, other, third = servers
    await create(third.stub, running_for(2))
    await in_state(other.stub, "job-1", "Running")
    await leader.kill()
    began = time.monotonic()
    await eventually(lambda: SCHEDULES in other.log.read_text() + third.log.read_text())
    assert time.monotonic() - began < PROMISED_SECONDS
    assert (await ended(third.stub, "job-1")).state == "Succeeded"


async def test_another_server_takes_over_at_once_after_an_orderly_stop(servers: Sequence[RunningServer]) -> None:
    leader, other, third = servers
    began = time.monotonic()
    leader.process.terminate()
    await eventually(lambda: SCHEDULES in other.log.read_text() + third.log.read_text())
    took = time.monotonic() - began
    assert took < LEASE_SECONDS - 2  # it was not waited for the end of the lease
    await leader.stop()
    await create(third.stub, running_for(0))
    assert (await ended(other.stub, "job-1")).state == "Succeeded"


async def test_a_frozen_leader_that_wakes_up_can_do_nothing_and_serves_on(servers: Sequence[RunningServer]) -> None:
    leader, other, third = servers
    # Its timers are due as soon as it wakes up, and it would tell that they have succeeded.
    for number in range(20):
        await create(other.stub, running_for(3, f"job-{number}"))
    for number in range(20):
        await in_state(other.stub, f"job-{number}", "Running")
    leader.process.send_signal(signal.SIGSTOP)
    try:
        await eventually(lambda: SCHEDULES in other.log.read_text() + third.log.read_text())
        for number in range(20):
            await third.stub.SuspendJob(pb.SuspendJobRequest(job_id=f"job-{number}"))
        for number in range(20):
            await in_state(other.stub, f"job-{number}", "Suspended")
    finally:
        leader.process.send_signal(signal.SIGCONT)
    await leader.logged(LOST)
    assert {(await status_of(leader.stub, f"job-{number}")).state for number in range(20)} == {"Suspended"}
    await create(leader.stub, running_for(0, "later"))
    assert (await ended(leader.stub, "later")).state == "Succeeded"
    await other.stop()
    await third.stop()
    await create(leader.stub, running_for(0, "last"))
    assert (await ended(leader.stub, "last")).state == "Succeeded"


async def test_a_server_with_programs_of_its_own_is_the_only_one_that_schedules(tmp_path: Path, url: str) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        running_server(tmp_path / "one", runtime="process", store=url) as one,
        running_server(tmp_path / "other", runtime="process", store=url) as other,
    ):
        await other.logged("this one serves calls and can never take over")
        await one.stop()
        await passed(1.5)
        assert SCHEDULES not in other.log.read_text()
        await one.start()


async def test_an_app_image_of_one_server_can_be_used_at_once_on_another(tmp_path: Path, url: str) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        running_server(tmp_path / "one", runtime="process", store=url, max_running_parties=1) as one,
        running_server(tmp_path / "other", runtime="process", store=url, max_running_parties=1) as other,
    ):
        made = await AppImageServiceStub(other.channel).CreateAppImage(shell_request("quick", "true"))
        assert made.status.code == 0, made.status.message
        for number, server in enumerate((one, other)):
            await create(server.stub, job_request(f"job-{number}", task_request("a", "quick", ["alice"])))
            assert (await ended(other.stub, f"job-{number}")).state == "Succeeded"

        async def is_known() -> bool:
            answer = await AppImageServiceStub(one.channel).QueryAppImage(QueryAppImageRequest(name="quick"))
            return bool(answer.status.code == 0)

        assert await eventually_true(is_known)


async def test_what_one_server_told_another_one_tells_too(servers: Sequence[RunningServer]) -> None:
    one, other, third = [jobs_pb2_grpc.JobsServiceStub(server.channel) for server in servers]
    for number in range(20):
        submitted = await one.SubmitJob(v1.SubmitJobRequest(job=running_for(0, f"job-{number}")))
        revision = submitted.job.revision
        job = (await other.GetJob(v1.GetJobRequest(job_id=f"job-{number}", min_revision=revision))).job
        assert job.summary.revision >= revision
        jobs = await third.ListJobs(v1.ListJobsRequest(min_revision=revision, page_size=1))
        assert jobs.jobs[0].job_id == f"job-{number}"
        assert jobs.revision >= revision
        watch = third.WatchJobs(v1.WatchJobsRequest(min_revision=revision, include_existing=True))
        told = []
        async for event in watch:
            if event.type == v1.WatchJobsResponse.TYPE_BOOKMARK:
                break
            told.append(event.job.job_id)
        assert f"job-{number}" in told
    with pytest.raises(grpc.aio.AioRpcError, match="min_revision -1 is below 0"):
        await other.GetJob(v1.GetJobRequest(job_id="job-1", min_revision=-1))
