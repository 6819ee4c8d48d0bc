"""The scheduler with a real store and hub: a job's life, and everything that may come in between."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from random import Random

import pytest
from msgspec import json
from msgspec.structs import replace

from kusciajob.contracts import ExitResult, JobStore, PartyKey, PartySpec, StartFailed
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.errors import JobError, UnknownAppImage
from kusciajob.model.failures import seen_by, told
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.job import JobSpec, ScheduleConfig, Task
from kusciajob.model.moves import Operation
from kusciajob.model.status import Endpoint, EventType, Job, JobState, JobStatus, TaskState
from kusciajob.runtime.simulated import AnyImage, SimulatedRuntime
from kusciajob.scheduler.loop import Scheduler
from kusciajob.scheduler.supervisor import PartyReport, PartySupervisor
from kusciajob.scheduler.worker import party_specs
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER, Caller
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true, give_way
from tests.support.runtimes import FAILURE, ManualRuntime
from tests.support.steps import admit_and_place, start
from tests.support.stores import FaultyStore, GuardedStore, JitteryStore


def scripted(alias: str = "a", *, dependencies: Sequence[str] = (), priority: int = 0, **script: object) -> Task:
    """A task for the simulated runtime."""
    config = json.encode(script).decode() if script else ""
    return replace(task(alias, input_config=config, dependencies=dependencies), priority=priority)


# --- a life without trouble


async def test_every_step_of_a_job_is_told_once(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    told = [(event.type, event.job.status.state, event.job.status.tasks[0].state) for event in house.events]
    assert told == [
        (EventType.ADDED, "Pending", "Pending"),
        (EventType.MODIFIED, "Pending", "Starting"),
        (EventType.MODIFIED, "Running", "Running"),
        (EventType.MODIFIED, "Succeeded", "Succeeded"),
    ]
    parties = house.events[-1].job.status.tasks[0].parties
    assert [party.endpoints[0].address for party in parties] == ["place:0", "place:1"]
    assert runtime.reserved == set()
    assert runtime.stops == []
    await house.until_idle()


async def test_a_program_that_ends_at_once_was_still_seen_running() -> None:
    runtime = SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None)
    async with opened_house(runtime) as house:
        await house.create(job_spec(tasks=[scripted("a"), scripted("b", exit_code=1, dependencies=["a"])]))
        status = await house.until(JobState.FAILED)
        assert [entry.state for entry in status.tasks] == ["Succeeded", "Failed"]
        assert status.tasks[1].phase.started_at is not None
        assert status.message == "Task[b]-Party[alice]: exit code 1; Task[b]-Party[bob]: exit code 1"
        await house.until_idle()


async def test_the_order_of_starts_and_max_parallelism() -> None:
    clock = ManualClock()
    runtime = SimulatedRuntime(clock=clock, on_progress=lambda *_: None)
    tasks = [
        scripted("low", priority=-1, seconds=10),
        scripted("late", priority=9, dependencies=["low"], seconds=10),
        scripted("high", priority=5, seconds=10),
        scripted("middle", seconds=10),
    ]
    async with opened_house(runtime, clock=clock) as house:
        await house.create(job_spec(tasks=tasks, max_parallelism=2))
        for index in (2, 3):
            await house.until_task(TaskState.RUNNING, index)
        clock.advance(10)
        await house.until_task(TaskState.RUNNING, 0)
        clock.advance(10)
        await house.until_task(TaskState.RUNNING, 1)
        clock.advance(10)
        await house.until(JobState.SUCCEEDED)
        for status in house.statuses():
            assert sum(entry.state in ("Starting", "Running") for entry in status.tasks) <= 2
        await house.until_idle()


async def test_progress_is_told_while_a_task_runs() -> None:
    def report(key: PartyKey, value: float) -> None:
        schedulers[0].report_progress(key, value)

    clock = ManualClock()
    schedulers: list[Scheduler] = []
    async with opened_house(SimulatedRuntime(clock=clock, on_progress=report), clock=clock) as house:
        schedulers.append(house.scheduler)
        await house.create(job_spec(tasks=[scripted(seconds=30, progress=[0.25, 0.5])]))
        await house.until_task(TaskState.RUNNING)
        for expected in (0.25, 0.5, 1.0):
            clock.advance(10)
            await eventually(lambda expected=expected: house.statuses()[-1].tasks[0].progress == expected)  # type: ignore[misc]
        assert (await house.until(JobState.SUCCEEDED)).tasks[0].progress == 1


async def test_progress_of_nothing_that_runs_is_ignored(house: House, runtime: ManualRuntime) -> None:
    job = await house.run("job-1")
    house.scheduler.report_progress(PartyKey(job.number, 0, 7, 0), 0.9)
    house.scheduler.report_progress(PartyKey(job.number + 1, 0, 1, 0), 0.9)
    house.scheduler.report_progress(PartyKey(job.number, 0, 1, 0), 0.5)
    await eventually(lambda: house.statuses()[-1].tasks[0].progress == 0.5)
    assert [status.tasks[0].progress for status in house.statuses()] == [0, 0, 0, 0.5]


async def test_a_job_that_awaits_approval_waits(house: House, runtime: ManualRuntime) -> None:
    job = await house.store.create(new_job(awaited=("bob",)))
    await house.until(JobState.AWAITING_APPROVAL)
    await house.service.approve(job.job_id, accepted=True, reason="", caller=Caller("bob"))
    await house.until(JobState.RUNNING)
    assert [status.state for status in house.statuses()][:2] == ["AwaitingApproval", "Pending"]
    assert len(runtime.starts) == 2


# --- failures


async def test_one_failed_party_stops_the_others(house: House, runtime: ManualRuntime) -> None:
    job = await house.run("job-1")
    runtime.end(FAILURE, party=1)
    status = await house.until(JobState.FAILED)
    assert runtime.stops == [PartyKey(job.number, 0, 1, 0)]
    assert [party.message for party in status.tasks[0].parties] == ["stopped because party bob failed", "exit code 1"]
    assert house.faults() == []
    await house.until_idle()


async def test_a_party_that_cannot_start_is_a_fault(house: House, runtime: ManualRuntime) -> None:
    runtime.start_errors["bob"] = StartFailed("no such command")
    await house.create("job-1")
    status = await house.until(JobState.FAILED)
    text = "Task[psi]-Party[alice]: stopped because party bob failed; Task[psi]-Party[bob]: no such command"
    assert status.message == text
    assert len(house.faults()) == 1
    assert runtime.running == {}
    assert runtime.reserved == set()
    await house.until_idle()


async def test_an_unexpected_error_of_the_runtime_fails_the_party_and_ends_its_program(
    house: House, runtime: ManualRuntime
) -> None:
    runtime.start_errors["bob"] = OSError(24, "Too many open files")
    job = await house.create("job-1")
    status = await house.until(JobState.FAILED)
    bob = status.tasks[0].parties[1]
    assert (bob.message, bob.detail) == ("the runtime failed (OSError)", "[Errno 24] Too many open files")
    assert PartyKey(job.number, 0, 1, 1) in runtime.stops
    assert len(house.faults()) == 1
    await house.until_idle()


async def test_a_failure_without_a_text_gets_one(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.end(ExitResult(succeeded=False))
    status = await house.until(JobState.FAILED)
    assert status.tasks[0].parties[0].message == "failed without a reason"


async def test_a_fault_of_the_machine_is_told_as_error(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.end(ExitResult(succeeded=False, message="lost", is_fault=True))
    await house.until(JobState.FAILED)
    await eventually(house.faults)
    assert [event.type for event in house.events[-2:]] == [EventType.MODIFIED, EventType.ERROR]


async def test_a_fault_is_told_with_its_detail_before_the_other_parties_are_gone(
    house: House, runtime: ManualRuntime
) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    runtime.end(ExitResult(succeeded=False, message="lost", detail="no disk", is_fault=True), party=0)
    await eventually(house.faults)
    status = house.events[-1].job.status
    assert status.state is JobState.RUNNING
    assert told(seen_by(status, "")).message == "Task[psi]-Party[alice]: lost: no disk"
    assert told(seen_by(status, "bob")).message == "Task[psi]-Party[alice]: lost"
    runtime.stop_gate.open()
    await house.until(JobState.FAILED)


@pytest.mark.parametrize("error", [StartFailed("no host has it"), UnknownAppImage("image is unknown")])
async def test_a_task_that_can_never_be_placed_fails(house: House, runtime: ManualRuntime, error: Exception) -> None:
    runtime.allocate_error = error
    await house.create("job-1")
    status = await house.until(JobState.FAILED)
    assert status.tasks[0].message == f"Party[alice]: {error}; Party[bob]: {error}"
    await eventually(house.faults)
    await house.until_idle()


# --- stop, suspend, restart, delete


@pytest.mark.parametrize(
    ("operation", "state", "text"),
    [
        (Operation.STOP, JobState.FAILED, "Job was stopped"),
        (Operation.CANCEL, JobState.CANCELLED, "Job was cancelled"),
        (Operation.SUSPEND, JobState.SUSPENDED, "Job was suspended"),
    ],
)
async def test_a_job_has_ended_when_its_programs_are_gone_and_not_before(
    house: House, runtime: ManualRuntime, operation: Operation, state: JobState, text: str
) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.ask(operation)
    await eventually(lambda: runtime.stop_gate.waiting == 2)
    assert house.statuses()[-1].state is JobState.RUNNING
    runtime.stop_gate.open()
    status = await house.until(state)
    assert runtime.running == {}
    assert status.message == f"Party: master execute the cmd: {operation}. Reason: why not"
    assert [party.message for party in status.tasks[0].parties] == [text, text]
    await house.until_idle()


async def test_a_program_that_has_ended_is_not_reported_before_the_stop_is_over(
    house: House, runtime: ManualRuntime
) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.ask(Operation.STOP)
    await eventually(lambda: runtime.stop_gate.waiting == 2)
    runtime.end()
    await give_way(50)
    assert house.statuses()[-1].state is JobState.RUNNING
    runtime.stop_gate.open()
    await house.until(JobState.FAILED)
    await house.until_idle()


async def test_a_job_is_stopped_while_its_parties_are_being_started(house: House, runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    await house.create("job-1")
    await eventually(lambda: runtime.start_gate.waiting == 2)
    await house.ask(Operation.STOP)
    status = await house.until(JobState.FAILED)
    assert runtime.starts == []
    assert runtime.start_gate.waiting == 0
    assert runtime.reserved == set()
    assert status.tasks[0].phase.started_at is None
    assert status.tasks[0].message == "Job was stopped"
    await house.until_idle()


async def test_a_stop_that_fails_is_tried_again(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.stop_errors = [OSError("shim is busy"), OSError("shim is busy")]
    await house.ask(Operation.STOP)
    await eventually(lambda: not runtime.stop_errors)
    await eventually(lambda: house.clock.timers == 2)
    assert house.statuses()[-1].state is JobState.RUNNING
    house.clock.advance(1)
    await house.until(JobState.FAILED)
    await house.until_idle()


async def test_a_stopped_job_can_be_cancelled_while_it_ends(house: House, runtime: ManualRuntime) -> None:
    await house.run("job-1")
    runtime.stop_gate.close()
    await house.ask(Operation.STOP)
    await house.ask(Operation.CANCEL)
    runtime.stop_gate.open()
    await house.until(JobState.CANCELLED)
    await house.until_idle()


async def test_a_suspended_job_is_restarted_under_the_same_task_ids(house: House, runtime: ManualRuntime) -> None:
    job = await house.run("job-1")
    await house.ask(Operation.SUSPEND)
    before = await house.until(JobState.SUSPENDED)
    await house.until_idle()
    await house.ask(Operation.RESTART)
    again = await house.until_task(TaskState.RUNNING)
    assert (again.attempt, again.task_id) == (2, before.tasks[0].task_id)
    assert {key.attempt for key in runtime.running} == {2}
    runtime.end(job=job.number)
    await house.until(JobState.SUCCEEDED)
    await house.until_idle()


class RestartingStore(GuardedStore):
    """Restarts a job as soon as its failure is committed; the scheduler hears of its commit some turns later."""

    def __init__(self, *, attempts: int, turns: int) -> None:
        super().__init__(MemoryStore())
        self._attempts = attempts
        self._turns = turns

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        committed = await super().replace(job, passed=passed, fault=fault, notes=notes)
        if committed.status.state is JobState.FAILED and committed.status.tasks[0].attempt < self._attempts:
            await super().replace(transitions.request(committed, Operation.RESTART, by="alice", reason="", now=NOW))
            await give_way(self._turns)
        return committed


@pytest.mark.parametrize("turns", range(8))
async def test_a_job_restarted_in_the_very_moment_of_its_end_runs_again(turns: int) -> None:
    runtime = SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None)
    async with opened_house(runtime, store=RestartingStore(attempts=5, turns=turns)) as house:
        await house.create(job_spec(tasks=[scripted(exit_code=1)]))

        def has_made_all_attempts() -> bool:
            status = house.status()
            return status is not None and (status.state, status.tasks[0].attempt) == (JobState.FAILED, 5)

        await eventually(has_made_all_attempts)
        await house.until_idle()


async def test_a_client_may_restart_as_soon_as_it_sees_the_failure() -> None:
    runtime = SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None)
    async with opened_house(runtime) as house:
        await house.create(job_spec(tasks=[scripted(exit_code=1)]))
        for attempt in range(1, 20):
            while not (status := house.status()) or (status.state, status.tasks[0].attempt) != ("Failed", attempt):
                await give_way(1)
            await house.ask(Operation.RESTART)
        await house.until(JobState.FAILED)
        await house.until_idle()


async def test_a_job_is_deleted_while_its_parties_are_being_started(house: House, runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    await house.create("job-1")
    await eventually(lambda: runtime.start_gate.waiting == 2)
    await house.delete()
    await eventually(lambda: runtime.start_gate.waiting == 0)
    await house.until_idle()
    assert runtime.reserved == set()
    assert runtime.starts == []


async def test_a_stop_after_the_end_does_nothing(runtime: ManualRuntime) -> None:
    reports: list[PartyReport] = []
    (party, _) = party_specs(admit_and_place(replace(new_job(), number=1)), 0, None)
    await runtime.allocate([party])
    supervisor = PartySupervisor(party, runtime=runtime, clock=ManualClock(), report=reports.append)
    await eventually(lambda: runtime.running)
    runtime.end()
    await eventually(lambda: len(reports) == 2)
    supervisor.stop("too late")
    await give_way(20)
    assert [report.event for report in reports] == ["started", "succeeded"]
    assert runtime.stops == []
    await supervisor.cancel()


# --- room


def one_party_job(job_id: str) -> JobSpec:
    single = task()
    return job_spec(job_id, tasks=[replace(single, parties=single.parties[:1])])


async def test_a_task_waits_for_room_and_says_so(runtime: ManualRuntime) -> None:
    runtime.capacity = 2
    async with opened_house(runtime) as house:
        first = await house.run("first")
        await house.create("second")
        await house.until_message("waiting for room: 2 of 2 places are taken", job_id="second")
        runtime.end(job=first.number)
        await house.until_task(TaskState.RUNNING, job_id="second")
        assert house.statuses("second")[-1].tasks[0].message == ""
        runtime.end()
        await house.until(JobState.SUCCEEDED, "second")
        await house.until_idle()


async def test_room_made_while_the_refusal_is_being_committed_is_not_missed(runtime: ManualRuntime) -> None:
    class HoldsSecond(GuardedStore):
        async def replace(
            self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
        ) -> Job:
            if job.job_id == "second" and not runtime.running:
                refused.set()
                await released.wait()
            return await super().replace(job, passed=passed, fault=fault, notes=notes)

    refused, released = asyncio.Event(), asyncio.Event()
    runtime.capacity = 2
    runtime.start_gate.close()
    async with opened_house(runtime, store=HoldsSecond(MemoryStore())) as house:
        await house.create("first")
        await eventually(lambda: len(runtime.reserved) == 2)
        await house.create("second")
        await refused.wait()
        await house.ask(Operation.STOP, "first")
        await house.until(JobState.FAILED, "first")
        runtime.start_gate.open()
        released.set()
        await house.until_task(TaskState.RUNNING, job_id="second")


async def test_all_who_wait_get_room_in_the_end(runtime: ManualRuntime) -> None:
    runtime.capacity = 3
    async with opened_house(runtime) as house:
        names = [f"job-{index}" for index in range(60)]
        for index, name in enumerate(names):
            await house.create(name if index % 2 else one_party_job(name))

        def is_over() -> bool:
            runtime.end()
            return all((status := house.status(name)) and status.state is JobState.SUCCEEDED for name in names)

        await eventually(is_over)
        await house.until_idle()


async def test_a_deleted_job_makes_room(runtime: ManualRuntime) -> None:
    runtime.capacity = 2
    async with opened_house(runtime) as house:
        await house.run("first")
        await house.create("second")
        await house.until_message("waiting for room", job_id="second")
        await house.delete("first")
        await house.until_task(TaskState.RUNNING, job_id="second")


# --- time-outs


def scheduled(timeout_seconds: int = 60) -> JobSpec:
    return job_spec(tasks=[replace(task(), schedule_config=ScheduleConfig(timeout_seconds))])


async def test_a_task_that_gets_no_room_in_time_fails(runtime: ManualRuntime) -> None:
    runtime.capacity = 1
    async with opened_house(runtime) as house:
        await house.create(scheduled())
        await house.until_message("waiting for room")
        house.clock.advance(59)
        await give_way(50)
        assert house.statuses()[-1].state is JobState.PENDING
        house.clock.advance(1)
        status = await house.until(JobState.FAILED)
        text = (
            "not scheduled within 60 s (schedule_config.task_timeout_seconds): not started: alice, bob: "
            "waiting for room: 0 of 1 places are taken"
        )
        assert status.message == f"Task[psi]-Party[alice]: {text}; Task[psi]-Party[bob]: {text}"
        await house.until_idle()


async def test_parties_that_do_not_start_in_time_are_stopped(house: House, runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    await house.create(scheduled())
    await eventually(lambda: runtime.start_gate.waiting == 2)
    house.clock.advance(60)
    status = await house.until(JobState.FAILED)
    text = "not scheduled within 60 s (schedule_config.task_timeout_seconds): not started: alice, bob"
    assert status.tasks[0].message == f"Party[alice]: {text}; Party[bob]: {text}"
    assert runtime.reserved == set()
    await house.until_idle()


# --- the store in trouble


async def test_a_store_that_fails_for_a_while_delays_and_is_told(runtime: ManualRuntime) -> None:
    store = FaultyStore(MemoryStore())
    async with opened_house(runtime, store=store) as house:
        await house.run("job-1")
        store.fails = {"replace"}
        runtime.end()
        await eventually(lambda: house.clock.timers)
        assert house.statuses()[-1].state is JobState.RUNNING
        house.clock.advance(1)
        await eventually(lambda: house.clock.timers)
        store.fails = set()
        house.clock.advance(1)
        await house.until(JobState.SUCCEEDED)
        assert await eventually(house.faults) == ["the store failed for a while: the test lets replace fail"]
        await house.until_idle()


async def test_what_was_reserved_is_given_back_when_the_store_fails(runtime: ManualRuntime) -> None:
    store = FaultyStore(MemoryStore())
    async with opened_house(runtime, store=store) as house:
        store.fails = {"replace"}
        await house.create("job-1")
        await eventually(lambda: house.clock.timers)
        assert runtime.reserved == set()
        store.fails = set()
        house.clock.advance(1)
        await house.until_task(TaskState.RUNNING)


async def test_a_new_job_is_taken_up_once_the_store_answers(runtime: ManualRuntime) -> None:
    store = FaultyStore(MemoryStore())
    async with opened_house(runtime, store=store) as house:
        store.fails = {"get"}
        await house.create("job-1")
        await eventually(lambda: house.clock.timers)
        store.fails = set()
        house.clock.advance(1)
        await house.until_task(TaskState.RUNNING)


class RacingStore(FaultyStore):
    """Lets somebody else do something just before the scheduler's commit number `at`; then methods may fail."""

    def __init__(self, race: Callable[[JobStore, Job], Awaitable[object]], *, at: int) -> None:
        super().__init__(MemoryStore())
        self._race = race
        self._at = at
        self.then_fails: set[str] = set()
        self.race_of_get: Callable[[JobStore, Job], Awaitable[object]] | None = None

    async def get(self, job_id: str) -> Job:
        if self._at <= 0 and self.race_of_get is not None:
            race, self.race_of_get = self.race_of_get, None
            await race(self._store, await self._store.get(job_id))
        return await super().get(job_id)

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        self._at -= 1
        if self._at == 0:
            await self._race(self._store, await self._store.get(job.job_id))
            self.fails = self.then_fails
        return await super().replace(job, passed=passed, fault=fault, notes=notes)


