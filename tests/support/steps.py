"""The steps of a job's life, as the scheduler takes them, without a scheduler."""

from kusciajob.model import transitions
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import Job, JobState
from kusciajob.model.transitions import PartyMove
from tests.support.builders import NOW, job_spec, new_job, task


def admit_and_place(job: Job, index: int = 0, *, now: float = NOW) -> Job:
    """The task's parties are Starting."""
    job = transitions.admit(job, index, now=now)
    return transitions.place(job, index, [()] * len(job.status.tasks[index].parties), now=now)


def move_party(job: Job, task: int, party: int, event: PartyEvent, *, now: float, message: str = "") -> Job:
    """One party alone makes a move."""
    return transitions.move_parties(job, task, [PartyMove(party, event, message)], now=now)


def move_all(job: Job, event: PartyEvent, index: int = 0, *, now: float = NOW, message: str = "") -> Job:
    """All parties of a task make the same move; the job is settled."""
    for party in range(len(job.status.tasks[index].parties)):
        job = move_party(job, index, party, event, now=now, message=message)
    return transitions.settle(job, now)


def start(job: Job, index: int = 0, *, now: float = NOW) -> Job:
    """The task is Running."""
    return move_all(admit_and_place(job, index, now=now), PartyEvent.STARTED, index, now=now)


def succeed(job: Job, index: int = 0, *, now: float = NOW) -> Job:
    """The task has run and Succeeded."""
    return move_all(start(job, index, now=now), PartyEvent.SUCCEEDED, index, now=now)


def fail(job: Job, index: int = 0, *, now: float = NOW, message: str = "exit code 1") -> Job:
    """The task has run and all its parties Failed."""
    return move_all(start(job, index, now=now), PartyEvent.FAILED, index, now=now, message=message)


def ask(job: Job, operation: Operation, *, now: float = NOW) -> Job:
    """Any operation, by alice; the answers of Accept and Reject are bob's."""
    if operation in (Operation.ACCEPT, Operation.REJECT):
        return transitions.approve(job, ["bob"], accepted=operation is Operation.ACCEPT, reason="why not", now=now)
    return transitions.request(job, operation, by="alice", reason="why not", now=now)


def job_in(state: JobState) -> Job:
    """A job of two tasks, "a" before "b", in that state."""
    job = new_job(job_spec(tasks=[task("a"), task("b", dependencies=["a"])]))
    awaiting = new_job(job.spec, awaited=("bob",))
    match state:
        case JobState.PENDING:
            return job
        case JobState.RUNNING:
            return start(job)
        case JobState.SUCCEEDED:
            return succeed(succeed(job), 1)
        case JobState.FAILED:
            return fail(job)
        case JobState.AWAITING_APPROVAL:
            return awaiting
        case JobState.APPROVAL_REJECT:
            return ask(awaiting, Operation.REJECT)
        case JobState.CANCELLED:
            return ask(job, Operation.CANCEL)
        case JobState.SUSPENDED:
            return move_all(ask(start(job), Operation.SUSPEND), PartyEvent.FAILED, message="Job was suspended")
