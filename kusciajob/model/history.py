"""What is kept of a job's life beside its status: its history, its earlier attempts, and who asked for what.

History and attempts are derived from what a change has made of a job. No other code makes them up.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from kusciajob.model import planner
from kusciajob.model.status import (
    ACTIVE,
    Ended,
    JobState,
    JobStatus,
    PartyStatus,
    StageKind,
    TaskState,
    TaskStatus,
)


class HistoryEvent(StrEnum):
    """What can happen to a job, a task or a party."""

    CREATED = "created"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    RESTARTED = "restarted"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    STARTED = "started"
    ENDED = "ended"
    TASK_WAITING = "task_waiting"
    TASK_STARTED = "task_started"
    TASK_PROGRESSED = "task_progressed"
    TASK_RETRIED = "task_retried"
    TASK_SUCCEEDED = "task_succeeded"
    TASK_FAILED = "task_failed"
    PARTY_STARTED = "party_started"
    PARTY_SUCCEEDED = "party_succeeded"
    PARTY_FAILED = "party_failed"
    FAULT = "fault"


class HistoryEntry(Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that happened; `at` is in seconds since the epoch. The store gives it the revision of its commit.

    `caller` is a domain or "master", and empty where the server acted by itself. `detail` is for the master and the
    party's domain only.
    """

    event: HistoryEvent
    at: float
    revision: int = 0
    caller: str = ""
    peer: str = ""
    alias: str = ""
    attempt: int = 0
    domain_id: str = ""
    role: str = ""
    state: str = ""
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    progress: float = 0.0
    was_stopped: bool = False


class Attempt(Struct, frozen=True, gc=False, omit_defaults=True):
    """An attempt of a task that is over. Times are seconds since the epoch."""

    task: int
    """The index of the task."""
    number: int
    state: TaskState
    began_at: float
    """When it was admitted; when it was started, where that is no longer known."""
    started_at: float | None
    ended_at: float
    message: str
    parties: tuple[PartyStatus, ...]
    waited_from: float | None = None
    placed_at: float | None = None
    """See TaskStatus."""


class AuditEntry(Struct, frozen=True, gc=False):
    """A call that changed something or wanted to; `code` is Kuscia's, 0 if it was accepted.

    `subject` is the id of the job or the name of the AppImage. The store gives the entry its id.
    """

    at: float
    caller: str
    peer: str
    method: str
    subject: str
    code: int = 0
    reason: str = ""
    id: int = 0


