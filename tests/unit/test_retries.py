"""When a failed task runs again by itself, what it says meanwhile, and how attempts and jobs are limited in time."""

import pytest
from msgspec.structs import replace

from kusciajob.model import planner, transitions
from kusciajob.model.job import JobSpec, Party, Retry, ScheduleConfig, ScheduleMode, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.planner import Plan, Stop
from kusciajob.model.status import Job, JobState, StageKind, TaskState
from kusciajob.model.transitions import PartyMove
from tests.support.builders import NOW, job_spec, new_job
from tests.support.steps import admit_and_place, ask, fail, move_all, start, succeed

RETRY = Retry(3, first_backoff_seconds=8.0, max_backoff_seconds=20.0, factor=2.0)


def lone(
    alias: str = "psi", *, retry: Retry | None = RETRY, tolerable: bool = False, after: tuple[str, ...] = ()
) -> Task:
    return Task(alias, "app", (Party("alice"),), retry=retry, tolerable=tolerable, dependencies=after)


def job_of(*tasks: Task, parallel: int = 1, strict: bool = False) -> Job:
    mode = ScheduleMode.STRICT if strict else ScheduleMode.BEST_EFFORT
    return new_job(job_spec(tasks=tasks or (lone(),), max_parallelism=parallel, schedule_mode=mode))


def end(job: Job, exit_code: int | None, index: int = 0, *, now: float = NOW, text: str = "") -> Job:
    """The only party of the running task fails."""
    move = PartyMove(0, PartyEvent.FAILED, text or f"exit code {exit_code}", exit_code=exit_code)
    return transitions.settle(transitions.move_parties(job, index, [move], now=now), now)


# --- retries


def test_a_failed_task_awaits_its_next_attempt_and_says_so() -> None:
    job = end(start(job_of()), 3, now=NOW + 5)
    (task,) = job.status.tasks
    assert (task.state, task.attempt, task.tries, task.retry_at) == (TaskState.PENDING, 1, 1, NOW + 13)
    assert task.message == "attempt 2 of 3 in 8 s; attempt 1: Party[alice]: exit code 3"
    assert task.progress == 0
    assert task.parties == new_job(job.spec).status.tasks[0].parties
    assert job.status.state is JobState.RUNNING
    assert planner.has_ready(job)


def test_the_next_attempt_starts_when_its_time_has_come() -> None:
    job = end(start(job_of()), 3)
    assert planner.plan(job, NOW + 7.9) == Plan(wake_at=NOW + 8)
    assert planner.plan(job, NOW + 8) == Plan(start=(0,))
    again = transitions.admit(job, 0, now=NOW + 8).status.tasks[0]
    assert (again.attempt, again.tries, again.retry_at, again.message) == (2, 2, None, "")


def test_back_offs_grow_up_to_the_longest_and_attempts_end_with_the_last() -> None:
    job, now, waits = job_of(lone(retry=replace(RETRY, max_attempts=5))), NOW, []
    while not job.status.phase.ended_at:
        job = end(start(job, now=now), 3, now=now)
        if (retry_at := job.status.tasks[0].retry_at) is not None:
            waits.append(retry_at - now)
            now = retry_at
    assert waits == [8, 16, 20, 20]
    task = job.status.tasks[0]
    assert (job.status.state, task.state, task.attempt) == (JobState.FAILED, TaskState.FAILED, 5)
    assert task.message == "Party[alice]: exit code 3"


def test_a_task_that_succeeds_at_last_is_like_any_other() -> None:
    job = succeed(end(start(job_of()), 3), now=NOW + 8)
    assert job.status.state is JobState.SUCCEEDED
    assert (job.status.tasks[0].message, job.status.tasks[0].tries) == ("", 2)


