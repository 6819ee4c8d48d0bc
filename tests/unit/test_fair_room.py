"""Oldest first within a priority: what is gathered for a task is not given to a later one."""

from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from kusciajob.model.job import JobSpec, Party, ScheduleConfig
from kusciajob.model.moves import Operation
from kusciajob.model.status import EventType, Job, JobState, TaskState
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.scheduler.waiting_room import LOOKS, RETRY_SECONDS
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime

FOUR = SlotLimits(parties=4)


def job_of(job_id: str, domains: Sequence[str], *, priority: int = 0, timeout_seconds: int = 0) -> JobSpec:
    """A job of one task; its parties differ at least in their roles."""
    parties = tuple(Party(domain, f"role-{index}") for index, domain in enumerate(domains))
    schedule = ScheduleConfig(timeout_seconds) if timeout_seconds else None
    one = replace(task("t"), parties=parties, priority=priority, schedule_config=schedule)
    return job_spec(job_id, tasks=[one], initiator=domains[0])


def narrow(job_id: str, *, priority: int = 0) -> JobSpec:
    return job_of(job_id, ["alice"], priority=priority)


def wide(job_id: str = "wide", *, priority: int = 0, timeout_seconds: int = 0) -> JobSpec:
    return job_of(job_id, ["alice", "bob", "carol", "dave"], priority=priority, timeout_seconds=timeout_seconds)


def running(house: House) -> list[str]:
    """The jobs that have begun to run, in the order in which they did."""
    seen: dict[str, None] = {}
    for event in house.events:
        if event.type is EventType.MODIFIED and event.job.status.tasks[0].state is TaskState.RUNNING:
            seen[event.job.job_id] = None
    return list(seen)


async def waiting(house: House, spec: JobSpec) -> Job:
    """A job that has to wait."""
    job = await house.create(spec)
    await house.until_message("waiting for", job_id=spec.job_id)
    return job


async def runs(house: House, spec: JobSpec) -> Job:
    """A job that runs."""
    job = await house.create(spec)
    await house.until_task(TaskState.RUNNING, job_id=spec.job_id)
    return job


async def test_a_wide_task_starts_when_those_have_ended_that_ran_when_it_came() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=FOUR) as house:
        early = [await runs(house, narrow(f"early-{number}")) for number in range(4)]
        await waiting(house, wide())
        late = [await waiting(house, narrow(f"late-{number}")) for number in range(20)]
        for number, job in enumerate(early):
            assert "wide" not in running(house)
            runtime.end(job=job.number)
            await house.until(JobState.SUCCEEDED, f"early-{number}")
            await waiting(house, narrow(f"later-{number}"))  # the stream goes on
        await house.until_task(TaskState.RUNNING, job_id="wide")
        assert running(house) == [*(f"early-{number}" for number in range(4)), "wide"]
        runtime.end()
        for number, job in enumerate(late):
            await house.until_task(TaskState.RUNNING, job_id=f"late-{number}")
            runtime.end(job=job.number)
        assert running(house)[5:25] == [f"late-{number}" for number in range(20)]


async def test_the_higher_priority_goes_first_and_what_is_free_is_gathered_for_it() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=FOUR) as house:
        first = await runs(house, narrow("first"))
        await runs(house, job_of("second", ["alice", "bob", "carol"]))
        await waiting(house, narrow("low"))
        await waiting(house, wide("high", priority=1))
        runtime.end(job=first.number)
        await house.until(JobState.SUCCEEDED, "first")
        runtime.end()
        await house.until_task(TaskState.RUNNING, job_id="high")
        assert running(house) == ["first", "second", "high"]
        runtime.end()
        await house.until_task(TaskState.RUNNING, job_id="low")


async def test_a_task_that_waits_no_more_gives_up_what_was_gathered_for_it() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=FOUR) as house:
        await runs(house, narrow("running"))
        for way in ("stopped", "deleted", "late"):
            await waiting(house, wide(way, timeout_seconds=60))
            await waiting(house, narrow(f"after-{way}"))
            match way:
                case "stopped":
                    await house.ask(Operation.STOP, way)
                case "deleted":
                    await house.delete(way)
                case "late":
                    house.clock.advance(60)
            await house.until_task(TaskState.RUNNING, job_id=f"after-{way}")
        runtime.end()


async def test_who_waited_longest_is_first_after_a_restart_of_the_server_too() -> None:
    runtime, clock, store = ManualRuntime(), ManualClock(), MemoryStore()
    tasks = [replace(each, parties=each.parties[:1]) for each in (task("a"), task("b", dependencies=["a"]))]
    chain = job_spec("old", tasks=tasks)
    async with opened_house(runtime, clock=clock, store=store, limits=FOUR) as house:
        old = await runs(house, chain)
        early = [await runs(house, narrow(f"early-{number}")) for number in range(3)]
        clock.advance(1)
        await waiting(house, wide())
        clock.advance(1)
        runtime.end(job=old.number)
        await house.until_message("waiting for a free slot", 1, "old")
    async with opened_house(runtime, clock=clock, store=store, limits=FOUR) as house:
        for job in early:
            runtime.end(job=job.number)
        await house.until_task(TaskState.RUNNING, job_id="wide")
        status = house.status("old")
        assert status is not None
        assert status.tasks[1].state is TaskState.STARTING


