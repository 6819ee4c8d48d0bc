"""Why a task waits is told once, and again only when the reason changes."""

from collections.abc import Sequence

from msgspec.structs import replace

from kusciajob.contracts import NoCapacity, PartySpec
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.job import JobSpec, Party
from kusciajob.model.status import Endpoint, Job, JobStatus, TaskState
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, task
from tests.support.house import House, opened_house
from tests.support.polling import eventually, give_way
from tests.support.runtimes import ManualRuntime
from tests.support.stores import GuardedStore

WAITING = 40
COMMITS_OF_A_JOB = 4
"""Admitted (waiting or being started), placed, Running, Succeeded."""


def job_of(job_id: str, *domains: str) -> JobSpec:
    parties = tuple(Party(domain, f"role-{index}") for index, domain in enumerate(domains))
    return job_spec(job_id, tasks=[replace(task("t"), parties=parties)], initiator=domains[0])


class CountingStore(GuardedStore):
    """Counts the commits of the scheduler."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.commits = 0

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        self.commits += 1
        return await super().replace(job, passed=passed, fault=fault, notes=notes)


async def let_run_and_end(house: House, runtime: ManualRuntime, jobs: Sequence[str]) -> None:
    """The jobs run one after the other, each until it has ended."""
    for job_id in jobs:
        job = await house.create(job_of(job_id, "alice"))
        await house.until_task(TaskState.RUNNING, job_id=job_id)
        runtime.end(job=job.number)
        await house.until_task(TaskState.SUCCEEDED, job_id=job_id)
    await give_way(100)


async def wait_in_vain(house: House, *domains: str) -> None:
    """Create jobs that wait."""
    for number in range(WAITING):
        await house.create(job_of(f"waits-{number}", *domains))
    await house.until_message("waiting for", job_id=f"waits-{WAITING - 1}")


async def test_those_that_wait_for_slots_make_no_events_while_others_end() -> None:
    runtime, store = ManualRuntime(), CountingStore()
    async with opened_house(runtime, store=store, limits=SlotLimits(parties=40)) as house:
        jobs = [await house.create(job_of(f"runs-{number}", "alice")) for number in range(40)]
        await eventually(lambda: len(runtime.running) == 40)
        await wait_in_vain(house, *["alice", "bob"] * 20)
        before, told = store.commits, len(house.events)
        for number in range(39):  # one goes on: there are never enough slots for any that waits
            runtime.end(job=jobs[number].number)
            await house.until_task(TaskState.SUCCEEDED, job_id=f"runs-{number}")
        await give_way(100)
        assert store.commits - before == 39
        assert len(house.events) - told == 39


async def test_those_that_wait_for_a_domain_make_no_events_while_others_run() -> None:
    runtime, store = ManualRuntime(), CountingStore()
    async with opened_house(runtime, store=store, limits=SlotLimits(parties_per_domain=3)) as house:
        await house.create(job_of("hog", "bob", "bob", "bob"))
        await house.until_task(TaskState.RUNNING, job_id="hog")
        await wait_in_vain(house, "bob", "alice")
        before = store.commits
        await let_run_and_end(house, runtime, [f"runs-{number}" for number in range(20)])
        assert store.commits - before <= 20 * COMMITS_OF_A_JOB


async def test_those_that_the_runtime_refuses_make_no_events_while_others_run() -> None:
    runtime, store = PatientRuntime(), CountingStore()
    async with opened_house(runtime, store=store) as house:
        await wait_in_vain(house, "bob")
        before = store.commits
        await let_run_and_end(house, runtime, [f"runs-{number}" for number in range(20)])
        assert store.commits - before <= 20 * COMMITS_OF_A_JOB


class PatientRuntime(ManualRuntime):
    """Has no place for bob, and says so in the same words each time."""

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        if any(party.spec.tasks[0].parties[0].domain_id == "bob" for party in parties):
            raise NoCapacity("waiting for a place for bob")
        return await super().allocate(parties)


async def test_a_new_reason_is_told() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=SlotLimits(parties=3, parties_per_domain=2)) as house:
        alices = await house.create(job_of("alices", "alice", "alice"))
        await house.until_task(TaskState.RUNNING, job_id="alices")
        await house.create(job_of("waits", "alice", "bob", "carol"))
        await house.until_message("of domain alice", job_id="waits")
        await house.create(job_of("bobs", "dave"))
        await house.until_task(TaskState.RUNNING, job_id="bobs")
        runtime.end(job=alices.number, party=0)
        await house.until_message("waiting for 3 free slots (max_running_parties is 3)", job_id="waits")
        texts = [status.tasks[0].message for status in house.statuses("waits")]
        assert list(dict.fromkeys(texts)) == [
            "",
            "waiting for a free slot of domain alice (max_running_parties_per_domain is 2)",
            "waiting for 3 free slots (max_running_parties is 3)",
        ]
        assert len(texts) == 3


async def test_thousands_that_wait_are_not_looked_at_when_a_slot_is_free() -> None:
    """What is asked of the runtime tells who was looked at."""
    runtime = ManualRuntime()
    asked = runtime.ports_asked
    async with opened_house(runtime, limits=SlotLimits(parties=1)) as house:
        first = await house.create(job_of("first", "alice"))
        await house.until_task(TaskState.RUNNING, job_id="first")
        for number in range(1000):
            await house.create(job_of(f"waits-{number}", "alice"))
        await house.until_message("waiting for", job_id="waits-999")
        asked.clear()
        runtime.end(job=first.number)
        await house.until_task(TaskState.RUNNING, job_id="waits-0")
        assert len(asked) == 1
