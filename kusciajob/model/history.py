"""What is kept of a job's life beside its status: its history, its earlier attempts, and who asked for what."""

from enum import StrEnum

from msgspec import Struct

from kusciajob.model.status import PartyStatus, TaskState


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


class Attempt(Struct, frozen=True, gc=False, omit_defaults=True):
    """An attempt of a task that is over. Times are seconds since the epoch."""

    task: int
    """The index of the task."""
    number: int
    state: TaskState
    began_at: float
    """When it was admitted."""
    started_at: float | None
    ended_at: float
    message: str
    parties: tuple[PartyStatus, ...]


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
