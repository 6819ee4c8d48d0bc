"""How parties, tasks and jobs move: every pair in the tables, and the states that follow from others."""

from itertools import product

import pytest
from msgspec import json
from msgspec.structs import replace

from kusciajob.model import transitions
from kusciajob.model.errors import InvalidTransition
from kusciajob.model.job import Party, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import (
    Approval,
    Ended,
    Endpoint,
    Job,
    JobState,
    JobStatus,
    StageKind,
    Started,
    TaskState,
    Unstarted,
)
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.steps import admit_and_place, ask, fail, job_in, move_all, move_party, start, succeed

LATER = NOW + 100

# What the contract says; "=" is success without effect.
OPERATIONS = {
    # Stop, Cancel, Suspend, Restart, Accept, Reject
    "Pending": ("Failed", "Cancelled", "refused", "refused", "=", "refused"),
    "Running": ("Running", "Running", "Running", "refused", "=", "refused"),
    "Succeeded": ("=", "=", "refused", "refused", "=", "refused"),
    "Failed": ("=", "Cancelled", "refused", "Running", "=", "refused"),
    "AwaitingApproval": ("Failed", "Cancelled", "refused", "refused", "Pending", "ApprovalReject"),
    "ApprovalReject": ("=", "=", "refused", "refused", "=", "refused"),
    "Cancelled": ("=", "=", "refused", "refused", "=", "refused"),
    "Suspended": ("Failed", "Cancelled", "refused", "Running", "=", "refused"),
}
POSSIBLE = {
    Operation.SUSPEND: "Running",
    Operation.RESTART: "Failed or Suspended",
    Operation.REJECT: "AwaitingApproval",
}


@pytest.mark.parametrize("state", JobState)
def test_the_operations_that_are_told_as_possible_are_those_that_change_the_job(state: JobState) -> None:
    expected = [
        operation
        for operation, outcome in zip(Operation, OPERATIONS[state], strict=True)
        if outcome not in ("=", "refused")
    ]
    assert list(transitions.possible_operations(job_in(state).status)) == expected


@pytest.mark.parametrize(
    ("asked", "possible"),
    [
        (Operation.STOP, {Operation.CANCEL}),
        (Operation.CANCEL, set()),
        (Operation.SUSPEND, {Operation.STOP, Operation.CANCEL}),
    ],
)
def test_of_a_job_that_is_about_to_end_what_its_end_allows_is_possible_but_a_restart(
    asked: Operation, possible: set[Operation]
) -> None:
    job = ask(job_in(JobState.RUNNING), asked, now=LATER)
    assert job.status.state is JobState.RUNNING
    assert set(transitions.possible_operations(job.status)) == possible
    for operation in possible:
        assert ask(job, operation, now=LATER) is not job


@pytest.mark.parametrize(("state", "operation"), list(product(JobState, Operation)))
def test_every_operation_in_every_state(state: JobState, operation: Operation) -> None:
    job = job_in(state)
    assert job.status.state is state
    expected = OPERATIONS[state][list(Operation).index(operation)]
    if expected == "refused":
        with pytest.raises(InvalidTransition) as refused:
            ask(job, operation, now=LATER)
        text = f'job "job-1" is {state}: {operation} is possible only when it is {POSSIBLE[operation]}'
        assert str(refused.value) == text
    elif expected == "=":
        assert ask(job, operation, now=LATER) is job
    else:
        after = ask(job, operation, now=LATER)
        assert after.status.state == expected
        assert isinstance(after.status.phase, Ended) == (expected in ("Failed", "Cancelled", "ApprovalReject"))
        assert after.status.phase.ended_at in (None, LATER)
        if operation not in (Operation.ACCEPT, Operation.REJECT):
            assert after.status.stage.kind.value == operation.value
            assert after.status.message == f"Party: alice execute the cmd: {operation}. Reason: why not"


@pytest.mark.parametrize("state", list(JobState))
def test_settle_changes_nothing_twice(state: JobState) -> None:
    job = job_in(state)
    assert transitions.settle(job, LATER) is job


@pytest.mark.parametrize("state", list(JobState))
def test_a_stored_status_is_equal(state: JobState) -> None:
    status = job_in(state).status
    assert json.decode(json.encode(status), type=JobStatus) == status


