"""Who was only stopped is told by a field, and so is when a task waited and was placed; nobody needs to read texts."""

from kusciajob.model import failures, history, transitions
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import Job
from kusciajob.model.transitions import PartyMove
from kusciajob.wire.v1.accounts import encode_account
from kusciajob.wire.v1.summaries import encode_job, timestamp
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.steps import admit_and_place, ask, fail, start

OWN = PartyMove(1, PartyEvent.FAILED, "exit code 3", "no space left", exit_code=3)
STOPPED = PartyMove(0, PartyEvent.FAILED, "stopped because party bob failed", was_stopped=True)


def failed() -> Job:
    """Bob made it fail, alice was stopped."""
    return transitions.settle(transitions.move_parties(start(new_job()), 0, [OWN, STOPPED], now=NOW + 9), NOW + 9)


def test_a_job_tells_which_parties_were_only_stopped() -> None:
    job = failed()
    (attempt,) = history.attempts(start(new_job()).status, job.status, now=NOW + 9)
    for earlier in ([], [attempt]):
        (told,) = encode_account(job, earlier).tasks[0].attempts
        assert [(party.domain_id, party.was_stopped) for party in told.parties] == [("alice", True), ("bob", False)]


def test_the_history_tells_it_too() -> None:
    before, after = start(new_job()).status, failed().status
    entries = history.entries(before, after, history.attempts(before, after, now=NOW), now=NOW)
    assert {entry.domain_id: entry.was_stopped for entry in entries if entry.domain_id} == {"alice": True, "bob": False}


def test_the_cause_of_a_failed_job_leaves_out_who_was_only_stopped() -> None:
    row = encode_job(failed().summary)
    assert row.err_msg.startswith("Task[psi]-Party[alice]: stopped because party bob failed; ")
    assert row.cause == "Task[psi]-Party[bob]: exit code 3: no space left"


def test_where_nobody_was_stopped_or_a_command_ended_the_job_the_message_says_it_all() -> None:
    assert encode_job(fail(new_job()).summary).cause == ""
    stopped = ask(new_job(), Operation.STOP)
    assert all(party.was_stopped for party in stopped.status.tasks[0].parties)
    assert failures.cause_text(stopped.status) == ""


def test_each_attempt_tells_since_when_it_was_awaited_and_when_it_was_placed() -> None:
    job = new_job(job_spec(tasks=[task()]))
    assert encode_account(job, []).tasks[0].wait_time == timestamp(NOW)
    first = transitions.place(transitions.admit(job, 0, now=NOW + 2), 0, [(), ()], now=NOW + 5)
    ended = fail_all(first, NOW + 8)
    attempts = history.attempts(first.status, ended.status, now=NOW + 8)
    again = transitions.request(ended, Operation.RESTART, by="alice", reason="", now=NOW + 100)
    assert encode_account(again, attempts).tasks[0].wait_time == timestamp(NOW + 100)
    told = encode_account(admit_and_place(again, now=NOW + 103), attempts).tasks[0]
    assert [each.wait_time for each in told.attempts] == [timestamp(NOW), timestamp(NOW + 100)]
    assert [each.place_time for each in told.attempts] == [timestamp(NOW + 5), timestamp(NOW + 103)]


def fail_all(job: Job, now: float) -> Job:
    moves = [PartyMove(party, PartyEvent.FAILED, "exit code 1") for party in (0, 1)]
    return transitions.settle(transitions.move_parties(job, 0, moves, now=now), now)
