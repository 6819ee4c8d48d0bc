"""The limit of running parties: in the runtimes, and as a job's owner sees it."""

import pytest
from msgspec import json

from kusciajob.contracts import NoCapacity, PartyKey, StartFailed
from kusciajob.model.status import JobState, TaskState
from kusciajob.runtime.simulated import SimulatedRuntime
from kusciajob.runtime.slots import Slots
from tests.support.builders import job_spec, task
from tests.support.clock import ManualClock
from tests.support.house import opened_house


def keys(job: int, count: int, replicas: int = 1) -> dict[PartyKey, int]:
    return {PartyKey(job, 0, 1, party): replicas for party in range(count)}


def test_each_replica_has_a_slot() -> None:
    slots = Slots(5)
    slots.take(keys(1, 2, replicas=2))
    with pytest.raises(NoCapacity):
        slots.take(keys(2, 1, replicas=2))
    slots.hold(PartyKey(1, 0, 1, 0), 1)
    assert slots.taken == 3
    slots.free_job(1)
    assert slots.taken == 0


def test_all_parties_of_a_task_get_a_slot_or_none() -> None:
    slots = Slots(3)
    slots.take(keys(1, 2))
    with pytest.raises(NoCapacity) as refusal:
        slots.take(keys(2, 2))
    assert str(refusal.value) == "waiting for a free slot (2 of 3 parties running, 2 needed)"
    slots.take(keys(3, 1))
    with pytest.raises(NoCapacity) as refusal:
        slots.take(keys(2, 1))
    assert str(refusal.value) == "waiting for a free slot (3 of 3 parties running)"
    slots.free(keys(1, 1))
    slots.free(keys(1, 1))
    assert slots.taken == 2
    slots.take(keys(2, 1))
    slots.free_job(1)
    assert slots.taken == 2


def test_waiting_for_more_slots_than_there_are_is_refused() -> None:
    with pytest.raises(
        StartFailed, match=r"has 4 parties, more than may ever run here at once: 3 .*max_running_parties"
    ):
        Slots(3).take(keys(1, 4))


def test_what_runs_already_may_exceed_the_limit() -> None:
    slots = Slots(1)
    for key in keys(1, 2):
        slots.hold(key)
    assert slots.taken == 2
    with pytest.raises(NoCapacity):
        slots.take(keys(2, 1))


def test_no_limit() -> None:
    slots = Slots(0)
    slots.take(keys(1, 10_000))
    assert slots.taken == 10_000


async def test_a_task_waits_for_a_slot_and_says_so() -> None:
    clock = ManualClock()
    runtime = SimulatedRuntime(clock=clock, on_progress=lambda *_: None, max_running_parties=3)
    async with opened_house(runtime, clock=clock) as house:
        for job_id in ("first", "second"):
            config = json.encode({"seconds": 5}).decode()
            await house.create(job_spec(job_id, tasks=[task("a", input_config=config)]))
            await house.until_task(TaskState.RUNNING if job_id == "first" else TaskState.STARTING, job_id=job_id)
        await house.until_message("waiting for a free slot (2 of 3 parties running, 2 needed)", job_id="second")
        clock.advance(5)
        await house.until(JobState.SUCCEEDED, "first")
        await house.until_task(TaskState.RUNNING, job_id="second")
        await house.delete("second")
        await house.until_idle()
    assert runtime.parties == 0


async def test_a_task_with_too_many_parties_fails_at_once() -> None:
    runtime = SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None, max_running_parties=1)
    async with opened_house(runtime) as house:
        await house.create(job_spec("wide", tasks=[task("a")]))
        status = await house.until(JobState.FAILED, "wide")
    assert "the task has 2 parties, more than may ever run here at once: 1" in status.message
    assert runtime.parties == 0