class Notes(Struct, frozen=True, gc=False):
    """What is committed together with a change of a job."""

    history: tuple[HistoryEntry, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    audit: AuditEntry | None = None


NO_NOTES = Notes()

MAX_HISTORY_ENTRIES = 1000
"""Of one job. Beyond, the oldest progress and repeats are dropped first, then the oldest of the rest but `created`."""
MAX_ATTEMPTS_KEPT = 100
"""Of one task."""


class Asker(Struct, frozen=True, gc=False):
    """Who made a change, and from where: a domain or "master"; the server itself has no name."""

    caller: str = ""
    peer: str = ""


SERVER = Asker()


def attempts(before: JobStatus, after: JobStatus, *, now: float) -> tuple[Attempt, ...]:
    """The attempts that a change has ended. `after` is not settled yet: a retry would hide them."""
    if before.tasks is after.tasks:
        return ()
    return tuple(
        [
            _attempt(index, old, task, now)
            for index, (old, task) in enumerate(zip(before.tasks, after.tasks, strict=True))
            if old is not task and isinstance(task.phase, Ended) and _is_new_end(old, task)
        ]
    )


def _is_new_end(old: TaskStatus, task: TaskStatus) -> bool:
    return old.state in ACTIVE or old.attempt != task.attempt


def _attempt(index: int, old: TaskStatus, task: TaskStatus, now: float) -> Attempt:
    started_at, ended_at = task.phase.started_at, task.phase.ended_at or now
    admitted_at = old.since if old.attempt == task.attempt else None
    return Attempt(
        task=index,
        number=task.attempt,
        state=task.state,
        began_at=admitted_at or started_at or ended_at,
        started_at=started_at,
        ended_at=ended_at,
        message=task.message,
        parties=task.parties,
        waited_from=task.waited_from,
        placed_at=task.placed_at,
    )


def created(status: JobStatus, asker: Asker) -> tuple[HistoryEntry, ...]:
    """The first entry of a job."""
    return (HistoryEntry(HistoryEvent.CREATED, status.created_at, caller=asker.caller, peer=asker.peer),)


def entries(
    before: JobStatus,
    after: JobStatus,
    ended: Sequence[Attempt] = (),
    *,
    now: float,
    asker: Asker = SERVER,
    fault: str = "",
) -> tuple[HistoryEntry, ...]:
    """What a change of a job means, in order: a command first, then parties, tasks and the job.

    `ended` has the attempts that it ended. `fault` is the text of the ERROR event that comes with it.
    """
    found = list(_of_commands(before, after, now, asker))
    if before.tasks is not after.tasks:
        over = {attempt.task: attempt for attempt in ended}
        for index, (old, task) in enumerate(zip(before.tasks, after.tasks, strict=True)):
            if old is not task:
                found += _of_task(old, task, over.get(index), now)
    if before.state is JobState.PENDING and after.state is JobState.RUNNING:
        found.append(HistoryEntry(HistoryEvent.STARTED, after.phase.started_at or now))
    if fault:
        found.append(HistoryEntry(HistoryEvent.FAULT, now, reason=fault))
    if isinstance(after.phase, Ended) and after.phase != before.phase:
        state = after.phase.state
        found.append(HistoryEntry(HistoryEvent.ENDED, after.phase.ended_at, state=state, reason=after.message))
    return tuple(found)


_COMMANDS = {
    StageKind.STOP: HistoryEvent.STOPPED,
    StageKind.SUSPEND: HistoryEvent.SUSPENDED,
    StageKind.RESTART: HistoryEvent.RESTARTED,
    StageKind.CANCEL: HistoryEvent.CANCELLED,
}
"""The stages that are commands of a caller; the server itself gives one only, when a deadline is over."""


def _of_commands(before: JobStatus, after: JobStatus, now: float, asker: Asker) -> Iterator[HistoryEntry]:
    stage = after.stage
    if stage is not before.stage and stage.kind in _COMMANDS:
        event = _COMMANDS[stage.kind] if asker.caller else HistoryEvent.DEADLINE_EXCEEDED
        yield HistoryEntry(event, now, caller=asker.caller, peer=asker.peer, reason=stage.reason)
    if after.approvals is not before.approvals:
        for answer in after.approvals:
            if answer not in before.approvals:
                yield HistoryEntry(
                    HistoryEvent.ACCEPTED if answer.accepted else HistoryEvent.REJECTED,
                    now,
                    caller=asker.caller,
                    peer=asker.peer,
                    domain_id=answer.domain_id,
                    reason=answer.reason,
                )


def _of_task(old: TaskStatus, task: TaskStatus, over: Attempt | None, now: float) -> Iterator[HistoryEntry]:
    """`over` is the attempt that has ended; after that the task may await the next one."""
    attempt = over.number if over else task.attempt
    yield from _of_parties(old, task.alias, attempt, over.parties if over else task.parties, now)
    started_at = over.started_at if over else task.phase.started_at
    if started_at is not None and (old.phase.started_at is None or old.attempt != attempt):
        yield HistoryEntry(HistoryEvent.TASK_STARTED, started_at, alias=task.alias, attempt=attempt)
    if over is None:
        yield from _on_the_way(old, task, now)
    elif task.retry_at is not None:
        yield HistoryEntry(
            HistoryEvent.TASK_RETRIED, over.ended_at, alias=task.alias, attempt=attempt, reason=task.message
        )
    ended_at = task.phase.ended_at
    if ended_at is not None and old.phase.ended_at is None:
        succeeded = task.state is TaskState.SUCCEEDED
        yield HistoryEntry(
            HistoryEvent.TASK_SUCCEEDED if succeeded else HistoryEvent.TASK_FAILED,
            ended_at,
            alias=task.alias,
            attempt=attempt,
            reason=task.message,
        )


def _on_the_way(old: TaskStatus, task: TaskStatus, now: float) -> Iterator[HistoryEntry]:
    """A reason to wait that is more than the start taking its time, and progress."""
    if task.state is TaskState.STARTING and task.message and task.message != old.message:
        late = (party.message for party in task.parties if party.state is TaskState.STARTING)
        if planner.is_unplaced(task) or any(late):
            yield HistoryEntry(
                HistoryEvent.TASK_WAITING, now, alias=task.alias, attempt=task.attempt, reason=task.message
            )
    elif task.state is TaskState.RUNNING and task.progress != old.progress:
        yield HistoryEntry(
            HistoryEvent.TASK_PROGRESSED, now, alias=task.alias, attempt=task.attempt, progress=task.progress
        )


_PARTY_ENDS = {TaskState.SUCCEEDED: HistoryEvent.PARTY_SUCCEEDED, TaskState.FAILED: HistoryEvent.PARTY_FAILED}


def _of_parties(
    old: TaskStatus, alias: str, attempt: int, parties: Sequence[PartyStatus], now: float
) -> Iterator[HistoryEntry]:
    """Starts and ends of programs. A party that never had a program is told with its task."""
    for earlier, party in zip(old.parties, parties, strict=True):
        if party is earlier:
            continue
        if party.started_at is not None and party.started_at != earlier.started_at:
            yield HistoryEntry(
                HistoryEvent.PARTY_STARTED,
                party.started_at,
                alias=alias,
                attempt=attempt,
                domain_id=party.domain_id,
                role=party.role,
            )
        event = _PARTY_ENDS.get(party.state)
        if event is not None and party.state is not earlier.state and party.ended_at is not None:
            yield HistoryEntry(
                event,
                party.ended_at,
                alias=alias,
                attempt=attempt,
                domain_id=party.domain_id,
                role=party.role,
                reason=party.message,
                detail=party.detail,
                exit_code=party.exit_code,
                was_stopped=party.was_stopped,
            )
