"""What all stores share, whatever their medium: log entries, errors, and the form of the census."""

from collections.abc import Mapping

from msgspec.structs import replace

from kusciajob.contracts import Census
from kusciajob.model.errors import JobExists, LogTruncated, StaleJob, TaskExists
from kusciajob.model.job import Traits
from kusciajob.model.status import (
    EventType,
    Job,
    JobEvent,
    JobPhase,
    JobState,
    JobStatus,
    JobSummary,
    TaskState,
    Unknown,
)
from kusciajob.model.text import shown

UNREADABLE = Unknown().state
"""The census counts jobs that cannot be read under this state."""
LOG_ROW_BYTES = 64
"""What an entry of the log takes beside its status, roughly."""


def entry(
    kind: EventType,
    job: Job | JobSummary,
    *,
    revision: int,
    status: JobStatus,
    traits: Traits,
    before: JobPhase | None = None,
) -> JobEvent:
    """The log entry for a change of the job; the revision in its summary is the entry's own."""
    summary = JobSummary(
        job_id=job.job_id,
        initiator=job.initiator if isinstance(job, JobSummary) else job.spec.initiator,
        number=job.number,
        revision=revision,
        status=status,
        traits=traits,
    )
    return JobEvent(revision, kind, summary, before)


def with_fault(status: JobStatus, fault: str) -> JobStatus:
    """The status that an ERROR shows: its message is never empty."""
    return status if status.message else replace(status, message=fault)


def job_exists(job_id: str) -> JobExists:
    return JobExists(f"job {shown(job_id)} already exists")


def task_exists(task_id: str, holder: str) -> TaskExists:
    return TaskExists(f"task {shown(task_id)} already exists: it belongs to job {shown(holder)}")


def stale_job(job_id: str, revision: int, stored_revision: int) -> StaleJob:
    return StaleJob(f"job {shown(job_id)} is at revision {stored_revision}, the change was made to revision {revision}")


def log_truncated(after: int, oldest: int) -> LogTruncated:
    text = f"the log begins at revision {oldest}: what followed revision {after} is no longer kept"
    return LogTruncated(text, usable=oldest - 1)


def apart(job: Job) -> Job:
    """A copy that shares nothing mutable with the job; only its custom fields and labels are mutable."""
    spec = job.spec
    if not (spec.custom_fields or spec.labels):
        return job
    return replace(job, spec=replace(spec, custom_fields=dict(spec.custom_fields), labels=dict(spec.labels)))


def census(jobs: Mapping[str, int], parties: Mapping[str, int]) -> Census:
    """A census from counts by state: every state is a key, and an unknown state counts as unreadable."""
    by_state = dict.fromkeys(map(str, JobState), 0)
    for state, count in jobs.items():
        known = state if state in by_state else UNREADABLE
        by_state[known] = by_state.get(known, 0) + count
    return Census(by_state, {state: parties.get(state, 0) for state in map(str, TaskState)})