PARTY_MOVES = {
    ("Pending", "placed"): "Starting",
    ("Pending", "failed"): "Failed",
    ("Starting", "started"): "Running",
    ("Starting", "failed"): "Failed",
    ("Running", "succeeded"): "Succeeded",
    ("Running", "failed"): "Failed",
}


def job_with_party_in(state: TaskState) -> Job:
    """The first party of the first task is in that state, its task unfinished."""
    job = new_job()
    match state:
        case TaskState.PENDING:
            return transitions.admit(job, 0, now=NOW)
        case TaskState.STARTING:
            return admit_and_place(job)
        case TaskState.RUNNING:
            return start(job)
        case TaskState.SUCCEEDED:
            return move_party(start(job), 0, 0, PartyEvent.SUCCEEDED, now=NOW)
        case TaskState.FAILED:
            return move_party(start(job), 0, 0, PartyEvent.FAILED, now=NOW)


@pytest.mark.parametrize(("state", "event"), list(product(TaskState, PartyEvent)))
def test_every_event_in_every_state_of_a_party(state: TaskState, event: PartyEvent) -> None:
    job = job_with_party_in(state)
    assert job.status.tasks[0].parties[0].state is state
    expected = PARTY_MOVES.get((state.value, event.value))
    if expected is None:
        with pytest.raises(InvalidTransition) as refused:
            move_party(job, 0, 0, event, now=NOW)
        assert str(refused.value) == f'party "alice" of task "psi" is {state}: it cannot be {event}'
    else:
        moved = move_party(job, 0, 0, event, now=NOW, message="text").status.tasks[0].parties
        assert (moved[0].state, moved[0].message) == (expected, "text")
        assert moved[1] == job.status.tasks[0].parties[1]


@pytest.mark.parametrize("state", [TaskState.STARTING, TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED])
def test_only_a_pending_task_is_admitted(state: TaskState) -> None:
    jobs = {
        TaskState.STARTING: admit_and_place(new_job()),
        TaskState.RUNNING: start(new_job()),
        TaskState.SUCCEEDED: succeed(new_job()),
        TaskState.FAILED: fail(new_job()),
    }
    with pytest.raises(InvalidTransition) as refused:
        transitions.admit(jobs[state], 0, now=NOW)
    assert str(refused.value) == f'task "psi" is {state}: only a Pending task can be started'


def test_only_an_admitted_task_is_placed() -> None:
    with pytest.raises(InvalidTransition, match=r'^task "psi" is Pending: only an admitted task can be placed$'):
        transitions.place(new_job(), 0, [(), ()], now=NOW)


def test_a_task_with_addresses_is_not_failed_as_waiting() -> None:
    with pytest.raises(InvalidTransition, match=r'^task "psi" is not waiting for room: '):
        transitions.fail_waiting(admit_and_place(new_job()), 0, "text", now=NOW)


# --- the life of a job


def test_a_new_job_waits() -> None:
    job = job_in(JobState.PENDING)
    status = job.status
    assert (status.phase, status.created_at, status.message) == (Unstarted(JobState.PENDING, NOW), NOW, "")
    assert status.stage.kind is StageKind.CREATE
    assert [entry.message for entry in status.tasks] == ["", 'waiting for "a"']
    assert [entry.state for entry in status.tasks] == [TaskState.PENDING] * 2


def test_placing_gives_each_party_its_own_addresses() -> None:
    endpoints = (Endpoint("http", "Cluster", "HTTP", "127.0.0.1:1"),)
    job = transitions.place(transitions.admit(new_job(), 0, now=NOW), 0, [endpoints, ()], now=NOW)
    entry = job.status.tasks[0]
    assert [party.endpoints for party in entry.parties] == [endpoints, ()]
    assert [party.state for party in entry.parties] == [TaskState.STARTING] * 2
    assert (entry.state, entry.attempt) == (TaskState.STARTING, 1)


def test_a_task_and_its_job_are_running_once_all_parties_are() -> None:
    job = admit_and_place(new_job())
    job = transitions.settle(move_party(job, 0, 1, PartyEvent.STARTED, now=NOW), NOW)
    assert (job.status.state, job.status.tasks[0].state) == (JobState.PENDING, TaskState.STARTING)
    job = transitions.settle(move_party(job, 0, 0, PartyEvent.STARTED, now=LATER), LATER)
    assert job.status.phase == Started(JobState.RUNNING, LATER)
    assert job.status.tasks[0].phase == Started(TaskState.RUNNING, LATER)
    assert job.status.stage.kind is StageKind.START


