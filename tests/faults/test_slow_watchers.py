"""Watchers that read nothing cost little memory, keep nobody waiting and miss nothing."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.metrics import metrics_of, resident_bytes, watch_streams
from tests.support.polling import eventually_true
from tests.support.raw_watch import RawWatch
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer

pytestmark = [pytest.mark.hostile, pytest.mark.settings(max_running_parties=0)]

MIB = 1 << 20
EVENTS = 10_000
JOBS = 670
WARM_JOBS = 100
TASKS = 8
CALLERS = 8
SLOW_WATCHERS = 20
MOST_BYTES_PER_WATCHER = 0.75 * MIB
"""What each of them could hoard is 10 MiB of encoded events, or more."""
KEPT_BYTES = 16 * MIB
"""What the server keeps of so many jobs for who asks for them again, whoever watches."""
END = "the-end"
RANKS = {"Pending": 0, "Running": 1, "Succeeded": 2, "Failed": 2}


async def make_events(server: RunningServer, name: str, jobs: int) -> None:
    """Run so many jobs to their ends; a tenth is stopped, another tenth deleted, whatever they are doing."""
    numbers = iter(range(jobs))

    async def call() -> None:
        for number in numbers:
            tasks = (task_request(f"t{index}", domains=["alice"]) for index in range(TASKS))
            job_id = f"{name}-{number}"
            await create(server.stub, job_request(job_id, *tasks))
            if number % 10 == 0:
                await server.stub.StopJob(pb.StopJobRequest(job_id=job_id))
            elif number % 10 == 1:
                await server.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id))

    async def are_over() -> bool:
        return (await metrics_of(server))["kusciajob_scheduler_jobs"] == 0

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    await eventually_true(are_over, timeout_seconds=60)


async def statuses_of(server: RunningServer, job_ids: Iterable[str]) -> dict[str, pb.JobStatusDetail]:
    response = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=list(job_ids)))
    assert response.status.code == 0, response.status.message
    return {job.job_id: job.status for job in response.data.jobs}


def fold(events: Iterable[bytes]) -> dict[str, pb.JobStatusDetail]:
    """The jobs that a watcher knows in the end. AssertionError where an event contradicts an earlier one."""
    told: dict[str, list[pb.JobStatusDetail]] = {}
    for encoded in events:
        event = pb.WatchJobEventResponse.FromString(encoded)
        job_id, status = event.object.job_id, event.object.status
        assert (event.type == pb.ADDED) == (job_id not in told), event
        if event.type == pb.DELETED:
            assert status == told.pop(job_id)[-1]
        else:
            told.setdefault(job_id, []).append(status)
    for statuses in told.values():
        for before, after in pairwise(map(ranks, statuses)):
            assert all(old <= new for old, new in zip(before, after, strict=True)), "a state has gone backwards"
    return {job_id: statuses[-1] for job_id, statuses in told.items()}


def ranks(status: pb.JobStatusDetail) -> list[int]:
    """How far the job, its tasks and their parties are."""
    states = [status.state]
    for task in status.tasks:
        states += [task.state, *(party.state for party in task.parties)]
    return [RANKS[state] for state in states]


async def test_watchers_that_do_not_read_cost_little_and_learn_everything_later(server: RunningServer) -> None:
    await make_events(server, "warm", WARM_JOBS)
    resident_before = await resident_bytes(server)
    slow = [RawWatch(server.address) for _ in range(SLOW_WATCHERS)]
    fast = RawWatch(server.address)
    reading = asyncio.create_task(asyncio.to_thread(fast.read_until, END.encode()))

    async def have_begun() -> bool:
        return await watch_streams(server) == SLOW_WATCHERS + 1

    try:
        await eventually_true(have_begun)  # all of them before the first job: then they are told the same
        await make_events(server, "job", JOBS)
        assert await have_begun()
        grown = await resident_bytes(server) - resident_before
        most = KEPT_BYTES + SLOW_WATCHERS * MOST_BYTES_PER_WATCHER
        assert grown <= most, f"{grown / MIB:.1f} MiB, at most {most / MIB:.1f}"

        await create(server.stub, job_request(END))
        await ended(server.stub, END)
        events = await reading
        assert len(events) >= EVENTS
        known = fold(events)
        assert known == await statuses_of(server, known)
        assert len(known) == (WARM_JOBS + JOBS) * 9 / 10
        assert await asyncio.to_thread(slow[0].read_until, END.encode()) == events
    finally:
        for watch in (fast, *slow):
            watch.leave()

    async def have_left() -> bool:
        return await watch_streams(server) == 0

    await eventually_true(have_left)
