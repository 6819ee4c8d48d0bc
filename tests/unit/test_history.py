"""What a change of a job tells of it, in order, with who asked for it and why."""

from typing import Any

from msgspec.structs import replace

from kusciajob.model import history, transitions
from kusciajob.model.history import Asker, HistoryEntry, HistoryEvent
from kusciajob.model.job import Retry
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import Endpoint, Job, JobState
from kusciajob.model.transitions import PartyMove
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.steps import admit_and_place, ask, fail, job_in, move_all, move_party, start

LATER = NOW + 100
ALICE = Asker("alice", "192.0.2.7:4711")


def told(before: Job, after: Job, *, asker: Asker = history.SERVER, fault: str = "") -> list[HistoryEntry]:
    """Of a change without a retry."""
    ended = history.attempts(before.status, after.status, now=LATER)
    return list(history.entries(before.status, after.status, ended, now=LATER, asker=asker, fault=fault))


def events(entries: list[HistoryEntry]) -> list[str]:
    return [entry.event.value for entry in entries]


def test_a_job_begins_with_its_creation_and_who_asked_for_it() -> None:
    (entry,) = history.created(new_job().status, ALICE)
    assert entry == HistoryEntry(HistoryEvent.CREATED, NOW, caller="alice", peer="192.0.2.7:4711")


def test_a_change_that_means_nothing_tells_nothing() -> None:
    job = new_job()
    assert told(job, job) == []
    assert told(job, transitions.admit(job, 0, now=NOW)) == []
    assert told(job, admit_and_place(job)) == []  # that its parties take their time is no news


def test_parties_come_before_their_task_and_this_before_the_job() -> None:
    job = admit_and_place(new_job())
    running = move_all(job, PartyEvent.STARTED, now=LATER)
    entries = told(job, running)
    assert events(entries) == ["party_started", "party_started", "task_started", "started"]
    assert [(entry.domain_id, entry.role, entry.alias, entry.attempt) for entry in entries] == [
        ("alice", "client", "psi", 1),
        ("bob", "server", "psi", 1),
        ("", "", "psi", 1),
        ("", "", "", 0),
    ]
    done = move_all(running, PartyEvent.SUCCEEDED, now=LATER)
    assert events(told(running, done)) == ["party_succeeded", "party_succeeded", "task_succeeded", "ended"]


def test_a_failed_party_is_told_with_its_exit_code_and_details() -> None:
    job = start(new_job())
    move = PartyMove(1, PartyEvent.FAILED, "exit code 3", "no such table", exit_code=3, at=NOW + 7)
    (entry,) = told(job, transitions.move_parties(job, 0, [move], now=LATER))
    assert entry == HistoryEntry(
        HistoryEvent.PARTY_FAILED,
        NOW + 7,
        alias="psi",
        attempt=1,
        domain_id="bob",
        role="server",
        reason="exit code 3",
        detail="no such table",
        exit_code=3,
    )


def test_a_party_that_starts_and_ends_in_one_change_is_told_twice() -> None:
    job = admit_and_place(new_job())
    moved = move_party(job, 0, 0, PartyEvent.STARTED, now=NOW)
    moved = move_party(moved, 0, 0, PartyEvent.FAILED, now=LATER, message="exit code 3")
    assert events(told(job, moved)) == ["party_started", "party_failed"]


def test_a_task_that_got_no_program_is_told_without_its_parties() -> None:
    admitted = transitions.admit(new_job(), 0, now=NOW)
    failed = transitions.settle(transitions.fail_waiting(admitted, 0, "no such command", now=LATER), LATER)
    entries = told(admitted, failed)
    assert events(entries) == ["task_failed", "ended"]
    assert [entry.reason for entry in entries] == [
        "Party[alice]: no such command; Party[bob]: no such command",
        "Task[psi]-Party[alice]: no such command; Task[psi]-Party[bob]: no such command",
    ]
    assert entries[1].state == "Failed"
    (attempt,) = history.attempts(new_job().status, failed.status, now=LATER)  # admitted in the same change
    assert (attempt.number, attempt.started_at, attempt.ended_at) == (1, None, LATER)