def test_a_party_may_end_before_the_others_have_started() -> None:
    job = admit_and_place(new_job())
    for event in (PartyEvent.STARTED, PartyEvent.SUCCEEDED):
        job = move_party(job, 0, 0, event, now=NOW)
    assert job.status.tasks[0].state is TaskState.STARTING
    job = move_party(job, 0, 1, PartyEvent.STARTED, now=NOW)
    assert job.status.tasks[0].state is TaskState.RUNNING


def test_a_job_succeeds_with_its_last_task() -> None:
    job = succeed(job_in(JobState.PENDING))
    assert job.status.state is JobState.RUNNING
    assert [entry.message for entry in job.status.tasks] == ["", ""]
    job = succeed(job, 1, now=LATER)
    assert (job.status.phase, job.status.message) == (Ended(JobState.SUCCEEDED, NOW, LATER), "")
    assert job.status.tasks[1].phase == Ended(TaskState.SUCCEEDED, LATER, LATER)
    assert [entry.progress for entry in job.status.tasks] == [1.0, 1.0]


def test_a_task_fails_only_when_its_other_parties_are_gone() -> None:
    job = move_party(start(new_job()), 0, 0, PartyEvent.FAILED, now=NOW, message="exit code 1")
    job = transitions.settle(job, NOW)
    assert (job.status.state, job.status.tasks[0].state) == (JobState.RUNNING, TaskState.RUNNING)
    job = move_party(job, 0, 1, PartyEvent.FAILED, now=LATER, message="stopped")
    job = transitions.settle(job, LATER)
    assert job.status.tasks[0].phase == Ended(TaskState.FAILED, NOW, LATER)
    assert job.status.tasks[0].message == "Party[alice]: exit code 1; Party[bob]: stopped"
    assert job.status.phase == Ended(JobState.FAILED, NOW, LATER)
    assert job.status.message == "Task[psi]-Party[alice]: exit code 1; Task[psi]-Party[bob]: stopped"


def test_one_failed_party_fails_the_task_though_the_other_succeeded() -> None:
    job = move_party(start(new_job()), 0, 1, PartyEvent.SUCCEEDED, now=NOW)
    job = transitions.settle(move_party(job, 0, 0, PartyEvent.FAILED, now=NOW, message="exit code 1"), NOW)
    assert job.status.tasks[0].message == "Party[alice]: exit code 1"
    assert job.status.message == "Task[psi]-Party[alice]: exit code 1"


def test_a_task_that_could_not_start_has_no_start() -> None:
    job = transitions.admit(new_job(), 0, now=NOW)
    job = transitions.settle(transitions.fail_waiting(job, 0, "no such command", now=LATER), LATER)
    assert job.status.tasks[0].phase == Ended(TaskState.FAILED, None, LATER)
    assert job.status.phase == Ended(JobState.FAILED, None, LATER)
    assert job.status.message == "Task[psi]-Party[alice]: no such command; Task[psi]-Party[bob]: no such command"


def test_best_effort_runs_what_does_not_depend_on_the_failed_task() -> None:
    tasks = [task("a"), task("b", dependencies=["a"]), task("c", dependencies=["b", "d"]), task("d")]
    job = fail(new_job(job_spec(tasks=tasks)))
    assert job.status.state is JobState.RUNNING
    job = succeed(job, 3, now=LATER)
    assert job.status.phase == Ended(JobState.FAILED, NOW, LATER)
    assert [entry.state for entry in job.status.tasks] == ["Failed", "Pending", "Pending", "Succeeded"]
    assert [entry.message for entry in job.status.tasks[1:3]] == [
        'never started: dependency "a" failed',
        'never started: dependency "b" can never run',
    ]
    assert job.status.message == "Task[a]-Party[alice]: exit code 1; Task[a]-Party[bob]: exit code 1"


def tolerable(alias: str) -> Task:
    return Task(alias=alias, app_image="app", parties=(Party("alice"),), tolerable=True)


