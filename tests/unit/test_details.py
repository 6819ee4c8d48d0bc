"""A party's details are told to the master and the party's own domain, in every text that is made of them."""

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.events.ring import SharedEvent
from kusciajob.model import failures, transitions
from kusciajob.model.job import Party, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus
from kusciajob.model.transitions import PartyMove
from kusciajob.wire.job_status import encode_event, encode_status
from tests.support import steps
from tests.support.builders import NOW, job_spec, new_job

PARTIES = (Party("alice", "client"), Party("bob", "left"), Party("bob", "right"))


def failed_job() -> Job:
    """One of alice's and both of bob's parties failed; each has written something."""
    job = steps.start(new_job(job_spec(tasks=[Task("psi", "app", PARTIES)])))
    moves = [PartyMove(index, PartyEvent.FAILED, "exit code 1", f"secret-{index}") for index in range(3)]
    return transitions.settle(transitions.move_parties(job, 0, moves, now=NOW), NOW)


def read(status: JobStatus) -> pb.JobStatusDetail:
    return pb.JobStatusDetail.FromString(encode_status(status))


def test_the_master_is_told_all_and_a_domain_its_own() -> None:
    status = failed_job().status
    told = {domain: read(failures.seen_by(status, domain)) for domain in ("", "alice", "bob", "carol")}
    for domain, own in {"": {0, 1, 2}, "alice": {0}, "bob": {1, 2}, "carol": set()}.items():
        detail = told[domain]
        texts = [f"exit code 1: secret-{index}" if index in own else "exit code 1" for index in range(3)]
        assert [party.err_msg for party in detail.tasks[0].parties] == texts
        assert detail.tasks[0].err_msg == (
            f"Party[alice]: {texts[0]}; Party[bob/left]: {texts[1]}; Party[bob/right]: {texts[2]}"
        )
        assert detail.err_msg == (
            f"Task[psi]-Party[alice]: {texts[0]}; Task[psi]-Party[bob/left]: {texts[1]}; "
            f"Task[psi]-Party[bob/right]: {texts[2]}"
        )


def test_a_text_that_is_not_made_of_the_parties_stays() -> None:
    stopped = transitions.request(steps.start(new_job()), Operation.STOP, by="alice", reason="enough", now=NOW)
    moves = [PartyMove(index, PartyEvent.FAILED, "Job was stopped", "secret") for index in range(2)]
    job = transitions.settle(transitions.move_parties(stopped, 0, moves, now=NOW), NOW)
    detail = read(job.status)
    assert detail.err_msg == "Party: alice execute the cmd: Stop. Reason: enough"
    assert detail.tasks[0].err_msg == "Job was stopped"
    assert [party.err_msg for party in detail.tasks[0].parties] == ["Job was stopped: secret"] * 2


def test_an_event_without_details_is_encoded_once_for_all_domains() -> None:
    shared = SharedEvent(JobEvent(1, EventType.ADDED, new_job().summary))
    assert shared.seen_by("alice") is shared
    with_details = SharedEvent(JobEvent(1, EventType.MODIFIED, failed_job().summary))
    assert with_details.seen_by("alice") is with_details.seen_by("alice")
    assert b"secret-1" not in with_details.seen_by("alice").encoded(encode_event)
    assert b"secret-1" in with_details.seen_by("bob").encoded(encode_event)
    assert b"secret-1" in with_details.encoded(encode_event)


def test_a_restarted_task_has_no_details_any_more() -> None:
    job = transitions.request(failed_job(), Operation.RESTART, by="alice", reason="", now=NOW)
    assert not job.status.has_details


def test_tolerated_failures_are_not_the_jobs_and_what_never_started_is() -> None:
    first = Task("first", "app", (Party("alice"),), tolerable=True)
    needs_it = Task("second", "app", (Party("alice"),), dependencies=("first",))
    job = steps.fail(new_job(job_spec(tasks=[first, needs_it])))
    assert (job.status.state, job.status.tasks[1].state) == ("Failed", "Pending")
    assert job.status.message == 'Task[second]: never started: dependency "first" failed'
    tolerates = Task("second", "app", (Party("alice"),), dependencies=("first",), tolerable=True)
    assert steps.fail(new_job(job_spec(tasks=[first, tolerates]))).status.state == "Succeeded"
