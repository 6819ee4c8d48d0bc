"""What parties report is committed together where that keeps nothing back, and nothing is lost when a commit fails."""

from collections.abc import Sequence

from kusciajob.contracts import PartyKey, PartySpec
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.status import Job, JobState, JobStatus, TaskState
from kusciajob.scheduler.worker import NEWS_SECONDS, PARTNERS_SECONDS, STORE_RETRY_SECONDS
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, task
from tests.support.house import opened_house
from tests.support.polling import eventually, give_way
from tests.support.runtimes import Gate, ManualRuntime
from tests.support.stores import FaultyStore


class OneIsLate(ManualRuntime):
    """Party 1 starts when its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.late_gate = Gate()
        self.late_gate.close()

    async def start(self, party: PartySpec) -> None:
        if party.key.party == 1:
            await self.late_gate.passed()
        await super().start(party)


async def test_a_start_waits_for_its_partners_and_is_told_when_they_are_late() -> None:
    runtime = OneIsLate()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await eventually(lambda: len(runtime.running) == 1 and house.clock.timers)
        await give_way(100)
        assert [party.state for party in house.statuses()[-1].tasks[0].parties] == ["Starting", "Starting"]
        house.clock.advance(PARTNERS_SECONDS)
        await house.until_message("waiting for bob to start")
        assert [party.state for party in house.statuses()[-1].tasks[0].parties] == ["Running", "Starting"]
        runtime.late_gate.open()
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_starts_that_come_together_are_one_commit_and_no_timer_is_left() -> None:
    runtime = OneIsLate()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await eventually(lambda: len(runtime.running) == 1 and house.clock.timers)
        runtime.late_gate.open()
        await house.until_task(TaskState.RUNNING)
        states = [[party.state for party in status.tasks[0].parties] for status in house.statuses()]
        assert ["Running", "Starting"] not in states
        assert not house.clock.timers
        runtime.end()
        await house.until(JobState.SUCCEEDED)


async def test_a_start_whose_partners_are_late_is_told_of_every_task() -> None:
    runtime = OneIsLate()
    async with opened_house(runtime) as house:
        await house.create(job_spec(tasks=[task("a"), task("b", dependencies=["a"])]))
        for index in range(2):
            await eventually(lambda: len(runtime.running) == 1 and house.clock.timers)
            house.clock.advance(PARTNERS_SECONDS)
            await house.until_message("waiting for bob to start", index)
            runtime.late_gate.open()
            await house.until_task(TaskState.RUNNING, index)
            runtime.late_gate.close()
            runtime.end()
            await house.until_task(TaskState.SUCCEEDED, index)
        await house.until(JobState.SUCCEEDED)


async def test_an_end_is_told_at_once_though_its_partners_run() -> None:
    """Time stands still: nothing is held back until a timer goes off."""
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.create(job_spec(tasks=[task("a"), task("b", dependencies=["a"])]))
        await house.until_task(TaskState.RUNNING)
        runtime.end(party=0)
        await eventually(lambda: house.statuses()[-1].tasks[0].parties[0].state is TaskState.SUCCEEDED)
        runtime.end(party=1)
        await house.until_task(TaskState.RUNNING, 1)


async def test_an_end_is_told_at_once_though_its_partners_are_being_started() -> None:
    runtime = OneIsLate()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await eventually(lambda: len(runtime.running) == 1 and house.clock.timers)
        runtime.end(party=0)
        await eventually(lambda: house.statuses()[-1].tasks[0].parties[0].state is TaskState.SUCCEEDED)
        runtime.late_gate.open()
        await house.until_task(TaskState.RUNNING)


class SlowFailure(FaultyStore):
    """Holds the next commit until it is told to fail it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.is_armed = False
        self.gate = Gate()

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        if self.is_armed:
            self.is_armed = False
            self.gate.close()
            await self.gate.passed()
            self.fail_at = 1
        return await super().replace(job, passed=passed, fault=fault, notes=notes)


async def test_progress_told_while_a_commit_fails_is_newer_than_what_is_repeated() -> None:
    runtime, store = ManualRuntime(), SlowFailure()
    async with opened_house(runtime, store=store) as house:
        job = await house.create("job-1")
        await house.until_task(TaskState.RUNNING)
        store.is_armed = True
        key = PartyKey(job.number, 0, 1, 0)
        house.scheduler.report_progress(key, 0.3)
        await eventually(lambda: store.gate.waiting)
        house.scheduler.report_progress(key, 0.6)
        store.gate.open()
        await eventually(lambda: house.clock.timers == 2)  # the next progress, the next try
        house.clock.advance(max(NEWS_SECONDS, STORE_RETRY_SECONDS))
        await eventually(lambda: house.statuses()[-1].tasks[0].progress == 0.6)
        assert [status.tasks[0].progress for status in house.statuses()][-2:] == [0, 0.6]


async def test_progress_of_a_commit_that_failed_is_repeated() -> None:
    runtime, store = ManualRuntime(), SlowFailure()
    async with opened_house(runtime, store=store) as house:
        job = await house.create("job-1")
        await house.until_task(TaskState.RUNNING)
        store.is_armed = True
        house.scheduler.report_progress(PartyKey(job.number, 0, 1, 0), 0.3)
        await eventually(lambda: store.gate.waiting)
        store.gate.open()
        await eventually(lambda: house.clock.timers == 2)
        house.clock.advance(max(NEWS_SECONDS, STORE_RETRY_SECONDS))
        await eventually(lambda: house.statuses()[-1].tasks[0].progress == 0.3)


async def test_a_program_is_told_whether_its_run_is_over() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        job = await house.run("job-1")
        report = house.scheduler.report_progress
        assert report(PartyKey(job.number, 0, 1, 0), 0.3) is True
        assert report(PartyKey(job.number, 0, 0, 0), 0.3) is False
        assert report(PartyKey(job.number + 1, 0, 1, 0), 0.3) is True, "it may be known in a moment"
        runtime.end()
        await house.until(JobState.SUCCEEDED)
