"""Changes as commit_group_1 takes them: see schema/001_jobs.sql, where the letters and the arrays are explained."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.json import Encoder
from msgspec.structs import replace

from kusciajob.contracts import LeaseLost
from kusciajob.model.errors import JobNotFound
from kusciajob.model.history import MAX_ATTEMPTS_KEPT, AuditEntry, HistoryEntry, Notes
from kusciajob.model.job import Traits
from kusciajob.model.status import Job, JobStatus, JobSummary
from kusciajob.store import common, kept, listing
from kusciajob.store.packing import pack_spec, pack_status

_ARGUMENTS = 44
COMMIT = f"SELECT * FROM commit_group_1({', '.join(f'${number}' for number in range(1, _ARGUMENTS + 1))})"  # noqa: S608  # our own text

_encode = Encoder().encode


class Kind(StrEnum):
    """What a change does."""

    CREATE = "C"
    REPLACE = "R"
    DELETE = "D"
    IMAGE = "I"
    NOTE = "N"


class AuditRow(Struct, frozen=True):
    """A row of the table `audit`, but its id."""

    at: float
    caller: str
    subject: str
    entry: str


class Change(Struct, frozen=True, kw_only=True):
    """One change, encoded. `about`: no two changes of a group share one of these."""

    kind: Kind
    fence: int = 0
    """That of the lease under which it is made; 0 for none."""
    about: frozenset[str] = frozenset()
    name: str = ""
    number: int = 0
    revision: int = 0
    is_forced: bool = False
    initiator: str = ""
    is_unfinished: bool = False
    status: bytes | None = None
    fault: bytes | None = None
    spec: bytes | None = None
    state: str = ""
    created: float = 0.0
    ended: float | None = None
    deadline: float | None = None
    expires: float | None = None
    phase: str = ""
    traits: str = ""
    task_ids: tuple[str, ...] = ()
    passed: tuple[tuple[bytes, str], ...] = ()
    """Each a status and its phase."""
    inputs: tuple[tuple[int, bytes], ...] = ()
    facets: tuple[int, ...] = ()
    history: tuple[str, ...] = ()
    attempts: tuple[tuple[int, bytes], ...] = ()
    audit: AuditRow | None = None

    @property
    def bytes(self) -> int:
        """What it takes, roughly."""
        large = (self.status, self.fault, self.spec, *(data for _, data in (*self.inputs, *self.attempts)))
        passed = sum(len(status) for status, _ in self.passed)
        return sum(len(data) for data in large if data) + passed + len(self.traits) + sum(map(len, self.history))


class Outcome(Struct, frozen=True):
    """What became of a change: a row that commit_group_1 returns."""

    revision: int | None
    refusal: str | None
    stored: int | None
    task_id: str | None
    holder: str | None
    history_length: int | None


def writable(text: str) -> str:
    """The text as a column of PostgreSQL can hold it: it knows neither NUL nor halves of surrogate pairs.

    Names of what is stored have none of these, so that what has them finds nothing.
    """
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode(errors="replace").decode()


def creation(job: Job, notes: Notes) -> Change:
    """A new job. Raises TaskExists where it has a task id twice."""
    task_ids = tuple(task.task_id for task in job.status.tasks)
    if len(set(task_ids)) < len(task_ids):
        raise common.task_exists(max(task_ids, key=task_ids.count), job.job_id)
    spec, inputs = pack_spec(job.spec)
    listed = listing.listed(job)
    return Change(
        kind=Kind.CREATE,
        about=_about(job.job_id, task_ids),
        name=job.job_id,
        initiator=job.spec.initiator,
        is_unfinished=job.status.is_unfinished,
        status=pack_status(job.status),
        spec=spec,
        state=listed.row.state,
        created=listed.created_at,
        ended=listed.row.ended,
        deadline=listed.row.deadline,
        expires=listed.row.expires,
        phase=listed.row.phase,
        traits=listed.row.traits,
        task_ids=task_ids,
        inputs=tuple(inputs.items()),
        facets=tuple(listed.facets),
        **_noted(notes),
    )


def replacement(job: Job, passed: Sequence[JobStatus], fault: str, notes: Notes) -> Change:
    """A change of a job, told with what it passed on the way; with an ERROR after it if there is a fault."""
    phase, spec = job.status.phase, job.spec
    return Change(
        kind=Kind.REPLACE,
        about=_about(job.job_id),
        name=job.job_id,
        number=job.number,
        revision=job.revision,
        initiator=spec.initiator,
        is_unfinished=job.status.is_unfinished,
        status=pack_status(job.status),
        fault=pack_status(common.with_fault(job.status, fault)) if fault else None,
        state=str(phase.state),
        ended=phase.ended_at,
        deadline=kept.deadline(phase, job.status.began_at, spec.deadline_seconds),
        expires=kept.expiry(phase, spec.ttl_seconds),
        phase=listing.phase_json(phase),
        passed=tuple((pack_status(status), listing.phase_json(status.phase)) for status in passed),
        **_noted(notes),
    )


def deletion(job: Job | JobSummary, notes: Notes) -> Change:
    """The end of a job. The revision of one that is damaged may be so too; nobody changes such a job."""
    traits: Traits = job.traits if isinstance(job, JobSummary) else job.spec.traits
    return Change(
        kind=Kind.DELETE,
        about=_about(job.job_id, [task.task_id for task in job.status.tasks]),
        name=writable(job.job_id),
        number=job.number,
        revision=job.revision,
        is_forced=job.status.is_damaged,
        initiator=writable(job.initiator if isinstance(job, JobSummary) else job.spec.initiator),
        status=pack_status(job.status),
        traits=listing.traits_json(traits),
        **_noted(Notes(audit=notes.audit)),
    )


def image(name: str, definition: bytes | None, notes: Notes) -> Change:
    """An AppImage is stored; None: it is removed."""
    about = frozenset({f"image {name}"})
    return Change(
        kind=Kind.IMAGE, about=about, name=writable(name), status=definition, **_noted(Notes(audit=notes.audit))
    )


def note(entry: AuditEntry) -> Change:
    """A call that changes no job."""
    return Change(kind=Kind.NOTE, audit=_audit_row(entry))


def arguments(changes: Sequence[Change], *, writer: str, group: int, channel: str) -> Sequence[Any]:
    """The arguments of COMMIT."""
    return (
        *(writer, group, channel),
        *(MAX_ATTEMPTS_KEPT, kept.MAX_ATTEMPTS_BYTES, common.LOG_ROW_BYTES),
        *([getattr(change, column) for change in changes] for column in _COLUMNS),
        *_rows(2, ((place, each) for place, change in _placed(changes) for each in change.task_ids)),
        *_rows(3, ((place, *each) for place, change in _placed(changes) for each in change.passed)),
        *_rows(3, ((place, *each) for place, change in _placed(changes) for each in change.inputs)),
        *_rows(2, ((place, each) for place, change in _placed(changes) for each in change.facets)),
        *_rows(2, ((place, each) for place, change in _placed(changes) for each in change.history)),
        *_rows(3, ((place, *each) for place, change in _placed(changes) for each in change.attempts)),
        *_rows(
            5,
            (
                (place, row.at, row.caller, row.subject, row.entry)
                for place, change in _placed(changes)
                if (row := change.audit) is not None
            ),
        ),
    )


def refusal(change: Change, outcome: Outcome) -> Exception | None:
    """Why it was refused: JobExists, TaskExists, JobNotFound, StaleJob, LeaseLost."""
    match outcome.refusal:
        case None:
            return None
        case "lease lost":
            return LeaseLost("another server schedules since")
        case "job exists":
            return common.job_exists(change.name)
        case "task exists":
            return common.task_exists(str(outcome.task_id), str(outcome.holder))
        case "not found":
            return JobNotFound(change.name)
        case _:
            return common.stale_job(change.name, change.revision, outcome.stored or 0)


_COLUMNS = (
    "kind",
    "fence",
    "name",
    "number",
    "revision",
    "is_forced",
    "initiator",
    "is_unfinished",
    "status",
    "fault",
    "spec",
    "state",
    "created",
    "ended",
    "deadline",
    "expires",
    "phase",
    "traits",
)
"""The arrays with one element per change, in order."""


def _about(job_id: str, task_ids: Iterable[str] = ()) -> frozenset[str]:
    return frozenset((f"job {job_id}", *(f"task {task_id}" for task_id in task_ids)))


def _noted(notes: Notes) -> dict[str, Any]:
    return {
        "history": tuple(_entry(entry) for entry in notes.history),
        "attempts": tuple((attempt.task, _encode(attempt)) for attempt in notes.attempts),
        "audit": None if notes.audit is None else _audit_row(notes.audit),
    }


def _entry(entry: HistoryEntry) -> str:
    return _encode(entry).decode()


def _audit_row(entry: AuditEntry) -> AuditRow:
    return AuditRow(entry.at, writable(entry.caller), writable(entry.subject), _encode(replace(entry, id=0)).decode())


def _placed(changes: Sequence[Change]) -> Iterable[tuple[int, Change]]:
    return enumerate(changes, 1)


def _rows(width: int, rows: Iterable[tuple[Any, ...]]) -> Sequence[Sequence[Any]]:
    """The columns of these rows."""
    columns = list(zip(*rows, strict=True))
    return columns or [()] * width
