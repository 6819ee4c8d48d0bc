"""A job as the server sees it: states with their times, and the events that watchers get.

All times are seconds since the epoch (UTC).
"""

from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import force_setattr

from kusciajob.model.job import NO_TRAITS, JobSpec, Traits
from kusciajob.model.text import cut

MAX_REASON_CHARACTERS = 4096


class JobState(StrEnum):
    """Kuscia's job states, as they appear on the wire."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVAL_REJECT = "ApprovalReject"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"


class TaskState(StrEnum):
    """States of a task or party. Starting (being scheduled) is shown as Pending on the wire."""

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ACTIVE = frozenset({TaskState.STARTING, TaskState.RUNNING})
UNFINISHED = frozenset({JobState.AWAITING_APPROVAL, JobState.PENDING, JobState.RUNNING})
SCHEDULED = frozenset({JobState.PENDING, JobState.RUNNING})


State = TypeVar("State", JobState, TaskState)

_UNSTARTED = frozenset({JobState.PENDING, JobState.AWAITING_APPROVAL, TaskState.PENDING, TaskState.STARTING})
_STARTED = frozenset({JobState.RUNNING, JobState.SUSPENDED, TaskState.RUNNING})
_ENDED = frozenset(
    {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.APPROVAL_REJECT}
    | {TaskState.SUCCEEDED, TaskState.FAILED}
)


class Unstarted(Struct, Generic[State], frozen=True, gc=False, tag=True):
    """Not started yet; `since` is when this state began."""

    state: State
    since: float

    started_at = None
    ended_at = None

    def __post_init__(self) -> None:
        _check_state(self, _UNSTARTED)


class Started(Struct, Generic[State], frozen=True, gc=False, tag=True):
    """Started and not ended."""

    state: State
    started_at: float

    ended_at = None

    def __post_init__(self) -> None:
        _check_state(self, _STARTED)


class Ended(Struct, Generic[State], frozen=True, gc=False, tag=True):
    """Ended; it has no start if it never ran."""

    state: State
    started_at: float | None
    ended_at: float

    def __post_init__(self) -> None:
        _check_state(self, _ENDED)


class Unknown(Struct, frozen=True, gc=False, tag=True):
    """The state is lost: the stored record is damaged."""

    state: Literal["Unknown"] = "Unknown"

    started_at = None
    ended_at = None


TaskPhase = Unstarted[TaskState] | Started[TaskState] | Ended[TaskState]
JobPhase = Unstarted[JobState] | Started[JobState] | Ended[JobState] | Unknown


def _check_state(phase: Unstarted[Any] | Started[Any] | Ended[Any], possible: frozenset[StrEnum]) -> None:
    if phase.state not in possible:
        raise ValueError(f"state {phase.state} is not possible where {type(phase).__name__} is said")


class Endpoint(Struct, frozen=True, gc=False):
    """An address at which a party's program listens: `host:port` for a named port."""

    port_name: str
    scope: str
    protocol: str
    address: str


class PartyStatus(Struct, frozen=True, gc=False, cache_hash=True, omit_defaults=True):
    """The status of one party of a task."""

    domain_id: str
    role: str = ""
    state: TaskState = TaskState.PENDING
    message: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    detail: str = ""
    """More of the message, for the master and the party's own domain only; see `failures`."""
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    """128 plus the signal's number where a signal ended it; None while it runs or where it is not known."""
    was_stopped: bool = False
    """Whether it has failed only because it was stopped, or never started, for what `message` says."""


class TaskStatus(Struct, frozen=True, gc=False, cache_hash=True, omit_defaults=True):
    """The status of one task. `attempt` counts its starts; `progress` runs from 0 to 1.

    `tries` counts the starts since the job was created or restarted: retries are limited by it. `retry_at` is when a
    Pending task that has failed may start again. Its last attempt was waited for from `waited_from` until `placed_at`,
    when its parties got their addresses; from then on they were being started.
    """

    task_id: str
    alias: str
    phase: TaskPhase
    parties: tuple[PartyStatus, ...]
    created_at: float
    message: str = ""
    attempt: int = 0
    progress: float = 0.0
    tolerable: bool = False
    tries: int = 0
    retry_at: float | None = None
    waited_from: float | None = None
    placed_at: float | None = None

    @property
    def state(self) -> TaskState:
        return self.phase.state

    @property
    def since(self) -> float | None:
        """When it was admitted, or started where it has been; None if it ended without a start."""
        return self.phase.since if isinstance(self.phase, Unstarted) else self.phase.started_at