def test_a_tolerable_task_may_fail() -> None:
    spec = job_spec(tasks=[tolerable("nice"), task("needed")])
    job = fail(new_job(spec))
    assert job.status.state is JobState.RUNNING
    assert succeed(job, 1).status.state is JobState.SUCCEEDED
    failed = fail(job, 1, message="bad")
    assert failed.status.message == "Task[needed]-Party[alice]: bad; Task[needed]-Party[bob]: bad"


def test_a_job_of_tolerable_tasks_succeeds_once_all_have_ended() -> None:
    assert fail(new_job(job_spec(tasks=[tolerable("nice")]))).status.state is JobState.SUCCEEDED


# --- progress and texts


def test_progress_only_grows_up_to_one() -> None:
    job = start(new_job())
    assert job.status.tasks[0].progress == 0
    job = transitions.report_progress(job, 0, 0.5)
    assert job.status.tasks[0].progress == 0.5
    for value in (0.5, 0.2, -1.0, float("nan")):
        assert transitions.report_progress(job, 0, value) is job
    assert transitions.report_progress(job, 0, 7.0).status.tasks[0].progress == 1.0


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.SUCCEEDED, JobState.FAILED, JobState.SUSPENDED])
def test_progress_of_a_task_that_does_not_run_is_ignored(state: JobState) -> None:
    job = job_in(state)
    assert transitions.report_progress(job, 0, 2.0) is job


def test_an_explanation_that_is_known_changes_nothing() -> None:
    job = transitions.explain(new_job(), 0, "no free port")
    assert job.status.tasks[0].message == "no free port"
    assert transitions.explain(job, 0, "no free port") is job


# --- Stop, Cancel, Suspend


STAGES = [
    (Operation.STOP, JobState.FAILED, "Job was stopped"),
    (Operation.CANCEL, JobState.CANCELLED, "Job was cancelled"),
]


@pytest.mark.parametrize(("operation", "state", "text"), STAGES)
def test_a_running_job_ends_once_its_programs_are_gone(operation: Operation, state: JobState, text: str) -> None:
    job = ask(job_in(JobState.RUNNING), operation)
    assert job.status.tasks[0].state is TaskState.RUNNING
    job = move_all(job, PartyEvent.FAILED, now=LATER, message=text)
    assert job.status.phase == Ended(state, NOW, LATER)
    assert job.status.message == f"Party: alice execute the cmd: {operation}. Reason: why not"
    assert [entry.message for entry in job.status.tasks] == [text, text]
    assert [entry.phase for entry in job.status.tasks] == [
        Ended(TaskState.FAILED, NOW, LATER),
        Ended(TaskState.FAILED, None, LATER),
    ]
    assert {party.message for entry in job.status.tasks for party in entry.parties} == {text}


@pytest.mark.parametrize(("operation", "state", "text"), STAGES)
def test_a_task_that_waits_for_room_is_ended_at_once(operation: Operation, state: JobState, text: str) -> None:
    job = ask(transitions.explain(transitions.admit(new_job(), 0, now=NOW), 0, "no free port"), operation, now=LATER)
    assert job.status.phase == Ended(state, None, LATER)
    assert job.status.tasks[0].phase == Ended(TaskState.FAILED, None, LATER)
    assert job.status.tasks[0].message == text


def test_what_had_succeeded_stays_so_when_a_job_is_stopped() -> None:
    job = ask(succeed(job_in(JobState.PENDING)), Operation.STOP, now=LATER)
    assert [entry.state for entry in job.status.tasks] == ["Succeeded", "Failed"]


def test_a_failed_job_that_is_cancelled_ends_again() -> None:
    job = ask(job_in(JobState.FAILED), Operation.CANCEL, now=LATER)
    assert job.status.phase == Ended(JobState.CANCELLED, NOW, LATER)
    assert [entry.message for entry in job.status.tasks] == [
        "Party[alice]: exit code 1; Party[bob]: exit code 1",
        "Job was cancelled",
    ]


def test_a_suspended_job_has_no_end_and_its_waiting_tasks_wait() -> None:
    job = job_in(JobState.SUSPENDED)
    assert job.status.phase == Started(JobState.SUSPENDED, NOW)
    assert [entry.state for entry in job.status.tasks] == ["Failed", "Pending"]
    assert [entry.message for entry in job.status.tasks] == ["Job was suspended", 'waiting for "a"']
    assert not job.status.is_unfinished


