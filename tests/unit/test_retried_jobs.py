"""Retries, time-outs and deadlines as the scheduler carries them out, and what is kept of them."""

from msgspec.structs import replace

from kusciajob.contracts import ExitResult, PartyKey, PartySpec
from kusciajob.model.history import HistoryEntry
from kusciajob.model.job import Retry
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import Job, JobState, JobSummary, TaskState
from kusciajob.scheduler.worker import STORE_RETRY_SECONDS
from kusciajob.store.memory import MemoryStore
from kusciajob.telemetry import request
from kusciajob.telemetry.story import Story
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.retention import Retention
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime
from tests.support.steps import move_all, start
from tests.support.stores import FaultyStore

RETRY = Retry(3, first_backoff_seconds=8.0)
FAILURE = ExitResult(succeeded=False, message="exit code 3", detail="no such table", exit_code=3)
SPEC = job_spec(tasks=[replace(task(), retry=RETRY)])


async def attempts(house: House) -> list[tuple[int, str, list[int | None]]]:
    kept = await house.store.attempts(1)
    return [(each.number, each.state.value, [party.exit_code for party in each.parties]) for each in kept]


async def history(house: House) -> list[HistoryEntry]:
    return [entry for _, entry in await house.store.history(1, after=0, limit=1000)]


async def events(house: House) -> list[str]:
    return [entry.event.value for entry in await history(house)]


async def fail_first_attempt(house: House, runtime: ManualRuntime) -> None:
    await house.run(SPEC)
    runtime.end(FAILURE)
    await house.until_message("attempt 2 of 3 in 8 s; attempt 1: Party[alice]: exit code 3; Party[bob]: exit code 3")


async def test_a_failed_task_runs_again_after_its_back_off_and_each_attempt_is_kept() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await fail_first_attempt(house, runtime)
        assert not runtime.running
        house.clock.advance(7.9)
        assert not runtime.running
        house.clock.advance(0.1)
        await eventually(lambda: [str(key) for key in sorted(runtime.running)] == ["1/0.2/0", "1/0.2/1"])
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()
        assert await attempts(house) == [(1, "Failed", [3, 3]), (2, "Succeeded", [None, None])]
        states = [status.tasks[0].state.value for status in house.statuses()]
        assert "Failed" not in states
        first = (await house.store.attempts(1))[0]
        assert (first.started_at, first.ended_at, first.parties[0].detail) == (NOW, NOW, "no such table")
        assert await events(house) == [
            "party_started",
            "party_started",
            "task_started",
            "started",
            "party_failed",
            "party_failed",
            "task_retried",
            "party_started",
            "party_started",
            "task_started",
            "party_succeeded",
            "party_succeeded",
            "task_succeeded",
            "ended",
        ]


async def test_a_back_off_survives_the_scheduler_and_its_attempt_is_counted_once() -> None:
    runtime, store, clock = ManualRuntime(), MemoryStore(), ManualClock()
    async with opened_house(runtime, store=store, clock=clock) as house:
        await fail_first_attempt(house, runtime)
        await house.crash()
    clock.advance(5)
    async with opened_house(runtime, store=store, clock=clock) as house:
        await house.until_message("attempt 2 of 3 in 8 s")
        clock.advance(2.9)
        assert not runtime.running
        clock.advance(0.1)
        await house.until_task(TaskState.RUNNING)
        assert house.statuses()[-1].tasks[0].attempt == 2
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        assert [number for number, _, _ in await attempts(house)] == [1, 2]


async def test_an_attempt_whose_end_could_not_be_stored_is_counted_once() -> None:
    runtime, store = ManualRuntime(), FaultyStore(MemoryStore())
    async with opened_house(runtime, store=store) as house:
        await house.run(SPEC)
        store.fails = {"replace"}
        runtime.end(FAILURE)
        await eventually(lambda: house.clock.timers)
        store.fails = set()
        house.clock.advance(STORE_RETRY_SECONDS)
        await house.until_message("attempt 2 of 3")
        assert house.statuses()[-1].tasks[0].tries == 1
        assert len(await attempts(house)) == 1
        assert (await events(house)).count("task_retried") == 1


async def test_an_attempt_that_runs_too_long_is_ended_and_has_no_exit_code() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        limited = replace(task(), run_timeout_seconds=60.0, retry=replace(RETRY, max_attempts=2))
        await house.run(job_spec(tasks=[limited]))
        house.clock.advance(60)
        await house.until_message("attempt 2 of 2 in 8 s; attempt 1: Party[alice]: not ended within 60 s")
        house.clock.advance(8)
        await eventually(lambda: len(runtime.running) == 2)
        await house.until_task(TaskState.RUNNING)
        house.clock.advance(60)
        status = await house.until(JobState.FAILED)
        assert "not ended within 60 s after its start (run_timeout)" in status.message
        assert await attempts(house) == [(1, "Failed", [None, None]), (2, "Failed", [None, None])]