@pytest.mark.parametrize(
    ("codes", "exit_code", "again"),
    [
        ((), 3, True),
        ((), None, True),
        ((3, 137), 3, True),
        ((3, 137), 137, True),
        ((3,), 4, False),
        ((3,), None, False),
    ],
)
def test_only_the_wanted_exit_codes_are_tried_again(codes: tuple[int, ...], exit_code: int | None, again: bool) -> None:
    job = end(start(job_of(lone(retry=replace(RETRY, exit_codes=codes)))), exit_code)
    assert (job.status.tasks[0].state is TaskState.PENDING) == again


def test_the_exit_code_of_one_party_is_enough() -> None:
    task = replace(lone(retry=replace(RETRY, exit_codes=(3,))), parties=(Party("alice"), Party("bob")))
    moves = [
        PartyMove(0, PartyEvent.FAILED, "stopped because party bob failed"),
        PartyMove(1, PartyEvent.FAILED, "exit code 3", exit_code=3),
    ]
    job = transitions.settle(transitions.move_parties(start(job_of(task)), 0, moves, now=NOW), NOW)
    assert job.status.tasks[0].state is TaskState.PENDING


def test_an_attempt_that_could_not_start_is_tried_again() -> None:
    job = transitions.fail_waiting(transitions.admit(job_of(), 0, now=NOW), 0, "no such command", now=NOW)
    job = transitions.settle(job, NOW)
    assert (job.status.state, job.status.tasks[0].retry_at) == (JobState.PENDING, NOW + 8)


def test_a_tolerable_task_is_tried_again_before_it_is_tolerated() -> None:
    job = end(start(job_of(lone(tolerable=True))), 3)
    assert job.status.state is JobState.RUNNING
    for _ in range(2):
        job = end(start(job), 3)
    assert job.status.state is JobState.SUCCEEDED


def test_a_restart_counts_the_tries_anew_and_the_attempts_on() -> None:
    job = job_of()
    for _ in range(3):
        job = end(start(job), 3)
    assert job.status.state is JobState.FAILED
    again = ask(job, Operation.RESTART)
    assert (again.status.tasks[0].attempt, again.status.tasks[0].tries) == (3, 0)
    job = end(start(again), 3)
    assert (job.status.tasks[0].attempt, job.status.tasks[0].tries) == (4, 1)
    assert job.status.tasks[0].message.startswith("attempt 5 in 8 s, 2 of 3 since the restart; attempt 4: ")


def test_others_run_while_a_retry_is_awaited_and_what_depends_on_it_waits() -> None:
    job = job_of(lone("a"), lone("b"), lone("c", after=("a",)))
    job = end(start(job), 3)
    assert planner.plan(job, NOW).start == (1,)
    assert [task.message for task in job.status.tasks[1:]] == ["", 'waiting for "a"']
    assert planner.plan(succeed(job, 1), NOW) == Plan(wake_at=NOW + 8)


@pytest.mark.parametrize("operation", [Operation.STOP, Operation.CANCEL])
def test_a_command_ends_a_job_that_awaits_a_retry_at_once(operation: Operation) -> None:
    job = ask(end(start(job_of()), 3), operation, now=NOW + 1)
    task = job.status.tasks[0]
    assert (job.status.phase.ended_at, task.state, task.retry_at) == (NOW + 1, TaskState.FAILED, None)
    assert task.message == planner.ENDED_TEXT[StageKind(operation.value)]


def test_a_suspended_job_awaits_no_retry_but_its_restart() -> None:
    job = ask(end(start(job_of()), 3), Operation.SUSPEND)
    task = job.status.tasks[0]
    assert (job.status.state, task.state, task.retry_at) == (JobState.SUSPENDED, TaskState.PENDING, None)
    assert task.message == "waiting for a restart: the job is suspended"
    assert planner.plan(ask(job, Operation.RESTART), NOW).start == (0,)


@pytest.mark.parametrize(
    ("operation", "state"),
    [
        (Operation.STOP, JobState.FAILED),
        (Operation.CANCEL, JobState.CANCELLED),
        (Operation.SUSPEND, JobState.SUSPENDED),
    ],
)
def test_an_attempt_that_a_command_ended_is_not_tried_again(operation: Operation, state: JobState) -> None:
    stopped = end(ask(start(job_of()), operation), 3)
    assert (stopped.status.tasks[0].state, stopped.status.state) == (TaskState.FAILED, state)