@pytest.mark.parametrize(
    ("operation", "text"), [(Operation.STOP, "Job was stopped"), (Operation.CANCEL, "Job was cancelled")]
)
def test_tasks_of_a_suspended_job_say_what_ended_it(operation: Operation, text: str) -> None:
    job = ask(job_in(JobState.SUSPENDED), operation)
    assert [entry.message for entry in job.status.tasks] == [text, text]
    assert {party.message for entry in job.status.tasks for party in entry.parties} == {text}


def test_a_task_that_waits_for_room_is_suspended() -> None:
    job = start(new_job(job_spec(tasks=[task("a"), task("b")], max_parallelism=2)))
    job = ask(transitions.admit(job, 1, now=NOW), Operation.SUSPEND)
    assert job.status.tasks[1].state is TaskState.FAILED
    assert move_all(job, PartyEvent.FAILED).status.state is JobState.SUSPENDED


ENDING = (Operation.STOP, Operation.CANCEL, Operation.SUSPEND)
# While the programs of the first are still being stopped: "=" the first holds, else what the job becomes.
WHILE_ENDING = {
    (Operation.STOP, Operation.STOP): "=",
    (Operation.STOP, Operation.CANCEL): "Cancelled",
    (Operation.STOP, Operation.SUSPEND): "refused",
    (Operation.CANCEL, Operation.STOP): "=",
    (Operation.CANCEL, Operation.CANCEL): "=",
    (Operation.CANCEL, Operation.SUSPEND): "refused",
    (Operation.SUSPEND, Operation.STOP): "Failed",
    (Operation.SUSPEND, Operation.CANCEL): "Cancelled",
    (Operation.SUSPEND, Operation.SUSPEND): "refused",
    **{(first, Operation.ACCEPT): "=" for first in ENDING},
}


@pytest.mark.parametrize(("first", "second"), list(product(ENDING, Operation)))
def test_an_operation_while_another_one_ends_the_job(first: Operation, second: Operation) -> None:
    job = ask(job_in(JobState.RUNNING), first)
    target = {Operation.STOP: "Failed", Operation.CANCEL: "Cancelled", Operation.SUSPEND: "Suspended"}[first]
    match WHILE_ENDING.get((first, second), "refused"):
        case "refused":
            with pytest.raises(InvalidTransition) as refused:
                ask(job, second)
            text = f'job "job-1" is about to be {target}: {second} is possible only when it is {POSSIBLE[second]}'
            assert str(refused.value) == text
        case "=":
            assert ask(job, second) is job
        case state:
            assert move_all(ask(job, second), PartyEvent.FAILED).status.state == state


# --- Restart


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.SUSPENDED])
def test_a_restart_runs_again_what_did_not_succeed(state: JobState) -> None:
    tasks = [task("a"), task("b", dependencies=["a"]), task("c", dependencies=["b"])]
    job = start(succeed(new_job(job_spec(tasks=tasks))), 1)
    if state is JobState.SUSPENDED:
        job = ask(job, Operation.SUSPEND)
    job = move_all(transitions.report_progress(job, 1, 0.5), PartyEvent.FAILED, 1, message="exit code 1")
    assert job.status.state is state
    again = ask(job, Operation.RESTART, now=LATER)
    assert again.status.phase == Started(JobState.RUNNING, NOW)
    assert [entry.state for entry in again.status.tasks] == ["Succeeded", "Pending", "Pending"]
    assert [entry.message for entry in again.status.tasks] == ["", "", 'waiting for "b"']
    assert again.status.tasks[0] == job.status.tasks[0]
    assert again.status.tasks[1] == replace(
        job.status.tasks[1],
        phase=Unstarted(TaskState.PENDING, LATER),
        message="",
        progress=0.0,
        parties=new_job().status.tasks[0].parties,
        tries=0,
    )
    assert again.status.message == "Party: alice execute the cmd: Restart. Reason: why not"
    running = start(again, 1, now=LATER)
    assert running.status.tasks[1].attempt == 2
    assert running.status.message == again.status.message
    done = succeed(move_all(running, PartyEvent.SUCCEEDED, 1), 2, now=LATER)
    assert (done.status.phase, done.status.message) == (Ended(JobState.SUCCEEDED, NOW, LATER), "")
    assert again.status.stage.kind is StageKind.RESTART
    assert running.status.stage.kind is StageKind.START
    assert done.status.stage.kind is StageKind.START


