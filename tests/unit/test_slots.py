"""The limits of running parties, of ports, and of one domain's parties, as a job's owner sees them."""

import pytest
from msgspec.structs import replace

from kusciajob.model.job import JobSpec, Party
from kusciajob.model.status import JobState, TaskState
from kusciajob.runtime.simulated import SimulatedRuntime
from kusciajob.scheduler.slots import SlotLimits
from tests.support.builders import job_spec, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.runtimes import ManualRuntime

THREE = SlotLimits(parties=3)
TWO_PER_DOMAIN = SlotLimits(parties_per_domain=2)
FOUR_PORTS = SlotLimits(ports=range(7000, 7004))


def job_of(job_id: str, *domains: str) -> JobSpec:
    """A job of one task; its parties differ at least in their roles."""
    parties = tuple(Party(domain, f"role-{index}") for index, domain in enumerate(domains))
    return job_spec(job_id, tasks=[replace(task("t"), parties=parties)], initiator=domains[0])


async def waits(house: House, spec: JobSpec) -> str:
    """Create a job that has to wait; what its task says."""
    await house.create(spec)
    await house.until_message("waiting for", job_id=spec.job_id)
    status = house.status(spec.job_id)
    assert status is not None
    return status.tasks[0].message


async def runs(house: House, spec: JobSpec) -> int:
    """Create a job that runs; its number."""
    job = await house.create(spec)
    await house.until_task(TaskState.RUNNING, job_id=spec.job_id)
    return job.number


async def test_a_task_waits_for_slots_and_names_the_setting() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=THREE) as house:
        first = await runs(house, job_of("first", "alice", "bob"))
        assert await waits(house, job_of("second", "alice", "bob")) == (
            "waiting for 2 free slots (max_running_parties is 3)"
        )
        assert house.scheduler.waiting_for_room == 1
        runtime.end(job=first)
        assert (await house.until_task(TaskState.RUNNING, job_id="second")).message == ""
        assert await runs(house, job_of("third", "alice"))
        assert await waits(house, job_of("fourth", "alice")) == "waiting for a free slot (max_running_parties is 3)"
        assert (house.scheduler.parties, house.scheduler.waiting_for_room) == (3, 1)
        runtime.end()
        await house.until_task(TaskState.RUNNING, job_id="fourth")
        await house.delete("fourth")
        await house.until_idle()


async def test_a_task_waits_for_slots_of_its_domain_and_names_domain_and_setting() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=TWO_PER_DOMAIN) as house:
        first = await runs(house, job_of("first", "alice", "alice", "bob"))
        assert await waits(house, job_of("second", "bob", "alice")) == (
            "waiting for a free slot of domain alice (max_running_parties_per_domain is 2)"
        )
        await runs(house, job_of("carols", "carol", "carol"))
        assert await waits(house, job_of("alices", "alice", "alice")) == (
            "waiting for 2 free slots of domain alice (max_running_parties_per_domain is 2)"
        )
        runtime.end(job=first)
        await house.until_task(TaskState.RUNNING, job_id="second")
        runtime.end()
        await house.until_task(TaskState.RUNNING, job_id="alices")


async def test_a_task_waits_for_ports_and_names_the_settings() -> None:
    runtime = ManualRuntime()
    runtime.ports_per_party = 2
    async with opened_house(runtime, limits=FOUR_PORTS) as house:
        await runs(house, job_of("first", "alice"))
        assert await waits(house, job_of("second", "alice", "bob")) == (
            "waiting for 4 free ports (first_port is 7000, last_port 7003)"
        )
        runtime.end()
        await house.until_task(TaskState.RUNNING, job_id="second")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (THREE, "the task has 4 parties, more than may ever run here at once: 3 (setting max_running_parties)"),
        (
            TWO_PER_DOMAIN,
            "the task has 3 parties of domain alice, more than may ever run here at once: 2 "
            "(setting max_running_parties_per_domain)",
        ),
        (FOUR_PORTS, "the task needs 8 ports, more than there are: 4 (first_port is 7000, last_port 7003)"),
    ],
)
async def test_a_task_that_could_never_have_what_it_needs_fails_at_once(limits: SlotLimits, text: str) -> None:
    runtime = ManualRuntime()
    runtime.ports_per_party = 2
    async with opened_house(runtime, limits=limits) as house:
        await house.create(job_of("wide", "alice", "bob", "alice", "alice"))
        status = await house.until(JobState.FAILED, "wide")
        assert f"Party[bob]: {text}" in status.tasks[0].message
        await house.until_idle()


async def test_no_limit() -> None:
    clock = ManualClock()
    async with opened_house(SimulatedRuntime(clock=clock, on_progress=lambda *_: None), clock=clock) as house:
        spec = job_of("wide", *["alice"] * 128)
        config = '{"seconds": 5}'
        await runs(house, replace(spec, tasks=(replace(spec.tasks[0], task_input_config=config),)))
        assert house.scheduler.parties == 128
        clock.advance(5)
        await house.until(JobState.SUCCEEDED, "wide")
        await house.until_idle()


async def test_what_ran_before_a_restart_of_the_server_counts_be_it_beyond_the_limit() -> None:
    runtime, clock = ManualRuntime(), ManualClock()
    async with opened_house(runtime, clock=clock) as house:
        store = house.store
        number = await runs(house, job_of("first", "alice", "bob", "carol", "dave"))
    async with opened_house(runtime, clock=clock, store=store, limits=THREE) as house:
        assert house.scheduler.parties == 4
        await waits(house, job_of("second", "alice", "bob"))
        runtime.end(job=number)
        await house.until_task(TaskState.RUNNING, job_id="second")