def test_nothing_is_tried_again_once_a_strict_job_has_failed() -> None:
    job = job_of(lone("a"), lone("b", retry=None), lone("c"), parallel=3, strict=True)
    job = end(start(start(start(job), 1), 2), 3, now=NOW)  # a awaits its retry
    assert job.status.tasks[0].retry_at is not None
    job = end(job, 4, 1)
    assert job.status.tasks[0].retry_at is None
    assert job.status.tasks[0].message == 'not started again: task "b" failed (scheduleMode Strict)'
    job = end(job, None, 2, text='stopped because task "b" failed (scheduleMode Strict)')
    assert [task.state for task in job.status.tasks] == ["Pending", "Failed", "Failed"]
    assert job.status.state is JobState.FAILED


def test_a_strict_job_goes_on_while_its_task_may_be_tried_again() -> None:
    job = end(start(start(job_of(lone("a"), lone("b"), parallel=2, strict=True)), 1), 3)
    assert planner.plan(job, NOW) == Plan(wake_at=NOW + 8)
    for _ in range(2):
        job = end(start(job, now=NOW + 8), 3, now=NOW + 8)
    assert [stop.reason for stop in planner.plan(job, NOW + 9).stop] == [
        'stopped because task "a" failed (scheduleMode Strict)'
    ]


def test_of_two_that_fail_at_once_the_one_that_ends_a_strict_job_counts() -> None:
    job = start(start(job_of(lone("a"), lone("b", retry=None), parallel=2, strict=True)), 1)
    for index in (0, 1):
        job = transitions.move_parties(job, index, [PartyMove(0, PartyEvent.FAILED, "exit code 3")], now=NOW)
    job = transitions.settle(job, NOW)
    assert [task.state for task in job.status.tasks] == ["Failed", "Failed"]
    assert job.status.state is JobState.FAILED


def test_jobs_without_a_policy_fail_at_once() -> None:
    assert fail(new_job()).status.state is JobState.FAILED


# --- the time that an attempt may take


def limited(seconds: float = 60.0, *, retry: Retry | None = None) -> Job:
    task = replace(lone(retry=retry), parties=(Party("alice"), Party("bob")), run_timeout_seconds=seconds)
    return job_of(task)


def test_an_attempt_that_runs_too_long_is_stopped_and_told_why() -> None:
    job = start(limited())
    assert planner.plan(job, NOW + 59).wake_at == NOW + 60
    text = "not ended within 60 s after its start (run_timeout)"
    assert planner.plan(job, NOW + 60) == Plan(stop=(Stop(0, 0, text), Stop(0, 1, text)))
    ended = move_all(job, PartyEvent.FAILED, now=NOW + 60, message=text)
    assert ended.status.message == f"Task[psi]-Party[alice]: {text}; Task[psi]-Party[bob]: {text}"


def test_the_time_of_an_attempt_counts_from_its_own_start() -> None:
    schedule = ScheduleConfig(task_timeout_seconds=30)
    job = job_of(replace(lone(), schedule_config=schedule, run_timeout_seconds=60.0))
    starting = admit_and_place(job, now=NOW)
    assert planner.plan(starting, NOW).wake_at == NOW + 30
    running = move_all(starting, PartyEvent.STARTED, now=NOW + 20)
    assert planner.plan(running, NOW + 20) == Plan(wake_at=NOW + 80)
    again = start(end(running, None, now=NOW + 80), now=NOW + 100)
    assert planner.plan(again, NOW + 100) == Plan(wake_at=NOW + 160)