def test_why_a_task_waits_is_told_once_for_each_reason() -> None:
    admitted = transitions.admit(new_job(), 0, now=NOW)
    waiting = transitions.explain(admitted, 0, "waiting for 2 slots")
    assert [(entry.event, entry.reason) for entry in told(admitted, waiting)] == [
        (HistoryEvent.TASK_WAITING, "waiting for 2 slots")
    ]
    assert told(waiting, transitions.explain(waiting, 0, "waiting for 2 slots")) == []
    placed = transitions.place(waiting, 0, [(Endpoint("http", "Cluster", "HTTP", "a:1"),), ()], now=NOW)
    assert told(waiting, placed) == []
    pulled = transitions.explain_start(placed, 0, 1, "pulling the image")
    assert [entry.reason for entry in told(placed, pulled)] == ["waiting for alice, bob (pulling the image) to start"]


def test_progress_is_told() -> None:
    job = start(new_job())
    (entry,) = told(job, transitions.report_progress(job, 0, 0.25))
    assert (entry.event, entry.alias, entry.progress) == (HistoryEvent.TASK_PROGRESSED, "psi", 0.25)


def test_an_attempt_that_is_tried_again_is_told_as_such() -> None:
    job = start(new_job(job_spec(tasks=[replace(task(), retry=Retry(2))])))
    ended = job
    for party in (0, 1):
        ended = move_party(ended, 0, party, PartyEvent.FAILED, now=LATER, message="exit code 3")
    attempts = history.attempts(job.status, ended.status, now=LATER)
    again = transitions.settle(ended, LATER)
    entries = history.entries(job.status, again.status, attempts, now=LATER)
    assert events(list(entries)) == ["party_failed", "party_failed", "task_retried"]
    assert entries[2].reason == again.status.tasks[0].message
    assert [(each.task, each.number, each.state, each.parties) for each in attempts] == [
        (0, 1, "Failed", ended.status.tasks[0].parties)
    ]


def test_commands_carry_who_gave_them_from_where_and_why() -> None:
    expected: dict[Operation, tuple[JobState, list[str]]] = {
        Operation.STOP: (JobState.PENDING, ["stopped", "task_failed", "task_failed", "ended"]),
        Operation.CANCEL: (JobState.FAILED, ["cancelled", "task_failed", "ended"]),
        Operation.SUSPEND: (JobState.RUNNING, ["suspended"]),
        Operation.RESTART: (JobState.SUSPENDED, ["restarted"]),
        Operation.ACCEPT: (JobState.AWAITING_APPROVAL, ["accepted"]),
        Operation.REJECT: (JobState.AWAITING_APPROVAL, ["rejected", "ended"]),
    }
    for operation, (state, wanted) in expected.items():
        job = job_in(state)
        entries = told(job, ask(job, operation, now=LATER), asker=ALICE)
        assert events(entries) == wanted
        first: dict[str, Any] = {name: getattr(entries[0], name) for name in ("caller", "peer", "reason", "at")}
        assert first == {"caller": "alice", "peer": "192.0.2.7:4711", "reason": "why not", "at": LATER}
        assert not any(entry.caller for entry in entries[1:])


def test_the_end_of_a_stopped_attempt_is_not_told_as_another_command() -> None:
    stopped = ask(start(new_job()), Operation.STOP)
    ended = move_all(stopped, PartyEvent.FAILED, now=LATER, message="Job was stopped")
    assert events(told(stopped, ended)) == ["party_failed", "party_failed", "task_failed", "ended"]


def test_a_deadline_is_told_as_the_server_s_own() -> None:
    job = new_job(replace(job_spec(), deadline_seconds=100.0))
    entry = told(job, transitions.stop_overdue(job, LATER))[0]
    assert (entry.event, entry.caller, entry.reason) == (
        HistoryEvent.DEADLINE_EXCEEDED,
        "",
        "its deadline of 100 s is over",
    )


def test_a_fault_is_told() -> None:
    job = new_job()
    (entry,) = told(job, job, fault="the store failed for a while")
    assert (entry.event, entry.reason) == (HistoryEvent.FAULT, "the store failed for a while")


def test_a_restart_of_a_failed_job_begins_new_attempts() -> None:
    failed = fail(new_job())
    again = ask(failed, Operation.RESTART, now=LATER)
    assert events(told(failed, again, asker=ALICE)) == ["restarted"]
    running = start(again, now=LATER)
    assert [(entry.event.value, entry.attempt) for entry in told(again, running)] == [
        ("party_started", 2),
        ("party_started", 2),
        ("task_started", 2),
    ]
