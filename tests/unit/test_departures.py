"""What a deleted job has running ends before a task of the same id starts, and nothing that it left stays."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from kusciajob.model.damage import damaged_status
from kusciajob.model.job import ScheduleConfig
from kusciajob.model.moves import Operation
from kusciajob.model.status import JobEvent, JobState, TaskState
from kusciajob.scheduler.recovery import SEARCHED_AT_ONCE
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, new_job, task
from tests.support.house import House, opened_house
from tests.support.polling import PATIENCE_SECONDS, eventually, give_way
from tests.support.runtimes import ManualRuntime

WAITING = "waiting for the end of the deleted job job-1"


def numbers(runtime: ManualRuntime) -> set[int]:
    """The jobs of which something runs."""
    return {key.job for key in runtime.running}


async def test_a_task_waits_for_what_ran_under_its_id_in_a_deleted_job_and_says_so_once(
    house: House, runtime: ManualRuntime
) -> None:
    old = await house.run("job-1")
    runtime.stop_gate.close()
    await house.delete()
    new = await house.create("job-1")
    await house.until_message(WAITING)
    assert numbers(runtime) == {old.number}
    told = len(house.statuses())
    await house.run("another")  # nobody else waits
    assert len(house.statuses()) == told
    runtime.stop_gate.open()
    await eventually(lambda: numbers(runtime) >= {new.number})
    assert old.number not in numbers(runtime)
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()


async def test_task_ids_decide_who_waits(house: House, runtime: ManualRuntime) -> None:
    old = await house.run("job-1")
    runtime.stop_gate.close()
    await house.delete()
    new = await house.run(job_spec("job-1", tasks=[task(task_id="of-its-own")]))
    thief = await house.create(job_spec("thief", tasks=[task(task_id="job-1-psi")]))
    await house.until_message(WAITING, job_id="thief")
    assert numbers(runtime) == {old.number, new.number}
    runtime.stop_gate.open()
    await eventually(lambda: numbers(runtime) == {new.number, thief.number})
    runtime.end()
    await house.until(JobState.SUCCEEDED, "thief")
    await house.until_idle()


async def test_who_takes_over_from_a_job_that_had_ended_does_not_wait(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    runtime.remove_errors = [OSError("the disk is busy")]
    await house.delete()
    await house.run("job-1")
    assert WAITING not in [status.tasks[0].message for status in house.statuses()]
    await eventually(lambda: house.clock.timers)
    house.clock.advance(1)
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()


async def test_one_that_waits_can_be_deleted_and_created_again(house: House, runtime: ManualRuntime) -> None:
    old = await house.run("job-1")
    runtime.stop_gate.close()
    for _ in range(3):
        await house.delete()
        await house.create("job-1")
        await house.until_message(WAITING)
    assert numbers(runtime) == {old.number}
    runtime.stop_gate.open()
    await house.until_task(TaskState.RUNNING)
    assert len(numbers(runtime)) == 1
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()


async def test_one_that_waits_can_be_stopped_and_restarted(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.delete()
    await house.create("job-1")
    await house.until_message(WAITING)
    await house.ask(Operation.STOP)
    await house.until(JobState.FAILED)
    await house.ask(Operation.RESTART)
    await house.until_message(WAITING)
    runtime.stop_gate.open()
    await house.until_task(TaskState.RUNNING)
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()


async def test_one_that_waits_too_long_fails_and_says_for_whom(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.delete()
    await house.create(job_spec(tasks=[replace(task(), schedule_config=ScheduleConfig(60))]))
    await house.until_message(WAITING)
    house.clock.advance(60)
    status = await house.until(JobState.FAILED)
    assert f"not started: alice, bob: {WAITING}" in status.message
    runtime.stop_gate.open()
    await house.until_idle()


async def test_what_cannot_be_ended_or_removed_is_tried_again_until_it_is_gone(
    house: House, runtime: ManualRuntime
) -> None:
    await house.run("job-1")
    runtime.stop_errors = [OSError("the shim is busy")] * 2
    runtime.remove_errors = [OSError("the disk is busy")] * 2
    await house.delete()
    new = await house.create("job-1")
    await house.until_message(WAITING)
    for seconds in (1, 2):
        await eventually(lambda: house.clock.timers == 1)
        assert new.number not in numbers(runtime)
        house.clock.advance(seconds)
    await house.until_task(TaskState.RUNNING)  # files that stay are in nobody's way
    for seconds in (1, 2):
        await eventually(lambda: house.clock.timers == 1)
        house.clock.advance(seconds)
    await eventually(lambda: not runtime.remove_errors)
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()
    assert await runtime.owned() == {new.number}


async def test_after_a_crash_the_log_tells_who_waits_for_what_a_deleted_job_left(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        old = await house.run("job-1")
        await house.crash()
        await house.delete()
        new = await house.create("job-1")
    runtime.stop_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.until_message(WAITING)
        other = await house.run("another")
        assert numbers(runtime) == {old.number, other.number}
        runtime.stop_gate.open()
        await house.until_task(TaskState.RUNNING)
        assert numbers(runtime) == {new.number, other.number}
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_after_a_crash_everybody_waits_where_the_log_has_forgotten_the_deleted_job(
    runtime: ManualRuntime,
) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        old = await house.run("job-1")
        await house.crash()
        await house.delete()
        await house.create("another")
    await store.truncate_log(await store.head())
    runtime.stop_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.until_message(f"waiting for the end of the deleted job number {old.number}", job_id="another")
        runtime.stop_gate.open()
        await house.until_task(TaskState.RUNNING, job_id="another")
        assert old.number not in numbers(runtime)
        runtime.end()
        await house.until(JobState.SUCCEEDED, "another")
        await house.until_idle()


@pytest.mark.parametrize("is_in_newest_page", [True, False])
async def test_after_a_crash_a_deleted_job_is_known_by_its_deletion_alone(
    runtime: ManualRuntime, is_in_newest_page: bool
) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        old = await house.run("job-1")
        await house.crash()
        await house.delete()
        deletion = await store.head()
        await house.create("job-1")
    # Of this one nothing is left, so its deletion ends no search.
    await store.delete(await store.create(new_job("other", awaited=("bob",))))
    newest = deletion - is_in_newest_page + SEARCHED_AT_ONCE
    for number in range(newest - await store.head()):
        await store.create(new_job(f"idle-{number}", awaited=("bob",)))
    # What the log tells of the job before a page of the newest events is forgotten.
    await store.truncate_log(deletion - 1 if is_in_newest_page else 0)
    runtime.stop_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.until_message(WAITING)
        other = await house.run("another")
        assert numbers(runtime) == {old.number, other.number}
        runtime.stop_gate.open()
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED)


class _BigEvents(MemoryStore):
    """Its events are so big that each read gives one."""

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        return await super().read_log(after, min(limit, 1))


async def test_after_a_crash_a_deletion_among_big_events_is_found(runtime: ManualRuntime) -> None:
    store = _BigEvents()
    async with opened_house(runtime, store=store) as house:
        await house.run("job-1")
        await house.crash()
        await house.delete()
    runtime.stop_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.run("another")  # waits for nobody: the deleted job has no task of its name
        runtime.stop_gate.open()


async def test_everybody_waits_where_the_deleted_job_was_damaged(house: House, runtime: ManualRuntime) -> None:
    old = await house.run("job-1")
    runtime.stop_gate.close()
    await house.store.delete(replace((await house.store.get("job-1")).summary, status=damaged_status("a test")))
    await house.create("another")
    await house.until_message(WAITING, job_id="another")
    assert numbers(runtime) == {old.number}
    runtime.stop_gate.open()
    await house.until_task(TaskState.RUNNING, job_id="another")
    runtime.end()
    await house.until(JobState.SUCCEEDED, "another")
    await house.until_idle()


async def test_what_is_left_of_deleted_jobs_is_removed_after_a_crash_while_others_go_on(
    runtime: ManualRuntime,
) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        stray = await house.run("stray")
        kept = await house.run("kept")
    await store.delete(await store.get("stray"))
    runtime.stop_errors = [OSError("the shim is busy")]
    async with opened_house(runtime, store=store) as house:
        await eventually(lambda: house.clock.timers)
        assert numbers(runtime) == {stray.number, kept.number}
        house.clock.advance(1)
        await eventually(lambda: numbers(runtime) == {kept.number})
        runtime.end()
        await house.until(JobState.SUCCEEDED, "kept")
        await house.until_idle()


async def test_recovery_tries_again_and_starts_nothing_before_it_has_succeeded(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        kept = await house.run("kept")
    runtime.attach_errors = [OSError("no shim")] * 3
    async with opened_house(runtime, store=store) as house:
        await house.create("job-1")
        for seconds in (1, 2, 5):
            await eventually(lambda: house.clock.timers == 1)
            await give_way(20)
            assert numbers(runtime) == {kept.number}
            assert not house.scheduler.recovered.is_set()
            house.clock.advance(seconds)
        await asyncio.wait_for(house.scheduler.recovered.wait(), PATIENCE_SECONDS)
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED, "kept")
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_what_waits_for_the_end_of_a_deleted_job_keeps_no_slots_after_a_restart_of_the_server(
    runtime: ManualRuntime,
) -> None:
    store, limits = MemoryStore(), SlotLimits(parties=2)
    async with opened_house(runtime, store=store, limits=limits) as house:
        await house.run("job-1")
        runtime.stop_gate.close()
        await house.delete()
        await house.create("job-1")
        await house.until_message(WAITING)
    async with opened_house(runtime, store=store, limits=limits) as house:
        other = await house.run("other")
        runtime.stop_gate.open()
        runtime.end(job=other.number)
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_a_job_that_is_deleted_while_it_waits_for_the_end_of_another_leaves_nothing(
    house: House, runtime: ManualRuntime
) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.delete()
    await house.create("job-1")
    await house.until_message(WAITING)
    await house.delete()
    runtime.stop_gate.open()
    await eventually(lambda: not runtime.running)
    await house.until_idle()
