"""What a task has done in one turn is one commit; watchers, history and log tell each part of it, in order."""

import logging
from collections.abc import Sequence

import pytest

from kusciajob.model.history import NO_NOTES, HistoryEvent, Notes
from kusciajob.model.status import EventType, Job, JobEvent, JobState, JobStatus, TaskState
from kusciajob.runtime.simulated import SimulatedRuntime
from kusciajob.scheduler.worker import STORE_RETRY_SECONDS
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.polling import eventually
from tests.support.stores import FaultyStore

PENDING, STARTING, RUNNING, SUCCEEDED, FAILED = TaskState
SPEC = job_spec(tasks=[task("a"), task("b", dependencies=["a"])])
TOLD = [
    [PENDING, PENDING],
    [STARTING, PENDING],
    [RUNNING, PENDING],
    [SUCCEEDED, STARTING],
    [SUCCEEDED, RUNNING],
    [SUCCEEDED, SUCCEEDED],
]
"""The states of both tasks, whose programs end as soon as they have started."""
COMMITS = 3
"""The first task is placed; it has run and the second one is placed; that has run."""


class CountingStore(FaultyStore):
    """Counts the changes that are committed."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.commits = 0

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        committed = await super().replace(job, passed=passed, fault=fault, notes=notes)
        self.commits += 1
        return committed


def instant(clock: ManualClock) -> SimulatedRuntime:
    return SimulatedRuntime(clock=clock, on_progress=lambda *_: None)


async def log(house: House) -> Sequence[JobEvent]:
    """All events, as every watcher is told of them that was there from the start."""
    return await house.store.read_log(0, 100)


async def states(house: House) -> list[list[TaskState]]:
    changes = [event.job.status for event in await log(house) if event.type is not EventType.ERROR]
    return [[task.state for task in status.tasks] for status in changes]


async def test_a_start_and_an_end_of_one_turn_are_one_commit_and_an_event_each() -> None:
    store, clock = CountingStore(), ManualClock()
    async with opened_house(instant(clock), store=store, clock=clock) as house:
        await house.create(SPEC)
        await house.until(JobState.SUCCEEDED)
        assert await states(house) == TOLD
        assert [event.revision for event in await log(house)] == [1, 2, 3, 4, 5, 6]
        assert store.commits == COMMITS
        await house.until_idle()


async def test_history_and_log_tell_all_that_a_commit_has_brought(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = CountingStore(), ManualClock()
    async with opened_house(instant(clock), store=store, clock=clock) as house:
        with caplog.at_level(logging.INFO, "kusciajob.telemetry.story"):
            job = await house.create(job_spec(tasks=[task("a")]))
            await house.until(JobState.SUCCEEDED)
        told = [entry.event for _, entry in await store.history(job.number, after=0, limit=100)]
        started = [HistoryEvent.PARTY_STARTED, HistoryEvent.PARTY_STARTED, HistoryEvent.TASK_STARTED]
        ended = [HistoryEvent.PARTY_SUCCEEDED, HistoryEvent.PARTY_SUCCEEDED, HistoryEvent.TASK_SUCCEEDED]
        assert told == [*started, HistoryEvent.STARTED, *ended, HistoryEvent.ENDED]
        assert [attempt.number for attempt in await store.attempts(job.number)] == [1]
        lines = [line for line in caplog.messages if not line.startswith("party")]
        assert lines == ["job started", "task ended", "job ended"]


@pytest.mark.parametrize("commit", range(1, COMMITS + 1))
async def test_what_a_failed_commit_would_have_told_is_told_by_the_next_one(commit: int) -> None:
    store, clock = CountingStore(), ManualClock()
    async with opened_house(instant(clock), store=store, clock=clock) as house:
        fails = commit

        async def admit(method: str) -> None:
            nonlocal fails
            fails -= method == "replace"
            store.fails = {"replace"} if method == "replace" and not fails else set()
            await FaultyStore._admit(store, method)

        store._admit = admit  # type: ignore[method-assign]
        await house.create(SPEC)
        await eventually(lambda: fails <= 0 and clock.timers)
        clock.advance(STORE_RETRY_SECONDS)
        await house.until(JobState.SUCCEEDED)
        assert await states(house) == TOLD
        await house.until_idle()


async def test_a_fault_is_told_before_what_follows_the_task_that_it_was_found_with() -> None:
    """Task a starts and ends in one turn, in which task c cannot be started."""
    clock = ManualClock()
    spec = job_spec(tasks=[task("a"), task("c", input_config='{"start_error": "no disk"}')], max_parallelism=2)
    async with opened_house(instant(clock), clock=clock) as house:
        await house.create(spec)
        await house.until(JobState.FAILED)
        events = await log(house)
        (error,) = [event for event in events if event.type is EventType.ERROR]
        assert "no disk" in error.job.status.message
        change = events[error.revision - 2]
        assert [task.state for task in change.job.status.tasks] == [RUNNING, FAILED]
        assert change.job.status.tasks == error.job.status.tasks
        assert (await states(house))[-1] == [SUCCEEDED, FAILED]