async def stop_job(store: JobStore, job: Job) -> None:
    await store.replace(transitions.request(job, Operation.STOP, by="bob", reason="", now=job.status.created_at))


async def create_anew(store: JobStore, job: Job) -> None:
    await store.delete(job)
    await store.create(new_job(job.job_id))


@pytest.mark.parametrize(("at", "expected"), [(1, "Failed"), (2, "Failed"), (3, "Succeeded")])
async def test_a_stop_that_comes_first_is_obeyed(runtime: ManualRuntime, at: int, expected: str) -> None:
    async with opened_house(runtime, store=RacingStore(stop_job, at=at)) as house:
        await house.create("job-1")
        if at == 3:
            await house.until_task(TaskState.RUNNING)
            runtime.end()
        status = await house.until(JobState.FAILED)
        assert status.message == "Party: bob execute the cmd: Stop. Reason: "
        assert status.tasks[0].state == expected
        assert len(runtime.starts) == (0 if at == 1 else 2)
        assert runtime.reserved == set()
        await house.until_idle()


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_another_job_that_takes_the_id_has_nothing_to_do_with_the_deleted_one(
    runtime: ManualRuntime, at: int
) -> None:
    async with opened_house(runtime, store=RacingStore(create_anew, at=at)) as house:
        old = await house.create("job-1")
        if at == 3:
            await house.until_task(TaskState.RUNNING)
            runtime.end()
        await eventually(lambda: {key.job for key in runtime.running} == {old.number + at + 1})
        await eventually(lambda: {key.job for key in runtime.reserved} == {old.number + at + 1})
        runtime.end()
        assert (await house.until(JobState.SUCCEEDED)).tasks[0].attempt == 1
        await house.until_idle()