def test_a_time_out_is_tried_again_unless_the_policy_wants_exit_codes() -> None:
    for codes, state in (((), TaskState.PENDING), ((1, 137, 143), TaskState.FAILED)):
        job = start(limited(retry=replace(RETRY, exit_codes=codes)))
        for stop in planner.plan(job, NOW + 60).stop:
            job = transitions.move_parties(
                job, 0, [PartyMove(stop.party, PartyEvent.FAILED, stop.reason)], now=NOW + 60
            )
        assert transitions.settle(job, NOW + 60).status.tasks[0].state is state


# --- the time that a job may take


def deadlined(spec: JobSpec | None = None, *, awaited: tuple[str, ...] = ()) -> Job:
    spec = spec or job_spec(tasks=[lone()])
    return new_job(replace(spec, deadline_seconds=600.0), awaited=awaited)


def test_a_job_beyond_its_deadline_is_stopped_by_the_server() -> None:
    job = start(deadlined(), now=NOW + 10)
    assert planner.plan(job, NOW + 20).wake_at == NOW + 600
    assert transitions.stop_overdue(job, NOW + 599) is job
    stopped = transitions.stop_overdue(job, NOW + 600)
    assert stopped.status.stage.by == "kusciajob"
    assert stopped.status.message == ("Party: kusciajob execute the cmd: Stop. Reason: its deadline of 600 s is over")
    assert planner.plan(stopped, NOW + 600) == Plan(stop=(Stop(0, 0, "Job was stopped"),))
    ended = move_all(stopped, PartyEvent.FAILED, now=NOW + 601, message="Job was stopped")
    assert (ended.status.state, ended.status.tasks[0].retry_at) == (JobState.FAILED, None)
    assert transitions.stop_overdue(ended, NOW + 602) is ended


@pytest.mark.parametrize(
    "job",
    [
        deadlined(),
        deadlined(awaited=("bob",)),
        ask(end(start(deadlined()), 3), Operation.SUSPEND),
        end(start(deadlined()), 3),
    ],
    ids=["pending", "awaiting approval", "suspended", "awaiting a retry"],
)
def test_a_job_of_which_nothing_runs_ends_with_its_deadline(job: Job) -> None:
    ended = transitions.stop_overdue(job, NOW + 600)
    assert (ended.status.state, ended.status.phase.ended_at) == (JobState.FAILED, NOW + 600)
    assert "its deadline of 600 s is over" in ended.status.message


def test_a_restart_gives_a_job_its_whole_time_again() -> None:
    failed = transitions.stop_overdue(deadlined(), NOW + 600)
    again = ask(failed, Operation.RESTART, now=NOW + 1000)
    assert transitions.stop_overdue(again, NOW + 1599) is again
    assert transitions.stop_overdue(again, NOW + 1600) is not again


@pytest.mark.parametrize("operation", [Operation.STOP, Operation.CANCEL])
def test_a_deadline_takes_nothing_back_from_a_command(operation: Operation) -> None:
    ending = ask(start(deadlined()), operation)
    assert transitions.stop_overdue(ending, NOW + 600) is ending


# --- what is known of the parties


def test_a_party_has_the_times_and_the_exit_code_of_its_own_program() -> None:
    job = admit_and_place(job_of(lone(retry=None)))
    job = transitions.move_parties(job, 0, [PartyMove(0, PartyEvent.STARTED, at=NOW + 1)], now=NOW + 2)
    move = PartyMove(0, PartyEvent.FAILED, "exit code 3", exit_code=3, at=NOW + 4)
    (party,) = transitions.move_parties(job, 0, [move], now=NOW + 5).status.tasks[0].parties
    assert (party.started_at, party.ended_at, party.exit_code) == (NOW + 1, NOW + 4, 3)


def test_no_party_ends_before_it_began_whatever_the_clocks_say() -> None:
    job = move_all(admit_and_place(job_of(lone(retry=None))), PartyEvent.STARTED, now=NOW + 5)
    (party,) = end(job, 3, now=NOW).status.tasks[0].parties
    assert party.ended_at == party.started_at == NOW + 5