def test_a_restarted_job_that_never_ran_is_running_from_then_on() -> None:
    job = ask(ask(new_job(), Operation.STOP), Operation.RESTART, now=LATER)
    assert job.status.phase == Started(JobState.RUNNING, LATER)


@pytest.mark.parametrize(
    ("first", "state"), [(Operation.SUSPEND, JobState.SUSPENDED), (Operation.STOP, JobState.FAILED)]
)
def test_a_restart_with_nothing_left_to_do_is_running_before_it_succeeds(first: Operation, state: JobState) -> None:
    job = move_all(ask(start(new_job()), first), PartyEvent.SUCCEEDED)
    assert job.status.state is state
    again = ask(job, Operation.RESTART)
    assert again.status.state is JobState.RUNNING
    assert again.status.message == "Party: alice execute the cmd: Restart. Reason: why not"
    assert transitions.settle(again, LATER).status.state is JobState.SUCCEEDED


def test_a_restarted_job_that_fails_again_says_why() -> None:
    job = ask(fail(new_job()), Operation.RESTART)
    assert fail(job, message="exit code 2").status.message == (
        "Task[psi]-Party[alice]: exit code 2; Task[psi]-Party[bob]: exit code 2"
    )


# --- Approve


def test_a_job_that_needs_approval_waits_for_every_domain() -> None:
    job = new_job(awaited=("bob", "carol"))
    assert job.status.tasks[0].message == "waiting for approval"
    job = transitions.approve(job, ["bob"], accepted=True, now=NOW)
    assert job.status.state is JobState.AWAITING_APPROVAL
    job = transitions.approve(job, ["carol"], accepted=True, reason="fine", now=LATER)
    assert job.status.phase == Unstarted(JobState.PENDING, LATER)
    assert job.status.tasks[0].message == ""
    assert job.status.approvals == (Approval("bob", accepted=True), Approval("carol", accepted=True, reason="fine"))


def test_others_cannot_accept_for_the_awaited() -> None:
    job = transitions.approve(new_job(awaited=("bob",)), ["alice"], accepted=True, now=NOW)
    assert job.status.state is JobState.AWAITING_APPROVAL


def test_one_rejection_ends_a_job() -> None:
    job = new_job(awaited=("bob", "carol"))
    job = transitions.approve(job, ["bob"], accepted=True, now=NOW)
    job = transitions.approve(job, ["carol"], accepted=False, reason="no data", now=LATER)
    assert job.status.phase == Ended(JobState.APPROVAL_REJECT, None, LATER)
    assert job.status.message == "Party: carol rejected the job. Reason: no data"
    assert job.status.tasks[0].message == "never started: the job was rejected"


def test_a_domain_may_change_its_mind_while_others_are_awaited() -> None:
    job = transitions.approve(new_job(awaited=("bob", "carol")), ["bob"], accepted=True, now=NOW)
    job = transitions.approve(job, ["bob"], accepted=False, now=NOW)
    assert job.status.state is JobState.APPROVAL_REJECT


def test_a_restart_does_not_get_round_approval() -> None:
    job = ask(ask(new_job(awaited=("bob",)), Operation.STOP), Operation.RESTART, now=LATER)
    assert job.status.phase == Unstarted(JobState.AWAITING_APPROVAL, LATER)
    assert job.status.tasks[0].message == "waiting for approval"
    assert ask(job, Operation.ACCEPT).status.state is JobState.PENDING


def test_a_job_once_approved_is_restarted_without_asking_again() -> None:
    approved = ask(new_job(awaited=("bob",)), Operation.ACCEPT)
    assert ask(fail(approved), Operation.RESTART).status.state is JobState.RUNNING


def test_an_answer_given_again_changes_nothing() -> None:
    job = transitions.approve(new_job(awaited=("bob", "carol")), ["bob"], accepted=True, reason="fine", now=NOW)
    assert transitions.approve(job, ["bob"], accepted=True, reason="fine", now=LATER) is job


def test_a_rejection_for_nobody_in_particular_is_refused_as_well() -> None:
    with pytest.raises(InvalidTransition, match="is Pending: Reject is possible only when it is AwaitingApproval"):
        transitions.approve(new_job(), [], accepted=False, now=NOW)