async def test_a_clock_that_is_set_back_lets_nobody_overtake() -> None:
    runtime, clock = ManualRuntime(), ManualClock()
    async with opened_house(runtime, clock=clock, limits=FOUR) as house:
        first = await runs(house, narrow("first"))
        await waiting(house, wide())
        clock.advance(-86400)
        await waiting(house, narrow("second"))
        runtime.end(job=first.number)
        await house.until_task(TaskState.RUNNING, job_id="wide")
        assert running(house) == ["first", "wide"]


# --- what must not be gathered


async def test_a_task_that_waits_for_its_domain_keeps_no_slots_of_others() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=SlotLimits(parties=4, parties_per_domain=2)) as house:
        await runs(house, job_of("hog", ["alice", "alice"]))
        await waiting(house, job_of("both", ["alice", "bob"]))
        await runs(house, job_of("carols", ["carol"]))
        bobs = await runs(house, job_of("bobs", ["bob"]))
        runtime.end(job=bobs.number)
        await house.until(JobState.SUCCEEDED, "bobs")
        await runs(house, job_of("daves", ["dave"]))


async def test_one_domain_cannot_have_all_slots() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=SlotLimits(parties=4, parties_per_domain=3)) as house:
        for number in range(3):
            await runs(house, narrow(f"alice-{number}"))
        for number in range(3, 100):
            await house.create(narrow(f"alice-{number}"))
        await house.until_message("waiting for a free slot of domain alice", job_id="alice-99")
        await runs(house, job_of("bob", ["bob"]))


async def test_a_task_of_two_busy_domains_is_not_overtaken_in_turn() -> None:
    """Each has room while the other has none: nobody starts who would take what the older task needs."""
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=SlotLimits(parties_per_domain=1)) as house:
        alice = await runs(house, job_of("alice-0", ["alice"]))
        bob = await runs(house, job_of("bob-0", ["bob"]))
        await waiting(house, job_of("both", ["alice", "bob"]))
        await waiting(house, job_of("alice-1", ["alice"]))
        await waiting(house, job_of("bob-1", ["bob"]))
        runtime.end(job=alice.number)
        await house.until(JobState.SUCCEEDED, "alice-0")
        runtime.end(job=bob.number)
        await house.until_task(TaskState.RUNNING, job_id="both")
        assert running(house) == ["alice-0", "bob-0", "both"]


async def test_ports_are_gathered_for_who_needs_them_and_the_others_go_on() -> None:
    runtime = ManualRuntime()
    runtime.ports_per_party = 2
    async with opened_house(runtime, limits=SlotLimits(ports=range(7000, 7008))) as house:
        first = await runs(house, narrow("first"))
        await waiting(house, wide())
        await waiting(house, narrow("second"))
        runtime.ports_per_party = 0
        await runs(house, narrow("portless"))
        runtime.ports_per_party = 2
        runtime.end(job=first.number)
        await house.until_task(TaskState.RUNNING, job_id="wide")
        assert running(house) == ["first", "portless", "wide"]


async def test_a_task_that_the_runtime_refuses_keeps_nothing_from_the_others() -> None:
    runtime = ManualRuntime(capacity=2)
    async with opened_house(runtime, limits=FOUR) as house:
        await waiting(house, wide())
        await runs(house, narrow("second"))
        runtime.end()
        await house.until(JobState.SUCCEEDED, "second")
        runtime.capacity = 4
        house.clock.advance(RETRY_SECONDS)
        await house.until_task(TaskState.RUNNING, job_id="wide")


async def test_those_that_the_runtime_refuses_are_asked_in_turn_not_all_at_once() -> None:
    runtime = ManualRuntime(capacity=2)
    asked = runtime.allocations_asked
    async with opened_house(runtime) as house:
        first = await runs(house, narrow("first"))
        for number in range(3 * LOOKS):
            await waiting(house, wide(f"wide-{number}"))
        asked.clear()
        runtime.end(job=first.number)
        await house.until(JobState.SUCCEEDED, "first")
        await eventually(lambda: len(asked) == LOOKS)
        for turn in range(2, 4):
            house.clock.advance(RETRY_SECONDS)
            await eventually(partial(lambda count: len(asked) == count, turn * LOOKS))
        assert len(set(asked)) == 3 * LOOKS


async def test_a_deleted_job_keeps_nobody_waiting_though_its_programs_take_long_to_end() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, limits=FOUR) as house:
        tasks = [*narrow("gone").tasks, replace(wide().tasks[0], alias="wide")]
        await house.create(job_spec("gone", tasks=tasks, max_parallelism=2))
        await house.until_task(TaskState.RUNNING, job_id="gone")
        await house.until_message("waiting for 4 free slots", index=1, job_id="gone")
        await waiting(house, narrow("next"))
        runtime.stop_gate.close()
        await house.delete("gone")
        await house.until_task(TaskState.RUNNING, job_id="next")
        await eventually(lambda: runtime.stop_gate.waiting)  # what ran of the job has not ended yet
        runtime.stop_gate.open()
        runtime.end()
        await house.until(JobState.SUCCEEDED, "next")
        await house.until_idle()