class StageKind(StrEnum):
    """The commands that a job can be given."""

    CREATE = "Create"
    START = "Start"
    STOP = "Stop"
    SUSPEND = "Suspend"
    RESTART = "Restart"
    CANCEL = "Cancel"


class Stage(Struct, frozen=True, gc=False, omit_defaults=True):
    """The last command, who gave it and why."""

    kind: StageKind
    by: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        _cut_reason(self)

    @property
    def text(self) -> str:
        """The stage as Kuscia writes it."""
        return f"Party: {self.by} execute the cmd: {self.kind}. Reason: {self.reason}"


class Approval(Struct, frozen=True, gc=False):
    """A domain's answer to a job that needs approval."""

    domain_id: str
    accepted: bool
    reason: str = ""

    def __post_init__(self) -> None:
        _cut_reason(self)


def _cut_reason(value: Stage | Approval) -> None:
    """Cut a reason to the limit, and say so in it: it may be as long as a request."""
    if len(value.reason) > MAX_REASON_CHARACTERS:
        force_setattr(value, "reason", cut(value.reason, MAX_REASON_CHARACTERS))


class JobStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """The status of a job: everything that a watcher sees."""

    phase: JobPhase
    created_at: float
    tasks: tuple[TaskStatus, ...]
    stage: Stage
    message: str = ""
    awaited: tuple[str, ...] = ()
    """Domains whose approval is required."""
    approvals: tuple[Approval, ...] = ()
    restarted_at: float | None = None
    """The last time, if ever."""
    traceparent: str = ""
    """What the job's spans belong to, if its creator has said so; for no client."""

    @property
    def state(self) -> JobState:
        """The job's state. Raises ValueError if the job is damaged."""
        if isinstance(self.phase, Unknown):
            raise ValueError(f"it has no state: {self.message}")
        return self.phase.state

    @property
    def began_at(self) -> float:
        """When its present run was requested."""
        return self.restarted_at or self.created_at

    @property
    def is_unfinished(self) -> bool:
        """Whether its state can still change without a restart."""
        return self.phase.state in UNFINISHED

    @property
    def is_scheduled(self) -> bool:
        """Whether the scheduler works on it. A job that awaits approval is unfinished, but nothing of it runs."""
        return self.phase.state in SCHEDULED

    @property
    def is_damaged(self) -> bool:
        """Whether it stands in for a status that cannot be read. It has no state then."""
        return isinstance(self.phase, Unknown)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of all parties, in order of first appearance."""
        return tuple(dict.fromkeys([party.domain_id for task in self.tasks for party in task.parties]))

    @property
    def has_details(self) -> bool:
        """Whether it has details, which not every reader may see."""
        for task in self.tasks:
            for party in task.parties:
                if party.detail:
                    return True
        return False


class Job(Struct, frozen=True, gc=False):
    """A stored job. `number` is the revision at which it was created: no other job ever gets it."""

    spec: JobSpec
    status: JobStatus
    number: int = 0
    revision: int = 0

    @property
    def job_id(self) -> str:
        return self.spec.job_id

    @property
    def summary(self) -> "JobSummary":
        return JobSummary(
            job_id=self.spec.job_id,
            initiator=self.spec.initiator,
            number=self.number,
            revision=self.revision,
            status=self.status,
            traits=self.spec.traits,
        )


class JobSummary(Struct, frozen=True, gc=False):
    """A job without its specification: what status queries and watchers need."""

    job_id: str
    initiator: str
    number: int
    revision: int
    status: JobStatus
    traits: Traits = NO_TRAITS

    def index_of(self, task_id: str) -> int:
        """The index of one of its tasks. Raises StopIteration if it has no such task."""
        return next(index for index, task in enumerate(self.status.tasks) if task.task_id == task_id)

    def is_visible_to(self, domain: str) -> bool:
        """Whether the domain is the initiator or a party."""
        return domain == self.initiator or domain in self.status.domains


class EventType(StrEnum):
    """The kinds of log entries."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    ERROR = "ERROR"


class JobEvent(Struct, frozen=True, gc=False):
    """One entry of the log; revisions have no gaps. `job` is the job after the change (DELETED: its last status).

    `before` is the phase before the change where it was another; None where it stays, and of a new job. With it, a
    filter finds out whether a job enters or leaves without knowing what came before.
    """

    revision: int
    type: EventType
    job: JobSummary
    before: JobPhase | None = None