async def test_a_job_beyond_its_deadline_is_stopped_and_its_history_says_so() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.run(replace(SPEC, deadline_seconds=100.0))
        house.clock.advance(100)
        status = await house.until(JobState.FAILED)
        assert status.stage.by == "kusciajob"
        await house.until_idle()
        (told,) = [entry for entry in await history(house) if entry.event == "deadline_exceeded"]
        assert (told.caller, told.reason) == ("", "its deadline of 100 s is over")


async def test_a_deadline_is_kept_while_a_retry_is_awaited() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.run(replace(SPEC, deadline_seconds=5.0))
        runtime.end(FAILURE)
        await house.until_message("attempt 2 of 3")
        house.clock.advance(5)
        await house.until(JobState.FAILED)
        await house.until_idle()


async def test_a_job_on_which_nobody_works_ends_with_its_deadline_and_goes_with_its_time_to_live() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.run(replace(SPEC, deadline_seconds=100.0, ttl_seconds=50.0))
        await house.ask(Operation.SUSPEND)
        await house.until(JobState.SUSPENDED)
        sweeps = Retention(store=house.store, clock=house.clock, job_days=0, log_events=0, log_hours=0)
        house.clock.advance(99)
        await sweeps.round()
        assert (await house.store.get("job-1")).status.state is JobState.SUSPENDED
        house.clock.advance(1)
        await sweeps.round()
        assert "its deadline of 100 s is over" in (await house.until(JobState.FAILED)).message
        assert (await events(house))[-2:] == ["deadline_exceeded", "ended"]
        house.clock.advance(49)
        await sweeps.round()
        assert await house.store.size() == 1
        house.clock.advance(1)
        await sweeps.round()
        assert await house.store.size() == 0


async def test_progress_told_before_a_task_runs_counts_once_it_does() -> None:
    runtime = ManualRuntime()
    runtime.start_gate.close()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await eventually(lambda: runtime.start_gate.waiting)
        (key,) = [each for each in runtime.reserved if each.party == 0]
        for value in (0.2, 0.6, 0.4):
            assert house.scheduler.report_progress(key, value)
            house.clock.advance(1)
        runtime.start_gate.open()
        await house.until_task(TaskState.RUNNING)
        await eventually(lambda: house.statuses()[-1].tasks[0].progress == 0.6)
        runtime.end()
        await house.until(JobState.SUCCEEDED)


async def test_commands_leave_who_and_why_also_where_they_change_nothing() -> None:
    runtime, alice = ManualRuntime(), Caller("alice")
    async with opened_house(runtime) as house:
        request.begin(peer="192.0.2.7:4711")
        await house.service.create(SPEC, alice)
        await house.service.create(SPEC, MASTER, method="SubmitJob")
        await house.until_task(TaskState.RUNNING)
        await house.service.command(Operation.STOP, "job-1", "wrong table", alice)
        await house.until(JobState.FAILED)
        await house.service.command(Operation.STOP, "job-1", "again", alice)
        told = await history(house)
        assert [(entry.caller, entry.peer, entry.reason) for entry in told if entry.caller] == [
            ("alice", "192.0.2.7:4711", ""),
            ("alice", "192.0.2.7:4711", "wrong table"),
        ]
        await house.service.delete("job-1", MASTER)
        audit = [(each.caller, each.method, each.code, each.reason) for each in await house.store.audit(limit=10)]
        assert audit == [
            ("master", "DeleteJob", 0, ""),
            ("alice", "StopJob", 0, "again"),
            ("alice", "StopJob", 0, "wrong table"),
            ("master", "SubmitJob", 0, ""),
            ("alice", "CreateJob", 0, ""),
        ]


async def test_a_fault_of_an_attempt_that_is_tried_again_is_still_told() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.run(SPEC)
        runtime.end(ExitResult(succeeded=False, message="lost", is_fault=True))
        await house.until_message("attempt 2 of 3")
        await eventually(house.faults)
        (told,) = [entry for entry in await history(house) if entry.event == "fault"]
        assert told.reason == "Task[psi]-Party[alice]: lost; Party[bob]: lost"


class RecordingSpans:
    """Keeps what is told of tasks."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str, float]] = []

    def traceparent(self, party: PartyKey, job: Job) -> str:
        return ""

    def party_ended(self, party: PartySpec, result: ExitResult, *, began_at: float, ended_at: float) -> None:
        pass

    def task_ended(self, job: Job, index: int, *, began_at: float) -> None:
        task = job.status.tasks[index]
        self.tasks.append((task.state.value, task.attempt, task.message, (task.phase.ended_at or 0.0) - began_at))

    def job_ended(self, job: Job, *, ended_at: float) -> None:
        pass

    def deleted(self, job: Job | JobSummary, *, now: float) -> None:
        pass


def test_each_attempt_has_a_span_of_its_own() -> None:
    spans = RecordingSpans()
    job = start(new_job(SPEC))
    again = move_all(job, PartyEvent.FAILED, now=NOW + 5, message="exit code 3")
    Story(spans).changed(job.status, again)
    assert spans.tasks == [("Failed", 1, again.status.tasks[0].message, 5.0)]
