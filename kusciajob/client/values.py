"""What the server tells, as frozen values; `raw` is the message that each was read from."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from kusciajob.api import kuscia, v1
from kusciajob.client.errors import PartyFailure


class State(StrEnum):
    """Kuscia's word for the state of a job; a task or party has one of the first four."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVAL_REJECT = "ApprovalReject"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"


ENDED = frozenset((State.SUCCEEDED, State.FAILED, State.CANCELLED, State.APPROVAL_REJECT))
"""What a job is in once it has ended; one that Failed can yet be restarted."""


class PartyStatus(Struct, frozen=True):
    """One party of a task."""

    domain: str
    state: str
    err_msg: str
    endpoints: tuple[str, ...]
    """`host:port` of the ports that others may use."""
    raw: Any


class TaskStatus(Struct, frozen=True):
    """One task of a job. Times are None until they have come."""

    alias: str
    task_id: str
    state: str
    err_msg: str
    progress: float
    start_time: datetime | None
    end_time: datetime | None
    parties: tuple[PartyStatus, ...]
    raw: Any


class JobStatus(Struct, frozen=True):
    """A job's status at one moment."""

    job_id: str
    state: str
    err_msg: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    tasks: tuple[TaskStatus, ...]
    raw: Any
    """The JobStatusDetail."""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def task(self, alias: str) -> TaskStatus:
        """The task of that alias. Raises KeyError, which names those that there are."""
        for task in self.tasks:
            if task.alias == alias:
                return task
        raise KeyError(f"job {self.job_id} has no task {alias!r}: it has {', '.join(t.alias for t in self.tasks)}")

    @property
    def failures(self) -> list[PartyFailure]:
        """The failed parties, as far as the status tells: without exit codes."""
        return [
            PartyFailure(task.alias, party.domain, "", None, party.err_msg or task.err_msg)
            for task in self.tasks
            for party in task.parties
            if party.state == State.FAILED
        ]


class JobSummary(Struct, frozen=True):
    """A job in a list."""

    job_id: str
    initiator: str
    state: str
    err_msg: str
    create_time: datetime | None
    end_time: datetime | None
    progress: float
    parties: tuple[str, ...]
    number: int
    """Which job of that id it is: no other ever has the number."""
    revision: int
    raw: Any


class ChangeType(StrEnum):
    """What a watch tells."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    LEFT = "LEFT"
    """The job no longer passes the filter."""
    ERROR = "ERROR"
    """The runtime or the store of the server failed."""


class Change(Struct, frozen=True):
    """One event of a watch. A DELETED or LEFT that was missed during an outage has the last status that was seen."""

    type: ChangeType
    status: JobStatus
    revision: int
    """Where a watch can be taken up again, by `since`; 0 where it cannot."""

    @property
    def job_id(self) -> str:
        return self.status.job_id


class HistoryEntry(Struct, frozen=True):
    """Something that happened to a job."""

    time: datetime | None
    event: str
    """Such as created, task_started, party_failed."""
    task: str
    domain: str
    attempt: int
    exit_code: int | None
    caller: str
    reason: str
    raw: Any


class LogLine(Struct, frozen=True):
    """A line that a party's program wrote, without its line end."""

    text: str
    stream: str
    """stdout or stderr; empty where the server does not tell."""
    time: datetime | None
    raw: Any
    """None where the server tells text only."""


class AppImage(Struct, frozen=True):
    """What tasks can name as their image."""

    name: str
    image: str
    """Of containers; empty where it is not set."""
    roles: tuple[str, ...]
    """Empty for a template that has none."""
    raw: Any


class CallerRights(Struct, frozen=True):
    """Who the server takes the caller for, and what that one may do."""

    domain_id: str
    """Empty for the master."""
    is_master: bool
    sees_jobs: str
    """all, or own: as initiator or party."""
    may_create_for: tuple[str, ...]
    """Initiators; empty: any."""


