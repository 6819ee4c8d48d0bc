"""Slots on a real server: a wide task gets its turn, and no domain has all of them."""

import asyncio

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.metrics import metrics_of
from tests.support.polling import eventually, eventually_true
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer

DOMAINS = ["alice", "bob", "carol", "dave"]
STREAM = 40

pytestmark = pytest.mark.settings(max_running_parties=4, max_running_parties_per_domain=3)


def narrow(job_id: str, domain: str, *, seconds: float) -> pb.CreateJobRequest:
    return job_request(job_id, task_request("t", domains=[domain], task_input_config=f'{{"seconds": {seconds}}}'))


async def test_a_wide_task_is_not_overtaken_by_a_stream_of_narrow_ones(server: RunningServer) -> None:
    started: dict[str, None] = {}

    async def follow() -> None:
        async for event in server.stub.WatchJob(pb.WatchJobRequest()):
            if event.object.status.state == "Running":
                started[event.object.job_id] = None

    watching = asyncio.create_task(follow())
    for number, domain in enumerate(DOMAINS):
        await create(server.stub, narrow(f"early-{number}", domain, seconds=600))
    await in_state(server.stub, "early-3", "Running")
    await create(server.stub, job_request("wide", task_request("t", domains=DOMAINS)))
    for number in range(STREAM):
        await create(server.stub, narrow(f"late-{number}", DOMAINS[number % 4], seconds=0.05))
    text = "waiting for 4 free slots (max_running_parties is 4)"

    async def waits() -> bool:
        return (await status_of(server.stub, "wide")).tasks[0].err_msg == text

    await eventually_true(waits)
    for number in range(4):
        assert "wide" not in started
        await server.stub.StopJob(pb.StopJobRequest(job_id=f"early-{number}"))
    for job_id in ("wide", *(f"late-{number}" for number in range(STREAM))):
        assert (await ended(server.stub, job_id)).state == "Succeeded"
    await eventually(lambda: len(started) == 5 + STREAM)
    watching.cancel()
    assert list(started)[:5] == ["early-0", "early-1", "early-2", "early-3", "wide"]


async def test_one_domain_cannot_have_all_slots(server: RunningServer) -> None:
    for number in range(5):
        await create(server.stub, narrow(f"alice-{number}", "alice", seconds=60))
    text = "waiting for a free slot of domain alice (max_running_parties_per_domain is 3)"

    async def waits() -> bool:
        return (await status_of(server.stub, "alice-4")).tasks[0].err_msg == text

    await eventually_true(waits)
    await create(server.stub, narrow("bob", "bob", seconds=0))
    assert (await ended(server.stub, "bob")).state == "Succeeded"
    shown = await metrics_of(server)
    assert (shown["kusciajob_parties_running"], shown["kusciajob_scheduler_waiting_for_room"]) == (3, 2)


async def test_the_order_of_those_that_wait_outlives_the_server(server: RunningServer) -> None:
    await create(server.stub, narrow("early", "alice", seconds=0.5))
    await in_state(server.stub, "early", "Running")
    await create(server.stub, job_request("wide", task_request("t", domains=DOMAINS)))
    await create(server.stub, narrow("late", "bob", seconds=0))
    await server.kill()
    await server.start()
    await ended(server.stub, "late")
    assert (await status_of(server.stub, "wide")).state == "Succeeded"
