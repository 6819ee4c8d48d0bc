"""Slots on a real server: a wide task gets its turn, and no domain has all of them."""

import pytest

from kusciajob.client import Client, JobSpec, Task
from kusciajob.testing import AsyncJobServer
from kusciajob.testing.session import TestKit
from tests.support.metrics import metrics_of
from tests.support.polling import PATIENCE_SECONDS

DOMAINS = ["alice", "bob", "carol", "dave"]
STREAM = 40
SLOTS = {"max_running_parties": 4, "max_running_parties_per_domain": 3}

pytestmark = pytest.mark.kuscia(**SLOTS)


def spec(job_id: str, *domains: str) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("t", "any", domains)])


def test_a_wide_task_is_not_overtaken_by_a_stream_of_narrow_ones(kuscia: TestKit, kuscia_client: Client) -> None:
    before = kuscia.settle()
    kuscia.task(job="early-*").hangs()
    kuscia.task(job="late-*").succeeds(after="1s")
    for number, domain in enumerate(DOMAINS):
        kuscia_client.create(spec(f"early-{number}", domain))
    wide = kuscia_client.create(spec("wide", *DOMAINS))
    for number in range(STREAM):
        kuscia_client.create(spec(f"late-{number}", DOMAINS[number % 4]))
    kuscia.settle()
    assert wide.status().tasks[0].err_msg == "waiting for 4 free slots (max_running_parties is 4)"
    for number in range(4):
        assert wide.status().state == "Pending"
        kuscia_client.job(f"early-{number}").stop()
    wide.result(timeout=PATIENCE_SECONDS)
    for number in range(STREAM):
        kuscia_client.job(f"late-{number}").result(timeout=PATIENCE_SECONDS)
    started: dict[str, None] = {}
    for change in kuscia_client.watch(since=before, timeout=PATIENCE_SECONDS):
        if change.status.state == "Running":
            started[change.job_id] = None
        if len(started) == 5 + STREAM:
            break
    assert list(started)[:5] == ["early-0", "early-1", "early-2", "early-3", "wide"]


async def test_one_domain_cannot_have_all_slots(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task(party="alice").hangs()
    jobs = [kuscia_client.create(spec(f"alice-{number}", "alice")) for number in range(5)]
    kuscia.settle()
    text = "waiting for a free slot of domain alice (max_running_parties_per_domain is 3)"
    assert jobs[4].status().tasks[0].err_msg == text
    kuscia_client.create(spec("bob", "bob")).result(timeout=PATIENCE_SECONDS)
    shown = await metrics_of(kuscia)
    assert (shown["kusciajob_parties_running"], shown["kusciajob_scheduler_waiting_for_room"]) == (3, 2)


async def test_the_order_of_those_that_wait_outlives_the_server() -> None:
    async with AsyncJobServer(process=True, durable=True, **SLOTS) as server, server.client() as client:
        server.kuscia.task(job="early").hangs()
        await client.create(spec("early", "alice"))
        await client.create(spec("wide", *DOMAINS))
        await client.create(spec("late", "bob"))
        await server.settle()
        await server.kill()
        await server.start()
        server.kuscia.clock.run()
        await client.job("late").result(timeout=PATIENCE_SECONDS)
        assert (await client.job("wide").status()).state == "Succeeded"
