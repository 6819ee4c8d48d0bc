"""Rows of the database as values. A damaged one is told as such, and hides no other."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import MsgspecError

from kusciajob.model.damage import JobDamaged, damaged_status
from kusciajob.model.errors import InvalidJob
from kusciajob.model.job import NO_TRAITS, JobSpec, Traits
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus, JobSummary
from kusciajob.model.text import shown
from kusciajob.store import listing
from kusciajob.store.packing import unpack_spec, unpack_status

LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999: later times cannot be written."""
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""Stands in a text for bytes that are no UTF-8; no job id has it."""


# Bytes that are no UTF-8 are a ValueError; of a column that holds a number or nothing, a TypeError.
_NOT_DECODED = (MsgspecError, InvalidJob, ValueError, TypeError, RecursionError)


class Damage(NamedTuple):
    """A row that cannot be read, or breaks a rule of the model, and why."""

    table: str
    key: int | str
    job_id: str
    """As far as it can be told."""
    cause: str

    def __str__(self) -> str:
        key = self.key if isinstance(self.key, int) else shown(self.key)
        return f"row {key} of table {self.table}, of job {shown(self.job_id)}: {self.cause}"


Note = Callable[[Damage], None]
"""Is told of each damaged row that is met."""


class Unreadable(Exception):
    """A row is damaged; the text says in what."""


def ignore(_: Damage) -> None:
    """A Note for who wants to know no more than what a read answers."""


def status_of(data: Any) -> JobStatus:
    """The status in a row. Unreadable."""
    try:
        status = unpack_status(data)
    except _NOT_DECODED as error:
        raise Unreadable(f"its status cannot be read: {error}") from None
    if not status.is_damaged:
        _check(status)
    return status


def summary(row: Sequence[Any], note: Note) -> JobSummary:
    """The job of a row of a SUMMARIES query: if it is damaged, in a state that says so; without traits if they are."""
    job_id, initiator, number, revision, traits, data = row
    try:
        status = status_of(data)
        if status.is_damaged:
            raise Unreadable(status.message)
        _check_names(job_id, initiator, revision)
    except Unreadable as error:
        damage = Damage("job", number, text_of(job_id), str(error))
        note(damage)
        revision = revision if isinstance(revision, int) else number
        status, job_id, initiator = damaged_status(damage.cause), damage.job_id, text_of(initiator)
    return JobSummary(job_id, initiator, number, revision, status, _traits(number, job_id, traits, note))


def sound_summary(row: Sequence[Any], note: Note) -> JobSummary:
    """The job of such a row. JobDamaged."""
    told = summary(row, note)
    if told.status.is_damaged:
        raise JobDamaged(told)
    return told


def job(row: Sequence[Any], note: Note, inputs: Sequence[tuple[Any, Any]] = ()) -> Job:
    """The job of a row of (job_id, initiator, number, revision, status, specification). JobDamaged."""
    *others, status, encoded = row
    told = sound_summary((*others, None, status), note)
    return Job(spec(encoded, inputs, told, note), told.status, told.number, told.revision)


def spec(data: Any, inputs: Sequence[tuple[Any, Any]], job: JobSummary, note: Note) -> JobSpec:
    """The specification of a job; see packing for its large inputs. JobDamaged."""
    try:
        return _spec_of(data, inputs, job)
    except Unreadable as error:
        note(Damage("spec", job.number, job.job_id, str(error)))
        raise JobDamaged(job, cause=str(error)) from None


def event(row: Sequence[Any]) -> JobEvent:
    """The event of a row of an EVENTS query. Unreadable."""
    revision, kind, job_id, initiator, number, phase, traits, data = row
    status = status_of(data)
    _check_names(job_id, initiator, number)
    try:
        before = listing.phase_of(phase)
    except _NOT_DECODED as error:
        raise Unreadable(f"the phase before it cannot be read: {error}") from None
    told = _traits(number, job_id, traits, ignore)
    try:
        return JobEvent(
            revision, EventType(kind), JobSummary(job_id, initiator, number, revision, status, told), before
        )
    except ValueError:
        raise Unreadable(f"its type {shown(text_of(kind))} is unknown") from None


def damaged_event(row: tuple[Any, ...], cause: str) -> JobEvent:
    """What watchers are told of such a row: an ERROR, or that a job was deleted if that much is known."""
    revision, kind, job_id, initiator, number, *_ = row
    number = number if isinstance(number, int) else 0
    job = JobSummary(text_of(job_id), text_of(initiator), number, revision, damaged_status(cause))
    return JobEvent(revision, EventType.DELETED if kind == EventType.DELETED else EventType.ERROR, job)


def text_of(value: Any) -> str:
    """Whatever a column holds, as a text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _traits(number: int, job_id: str, data: Any, note: Note) -> Traits:
    try:
        return listing.traits_of(data)
    except _NOT_DECODED as error:
        note(Damage("listing", number, job_id, f"its traits cannot be read: {error}"))
        return NO_TRAITS


def _spec_of(data: Any, inputs: Sequence[tuple[Any, Any]], job: JobSummary) -> JobSpec:
    if data is None:
        raise Unreadable("its specification is missing")
    try:
        spec = unpack_spec(data, inputs)
    except _NOT_DECODED as error:
        raise Unreadable(f"its specification cannot be read: {error}") from None
    parties = [len(task.parties) for task in spec.tasks]
    if (spec.job_id, spec.initiator) != (job.job_id, job.initiator) or parties != [
        len(task.parties) for task in job.status.tasks
    ]:
        raise Unreadable("its specification is that of another job")
    return spec


def _check_names(job_id: Any, initiator: Any, number: Any) -> None:
    is_sound = isinstance(job_id, str) and isinstance(initiator, str) and isinstance(number, int)
    if not is_sound or not job_id or UNDECODABLE in job_id:
        raise Unreadable("its job id, initiator or number cannot be read")


def _check(status: JobStatus) -> None:
    """What the rest of the program relies on, beyond the types."""
    moments = [status.created_at, status.phase.started_at, status.phase.ended_at]
    for task in status.tasks:
        if not (0 <= task.progress <= 1 and task.attempt >= 0):
            raise Unreadable(f"progress or attempt of task {shown(task.alias)} is out of range")
        moments += [task.created_at, task.phase.started_at, task.phase.ended_at]
    for moment in moments:
        if moment is not None and not 0 <= moment <= LAST_SECOND:
            raise Unreadable(f"one of its times is out of range: {moment:g}")
