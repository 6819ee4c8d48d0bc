"""Random jobs, driven to their end by random events: what must hold in every one of them, whatever happens."""

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from kusciajob.model import history, planner, transitions
from kusciajob.model.errors import InvalidTransition
from kusciajob.model.history import Asker, Attempt, HistoryEntry, HistoryEvent
from kusciajob.model.job import JobSpec, Party, Retry, ScheduleConfig, ScheduleMode, Task
from kusciajob.model.moves import OPERATION_TABLE, TASK_MOVES, Effect, Operation, PartyEvent, job_moves
from kusciajob.model.status import ACTIVE, Ended, Job, JobState, Started, TaskState, TaskStatus, Unstarted
from kusciajob.model.transitions import PartyMove
from tests.support.builders import NOW, job_spec, new_job
from tests.support.house import is_as_it_was

PHASES = {
    "Pending": Unstarted,
    "AwaitingApproval": Unstarted,
    "Starting": Unstarted,
    "Running": Started,
    "Suspended": Started,
    "Succeeded": Ended,
    "Failed": Ended,
    "Cancelled": Ended,
    "ApprovalReject": Ended,
}
FINAL = (JobState.SUCCEEDED, JobState.CANCELLED, JobState.APPROVAL_REJECT)
MADE: set[tuple[JobState, JobState]] = set()
"""Every change of a job's state that was seen, and the states in which it kept a task for a retry."""
TASKS_MADE: set[tuple[TaskState, TaskState]] = set()
"""Every change of a task's state that was seen."""
COMMANDS = frozenset(
    {
        HistoryEvent.STOPPED,
        HistoryEvent.SUSPENDED,
        HistoryEvent.RESTARTED,
        HistoryEvent.CANCELLED,
        HistoryEvent.ACCEPTED,
        HistoryEvent.REJECTED,
    }
)
EXIT_CODES = (1, 2, 137)
ALICE = Asker("alice", "192.0.2.1")


def random_retry(random: Random) -> Retry | None:
    if random.random() < 0.5:
        return None
    return Retry(
        max_attempts=random.randint(2, 4),
        first_backoff_seconds=random.uniform(0.1, 3.0),
        max_backoff_seconds=random.uniform(0.1, 6.0),
        factor=random.uniform(1.0, 3.0),
        exit_codes=random.choice(((), (1,), EXIT_CODES)),
    )


def random_spec(random: Random) -> JobSpec:
    count = random.randint(1, 10)
    aliases = [f"t{index}" for index in range(count)]
    dependencies = {
        alias: tuple(random.sample(aliases[:index], random.randint(0, min(index, 3))))
        for index, alias in enumerate(aliases)
    }
    tasks = [
        Task(
            alias=alias,
            app_image="app",
            parties=tuple(Party(f"domain-{number}") for number in range(random.randint(1, 3))),
            dependencies=dependencies[alias],
            priority=random.randint(-1, 1),
            schedule_config=random.choice((None, ScheduleConfig(random.randint(1, 5)))),
            tolerable=random.random() < 0.3,
            retry=random_retry(random),
            run_timeout_seconds=random.choice((None, None, random.uniform(0.5, 5.0))),
        )
        for alias in aliases
    ]
    random.shuffle(tasks)
    mode = random.choice(list(ScheduleMode))
    spec = job_spec(tasks=tasks, max_parallelism=random.randint(1, 4), schedule_mode=mode)
    return replace(spec, deadline_seconds=random.choice((None, None, random.uniform(1.0, 60.0))))