class ServerInfo(Struct, frozen=True):
    """What a server is and allows."""

    version: str
    runtime: str
    """process, container, kubernetes or simulated."""
    capabilities: tuple[str, ...]
    limits: Mapping[str, int]
    """By the names of settings; 0: no limit."""
    start_time: datetime | None
    caller: CallerRights
    revision: int
    """The newest: `since` of a watch that is to miss nothing from now on."""
    raw: Any


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A message's; a time without a zone is local."""
    if moment is None:
        return None
    told = Timestamp()
    told.FromDatetime(moment.astimezone())
    return told


def status_of(job_id: str, detail: kuscia.JobStatusDetail) -> JobStatus:
    return JobStatus(
        job_id=job_id,
        state=detail.state,
        err_msg=detail.err_msg,
        create_time=_time(detail.create_time),
        start_time=_time(detail.start_time),
        end_time=_time(detail.end_time),
        tasks=tuple(_task(task) for task in detail.tasks),
        raw=detail,
    )


def summary_of(raw: v1.JobSummary) -> JobSummary:
    return JobSummary(
        job_id=raw.job_id,
        initiator=raw.initiator,
        state=raw.state,
        err_msg=raw.err_msg,
        create_time=_moment(raw, "create_time"),
        end_time=_moment(raw, "end_time"),
        progress=raw.progress,
        parties=tuple(raw.parties),
        number=raw.number,
        revision=raw.revision,
        raw=raw,
    )


def image_of(raw: v1.AppImage) -> AppImage:
    return AppImage(raw.name, raw.image, tuple(role.role for role in raw.roles), raw)


def info_of(raw: v1.GetServerInfoResponse) -> ServerInfo:
    caller = raw.caller
    return ServerInfo(
        version=raw.version,
        runtime=raw.runtime,
        capabilities=tuple(raw.capabilities),
        limits=dict(raw.limits),
        start_time=_moment(raw, "start_time"),
        caller=CallerRights(caller.domain_id, caller.is_master, caller.sees_jobs, tuple(caller.may_create_for)),
        revision=raw.revision,
        raw=raw,
    )


def entry_of(raw: v1.JobHistoryEntry) -> HistoryEntry:
    return HistoryEntry(
        time=_moment(raw, "time"),
        event=raw.event,
        task=raw.alias,
        domain=raw.domain_id,
        attempt=raw.attempt,
        exit_code=raw.exit_code if raw.HasField("exit_code") else None,
        caller=raw.caller,
        reason=raw.reason,
        raw=raw,
    )


def line_of(raw: v1.LogLine) -> LogLine:
    return LogLine(raw.text, raw.stream, _moment(raw, "time"), raw)


def failures_of(job: v1.Job) -> list[PartyFailure]:
    """The parties that failed in the last attempt of a failed task."""
    return [
        PartyFailure(
            task.alias,
            party.domain_id,
            party.role,
            party.exit_code if party.HasField("exit_code") else None,
            party.err_msg or task.err_msg,
        )
        for task in job.tasks
        if task.state == State.FAILED
        for attempt in task.attempts[-1:]
        for party in attempt.parties
        if party.state == State.FAILED
    ]


def _task(raw: kuscia.TaskStatus) -> TaskStatus:
    return TaskStatus(
        alias=raw.alias,
        task_id=raw.task_id,
        state=raw.state,
        err_msg=raw.err_msg,
        progress=raw.progress,
        start_time=_time(raw.start_time),
        end_time=_time(raw.end_time),
        parties=tuple(
            PartyStatus(
                each.domain_id, each.state, each.err_msg, tuple(place.endpoint for place in each.endpoints), raw=each
            )
            for each in raw.parties
        ),
        raw=raw,
    )


def _time(text: str) -> datetime | None:
    """None where there is none, or none that can be read as one: what the server has sent is in `raw`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(raw: Any, field: str) -> datetime | None:
    if not raw.HasField(field):
        return None
    moment: Timestamp = getattr(raw, field)
    return datetime.fromtimestamp(moment.seconds + moment.nanos / 1e9).astimezone()