async def test_the_id_may_be_taken_by_another_job_before_a_stale_one_is_read_again(runtime: ManualRuntime) -> None:
    store = RacingStore(stop_job, at=2)
    store.race_of_get = create_anew
    async with opened_house(runtime, store=store) as house:
        old = await house.create("job-1")
        await eventually(lambda: runtime.running and old.number not in {key.job for key in runtime.reserved})
        runtime.end()
        assert (await house.until(JobState.SUCCEEDED)).tasks[0].attempt == 1
        await house.until_idle()


async def test_a_stale_job_that_cannot_be_read_again_is_learned_from_the_log(runtime: ManualRuntime) -> None:
    store = RacingStore(stop_job, at=2)
    store.then_fails = {"get"}
    async with opened_house(runtime, store=store) as house:
        await house.create("job-1")
        await house.until(JobState.FAILED)
        assert runtime.running == {}
        await house.until_idle()


# --- the scheduler comes back


async def test_programs_go_on_without_a_scheduler_and_are_attached_to(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        job = await house.run("job-1")
        await house.crash()
    assert len(runtime.running) == 2
    assert runtime.stops == []
    async with opened_house(runtime, store=store) as house:
        await eventually(lambda: runtime.attached == [PartyKey(job.number, 0, 1, 0), PartyKey(job.number, 0, 1, 1)])
        runtime.end()
        await house.until(JobState.SUCCEEDED)
        assert len(runtime.starts) == 2
        await house.until_idle()


async def test_programs_that_ended_meanwhile_are_noticed(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        await house.run("job-1")
    runtime.end(FAILURE)
    async with opened_house(runtime, store=store) as house:
        assert "exit code 1" in (await house.until(JobState.FAILED)).message


async def test_a_start_that_was_committed_and_not_made_is_made(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    runtime.start_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.create("job-1")
        await eventually(lambda: runtime.start_gate.waiting == 2)
    assert runtime.starts == []
    runtime.start_gate.open()
    async with opened_house(runtime, store=store) as house:
        assert (await house.until_task(TaskState.RUNNING)).attempt == 1


async def test_a_task_that_waited_for_room_waits_again(runtime: ManualRuntime) -> None:
    store, clock = MemoryStore(), ManualClock()
    runtime.capacity = 1
    async with opened_house(runtime, store=store, clock=clock) as house:
        await house.create(scheduled())
        await house.until_message("waiting for room")
    clock.advance(60)
    async with opened_house(runtime, store=store, clock=clock) as house:
        assert "not scheduled within 60 s" in (await house.until(JobState.FAILED)).message


async def test_a_stop_asked_for_before_the_crash_is_carried_out(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    runtime.stop_gate.close()
    async with opened_house(runtime, store=store) as house:
        await house.run("job-1")
        await house.ask(Operation.STOP)
        await eventually(lambda: runtime.stop_gate.waiting == 2)
    runtime.stop_gate.open()
    async with opened_house(runtime, store=store) as house:
        await house.until(JobState.FAILED)
        assert runtime.running == {}


async def test_a_simulated_party_whose_start_was_cut_off_by_a_crash_fails_as_scripted() -> None:
    store = MemoryStore()
    job = await store.create(new_job(job_spec(tasks=[scripted(start_error="no such command")])))
    await store.replace(admit_and_place(job))
    async with opened_house(SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None), store=store) as house:
        assert "no such command" in (await house.until(JobState.FAILED)).message


async def test_a_simulated_task_that_ran_starts_again_after_a_crash() -> None:
    store = MemoryStore()
    job = await store.create(new_job(job_spec(tasks=[scripted()])))
    await store.replace(start(job))
    async with opened_house(SimulatedRuntime(clock=ManualClock(), on_progress=lambda *_: None), store=store) as house:
        await house.until(JobState.SUCCEEDED)


async def test_jobs_that_are_finished_get_no_worker(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        await house.run("job-1")
        runtime.end()
        await house.until(JobState.SUCCEEDED)
    async with opened_house(runtime, store=store) as house:
        await house.until_idle()
        assert runtime.attached == []


# --- the end


async def test_the_scheduler_ends_with_the_hub_and_leaves_programs_running(runtime: ManualRuntime) -> None:
    store = MemoryStore()
    hub = Hub(store)
    await hub.open()
    scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=AnyImage(), clock=ManualClock())
    await scheduler.open()
    running = asyncio.create_task(scheduler.run())
    await store.create(new_job())
    await eventually(lambda: len(runtime.running) == 2)
    await hub.close()
    await asyncio.wait_for(running, PATIENCE_SECONDS)
    assert len(runtime.running) == 2
    assert runtime.stops == []


async def test_an_unexpected_error_ends_the_scheduler(runtime: ManualRuntime) -> None:
    runtime.allocate_error = KeyError("bug")
    store = MemoryStore()
    hub = Hub(store)
    await hub.open()
    scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=AnyImage(), clock=ManualClock())
    await scheduler.open()
    await store.create(new_job())
    with pytest.raises(ExceptionGroup) as died:
        await asyncio.wait_for(scheduler.run(), PATIENCE_SECONDS)
    assert died.group_contains(KeyError)
    await hub.close()


# --- everything at once


class JitteryRuntime(ManualRuntime):
    """Takes its time, and now and then refuses, starts what it says it could not start, or cannot stop it yet."""

    def __init__(self, random: Random) -> None:
        super().__init__(capacity=9)
        self._random = random
        self.is_faulty = True

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        await give_way(self._random.randrange(3))
        if self._random.random() < 0.03:
            raise StartFailed("no host wants it")
        return await super().allocate(parties)

    async def start(self, party: PartySpec) -> None:
        await give_way(self._random.randrange(6))
        if self._random.random() < 0.05:
            raise StartFailed("no such command")
        await super().start(party)
        await give_way(self._random.randrange(3))
        if self._random.random() < 0.05:
            raise StartFailed("no answer")

    async def wait(self, key: PartyKey) -> ExitResult:
        result = await super().wait(key)
        await give_way(self._random.randrange(4))
        return result

    async def stop(self, key: PartyKey) -> None:
        await give_way(self._random.randrange(6))
        if self.is_faulty and self._random.random() < 0.1:
            raise OSError("no answer")
        await super().stop(key)

    async def remove(self, job: int) -> None:
        if self.is_faulty and self._random.random() < 0.3:
            raise OSError("the disk is busy")
        await super().remove(job)


async def act_at_random(house: House, runtime: ManualRuntime, random: Random, job_ids: Collection[str]) -> None:
    """Callers and programs, for a while."""
    for _ in range(300):
        job_id = random.choice(list(job_ids))
        try:
            match random.randrange(12):
                case 0:
                    await house.ask(random.choice(list(Operation)[:4]), job_id)
                case 1:
                    await house.ask(Operation.RESTART, job_id)
                case 2 if random.random() < 0.3:
                    await house.service.delete(job_id, MASTER)
                case 3:
                    await house.service.create(random_spec(job_id, random), MASTER)
        except JobError:
            pass
        for future in list(runtime.running.values()):
            if random.random() < 0.1 and not future.done():
                future.set_result(FAILURE if random.random() < 0.2 else ExitResult(succeeded=True))
        if random.random() < 0.1:
            house.clock.advance(1)
        await give_way(random.randrange(8))


def random_spec(job_id: str, random: Random) -> JobSpec:
    tasks = [
        replace(
            task(
                f"t{index}",
                task_id=f"{job_id}-t{index}" if random.random() < 0.7 else "",
                dependencies=[f"t{index - 1}"] if index and random.random() < 0.5 else (),
            ),
            schedule_config=random.choice((None, ScheduleConfig(5))),
        )
        for index in range(random.randint(1, 4))
    ]
    return job_spec(job_id, tasks=tasks, max_parallelism=random.randint(1, 3))


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_every_job_ends_and_nothing_is_left(seed: int) -> None:
    random = Random(seed)
    runtime, store, clock = JitteryRuntime(random), JitteryStore(MemoryStore(), random), ManualClock()
    job_ids = [f"job-{index}" for index in range(6)]
    for _ in range(3):  # a crash after each
        async with opened_house(runtime, store=store, clock=clock) as house:
            await act_at_random(house, runtime, random, job_ids)
    runtime.is_faulty = False
    async with opened_house(runtime, store=store, clock=clock) as house:

        async def is_over() -> bool:
            runtime.end()
            clock.advance(1)
            return not await store.unfinished()

        await eventually_true(is_over)
        await house.until_idle()
        assert runtime.running == {}
        assert runtime.reserved == set()