class Drive:
    """A scheduler, a runtime and some callers in one, checking the job after each of its steps."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.trouble = self.random.choice((0.0, 0.02, 0.2))
        self.now = NOW
        self.job = new_job(random_spec(self.random), awaited=self.random.choice(((), ("domain-1",))))
        self.attempts: list[Attempt] = []
        self.history: list[HistoryEntry] = []

    def run(self) -> None:
        """Until the job is finished for good. AssertionError where anything is wrong on the way."""
        for _ in range(5000):
            self.now += self.random.random()
            status = self.job.status
            if status.is_unfinished:
                self.change(self.random.choice((self.act_on_plan, self.move_a_party)))
            elif status.state in FINAL or self.random.random() < 0.1:
                return
            if self.random.random() < self.trouble or self.job.status.state is JobState.AWAITING_APPROVAL:
                self.change(self.ask_something)
            if status.is_scheduled or self.random.random() < 0.1:  # by the job's worker, else by a sweep
                self.change(self.look_at_the_clock)
        raise AssertionError(f"does not end: {self.job.status}")

    def change(self, step: Callable[[], None]) -> None:
        before = self.job
        step()
        ended = history.attempts(before.status, self.job.status, now=self.now)
        if step == self.ask_something:
            self.tell(before, ended, ALICE)
            self.check(before, self.job)  # committed as it is
            before, ended = self.job, ()
        self.job = transitions.settle(self.job, self.now)
        assert transitions.settle(self.job, self.now + 1) is self.job
        self.tell(before, ended, history.SERVER)
        self.check(before, self.job)

    def tell(self, before: Job, ended: tuple[Attempt, ...], asker: Asker) -> None:
        self.attempts += ended
        self.history += history.entries(before.status, self.job.status, ended, now=self.now, asker=asker)

    def look_at_the_clock(self) -> None:
        self.job = transitions.stop_overdue(self.job, self.now)

    def act_on_plan(self) -> None:
        plan = planner.plan(self.job, self.now)
        for stop in plan.stop:
            if self.random.random() < 0.5:
                self.move(stop.task, stop.party, PartyEvent.FAILED, stop.reason)
        for index in plan.expired:
            text = planner.expiry_text(self.job, index)
            self.job = transitions.fail_waiting(self.job, index, text, now=self.now)
        for index in plan.start:
            self.job = transitions.admit(self.job, index, now=self.now)
        for index, task in enumerate(self.job.status.tasks):
            if planner.is_unplaced(task):
                self.place(index)

    def place(self, index: int) -> None:
        match self.random.choice(("placed", "placed", "no room", "impossible")):
            case "placed":
                parties = self.job.status.tasks[index].parties
                self.job = transitions.place(self.job, index, [()] * len(parties), now=self.now)
            case "no room":
                self.job = transitions.explain(self.job, index, f"no room at {self.now}")
            case "impossible" if self.random.random() < self.trouble:
                self.job = transitions.fail_waiting(self.job, index, "no such image", now=self.now)

    def move_a_party(self) -> None:
        active = [
            (index, position)
            for index, task in enumerate(self.job.status.tasks)
            for position, party in enumerate(task.parties)
            if party.state in ACTIVE
        ]
        if active:
            index, position = self.random.choice(active)
            is_bad = self.random.random() < self.trouble
            starting = self.job.status.tasks[index].parties[position].state is TaskState.STARTING
            good = PartyEvent.STARTED if starting else PartyEvent.SUCCEEDED
            if is_bad:
                code = self.random.choice(EXIT_CODES)
                self.move(index, position, PartyEvent.FAILED, f"exit code {code}", code)
            else:
                self.move(index, position, good, "")

    def move(self, task: int, party: int, event: PartyEvent, message: str, exit_code: int | None = None) -> None:
        move = PartyMove(party, event, message, exit_code=exit_code)
        self.job = transitions.move_parties(self.job, task, [move], now=self.now)

    def ask_something(self) -> None:
        operation = self.random.choice(list(Operation))
        try:
            if operation in (Operation.ACCEPT, Operation.REJECT):
                # Rejected jobs are over at once: few are.
                accepted = operation is Operation.ACCEPT or self.random.random() < 0.8
                operation = Operation.ACCEPT if accepted else Operation.REJECT
                self.job = transitions.approve(self.job, ["domain-1"], accepted=accepted, now=self.now)
            else:
                self.job = transitions.request(self.job, operation, by="alice", reason="", now=self.now)
        except InvalidTransition:
            assert OPERATION_TABLE[operation][self.job.status.state] is not Effect.NOTHING

    def check(self, before: Job, job: Job) -> None:
        status = job.status
        if before.status.state is not status.state:
            MADE.add((before.status.state, status.state))
            assert (before.status.state, status.state) in job_moves()
        assert sum(task.state in ACTIVE for task in status.tasks) <= job.spec.max_parallelism
        for phase in (status.phase, *(task.phase for task in status.tasks)):
            assert type(phase) is PHASES[phase.state]
        if before.status.state in FINAL:
            assert job is before
        if isinstance(status.phase, Ended):
            assert not any(task.state in ACTIVE for task in status.tasks)
            assert (status.message != "") == (status.state is not JobState.SUCCEEDED)
        if status.state is JobState.SUCCEEDED:
            assert all(task.state is TaskState.SUCCEEDED or spec.tolerable for task, spec in self.pairs())
        if status.state is JobState.FAILED and status.stage.kind not in planner.ENDING_STAGES:
            assert any(task.state is not TaskState.SUCCEEDED and not spec.tolerable for task, spec in self.pairs())
            assert "Task[" in status.message
        if status.state is JobState.AWAITING_APPROVAL:
            assert planner.plan(job, self.now).start == ()
        due = planner.job_deadline(job)
        if due is not None and transitions.stop_overdue(job, self.now) is not job:
            assert due <= self.now
        self.check_tasks(before, job)
        self.check_attempts(before, job)

    def check_tasks(self, before: Job, job: Job) -> None:
        succeeded = {task.alias for task in job.status.tasks if task.state is TaskState.SUCCEEDED}
        for (task, spec), old in zip(self.pairs(), before.status.tasks, strict=True):
            if old.state is TaskState.SUCCEEDED:
                assert task == old
            if task.attempt != old.attempt:
                assert (task.attempt, old.state) == (old.attempt + 1, TaskState.PENDING)
                assert succeeded.issuperset(spec.dependencies)
            if old.state is not task.state:
                TASKS_MADE.add((old.state, task.state))
                assert (old.state, task.state) in TASK_MOVES
            if old.state is TaskState.FAILED and not is_as_it_was(old, task):
                assert task.state is TaskState.PENDING
                assert task.attempt == old.attempt
            if task.state is TaskState.FAILED:
                assert task.message
                assert all(party.message for party in task.parties if party.state is TaskState.FAILED)
            assert (task.progress == 1) == (task.state is TaskState.SUCCEEDED)

    def check_attempts(self, before: Job, job: Job) -> None:
        """Attempts are counted, and a policy is kept to."""
        is_ending = job.status.stage.kind in planner.ENDING_STAGES or planner.has_strict_failure(job)
        for index, ((task, spec), old) in enumerate(zip(self.pairs(), before.status.tasks, strict=True)):
            assert task.tries <= (spec.retry.max_attempts if spec.retry else 1)
            if task.attempt != old.attempt:
                assert task.tries == old.tries + 1
                assert old.retry_at is None or old.retry_at <= self.now
            over = [attempt.number for attempt in self.attempts if attempt.task == index]
            assert over == list(range(1, task.attempt + (task.state not in ACTIVE)))
            if task.retry_at is not None:
                assert (task.state, is_ending) == (TaskState.PENDING, False)
                assert task.message.startswith(f"attempt {task.tries + 1} of ")
                assert f"; attempt {task.tries}: " in task.message
                assert planner.has_ready(job)
            if old.state in ACTIVE and task.retry_at is not None:
                MADE.add((job.status.state, job.status.state))
                wait = spec.retry.backoff_seconds(task.tries) if spec.retry else 0.0
                assert task.retry_at == self.now + wait
            if task.state is TaskState.FAILED and not is_ending:
                assert not planner.may_retry(job, index)

    def check_history(self) -> None:
        """It tells each attempt once, and the end of the job."""
        for index, (task, _) in enumerate(self.pairs()):
            told = [entry for entry in self.history if entry.alias == task.alias]
            over = [attempt for attempt in self.attempts if attempt.task == index]
            began = [entry.attempt for entry in told if entry.event is HistoryEvent.TASK_STARTED]
            running = [task.attempt] if task.state is TaskState.RUNNING else []
            assert began == [attempt.number for attempt in over if attempt.started_at is not None] + running
            ends = (HistoryEvent.TASK_SUCCEEDED, HistoryEvent.TASK_FAILED, HistoryEvent.TASK_RETRIED)
            ended = {entry.attempt for entry in told if entry.event in ends}
            assert ended.issuperset(attempt.number for attempt in over)
        is_over = isinstance(self.job.status.phase, Ended)
        assert (self.history[-1].event is HistoryEvent.ENDED) == is_over
        for entry in self.history:
            is_command = entry.event in COMMANDS
            assert (entry.caller, entry.peer) == (("alice", "192.0.2.1") if is_command else ("", ""))

    def pairs(self) -> list[tuple[TaskStatus, Task]]:
        return list(zip(self.job.status.tasks, self.job.spec.tasks, strict=True))


@pytest.mark.parametrize("seed", range(300))
def test_a_random_job_ends_and_breaks_no_rule(seed: int) -> None:
    drive = Drive(seed)
    drive.run()
    drive.check_history()


def test_the_table_of_moves_has_no_move_that_never_happens() -> None:
    for seed in range(300, 2000):
        Drive(seed).run()
        if set(job_moves()) == MADE and set(TASK_MOVES) == TASKS_MADE:
            return
    raise AssertionError(f"never seen: {set(job_moves()) - MADE}, {set(TASK_MOVES) - TASKS_MADE}")


def test_explanations_are_those_of_a_fresh_look() -> None:
    """What is kept up to date step by step is what looking at everything gives."""
    for seed in range(100):
        drive = Drive(seed)
        drive.run()
        waiting = [
            replace(task, message="?") if task.state is TaskState.PENDING and task.retry_at is None else task
            for task in drive.job.status.tasks
        ]
        fresh = planner.explain_waiting(replace(drive.job, status=replace(drive.job.status, tasks=tuple(waiting))))
        assert fresh == drive.job.status.tasks
