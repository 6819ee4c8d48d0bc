"""A job's status as bytes of protobuf, put together from parts that are serialised once.

Most of a job's tasks and parties are as they were at its last event, or as those of other jobs are. A message made of
serialised parts is their bytes behind each other, each part with its tag and length (protobuf's encoding guide).
"""

import time
from functools import lru_cache

from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model.status import (
    Approval,
    EventType,
    JobEvent,
    JobState,
    JobStatus,
    JobSummary,
    PartyStatus,
    StageKind,
    TaskState,
    TaskStatus,
)
from kusciajob.recent import Recent

KEPT_TASKS_BYTES = 4 << 20
TASK_BYTES = 512
"""What a kept task takes beside its encoding, roughly."""
LENGTH_DELIMITED = 2


def encode_event(event: JobEvent) -> bytes:
    """A serialised WatchJobEventResponse."""
    return _EVENT_TYPES[event.type] + part(_OBJECT, encode_summary(event.job))


def encode_summary(job: JobSummary) -> bytes:
    """A serialised JobStatus."""
    return part(_JOB_ID, job.job_id.encode()) + part(_STATUS, encode_status(job.status))


def encode_status(status: JobStatus) -> bytes:
    """A serialised JobStatusDetail."""
    phase, stage = status.phase, status.stage.kind
    head = pb.JobStatusDetail(
        state=phase.state,
        err_msg=status.message,
        create_time=format_time(status.created_at),
        start_time=format_time(phase.started_at),
        end_time=format_time(phase.ended_at),
    )
    parts = [head.SerializeToString(), *map(_encode_task, status.tasks)]
    parts += [_encode_stage(domain, stage) for domain in status.domains]
    parts += map(_encode_approval, status.approvals)
    return b"".join(parts)


def part(tag: bytes, data: bytes) -> bytes:
    """A field that is text, or a message of its own."""
    return tag + _encode_length(len(data)) + data


def tag_of(kind: type[Message], field: str) -> bytes:
    """What the `part` of that name begins with."""
    return bytes([kind.DESCRIPTOR.fields_by_name[field].number << 3 | LENGTH_DELIMITED])


def format_time(seconds: float | None) -> str:
    """RFC 3339, UTC, whole seconds; empty for None."""
    return "" if seconds is None else _format_second(int(seconds))


def wire_state(state: TaskState) -> str:
    """A task's or party's state as clients know it."""
    return JobState.PENDING if state is TaskState.STARTING else state.value


_OBJECT = tag_of(pb.WatchJobEventResponse, "object")
_JOB_ID, _STATUS = (tag_of(pb.JobStatus, field) for field in ("job_id", "status"))
_TASKS = tag_of(pb.JobStatusDetail, "tasks")
_PARTIES = tag_of(pb.TaskStatus, "parties")
_EVENT_TYPES = {kind: pb.WatchJobEventResponse(type=kind.value).SerializeToString() for kind in EventType}

_kept_tasks: Recent[TaskStatus, bytes] = Recent(KEPT_TASKS_BYTES)


def _encode_task(task: TaskStatus) -> bytes:
    """As a part of JobStatusDetail."""
    kept = _kept_tasks.get(task)
    if kept is not None:
        return kept
    phase = task.phase
    head = pb.TaskStatus(
        task_id=task.task_id,
        alias=task.alias,
        state=wire_state(task.state),
        err_msg=task.message,
        create_time=format_time(task.created_at),
        start_time=format_time(phase.started_at),
        end_time=format_time(phase.ended_at),
        progress=task.progress,
    )
    encoded = part(_TASKS, b"".join([head.SerializeToString(), *map(_encode_party, task.parties)]))
    _kept_tasks.put(task, encoded, weight=len(encoded) + TASK_BYTES)
    return encoded


@lru_cache(maxsize=1024)
def _encode_party(party: PartyStatus) -> bytes:
    """As a part of TaskStatus."""
    message = pb.PartyStatus(
        domain_id=party.domain_id,
        state=wire_state(party.state),
        err_msg=party.message,
        endpoints=[
            pb.JobPartyEndpoint(port_name=endpoint.port_name, scope=endpoint.scope, endpoint=endpoint.address)
            for endpoint in party.endpoints
        ],
    )
    return part(_PARTIES, message.SerializeToString())


@lru_cache(maxsize=1024)
def _encode_stage(domain_id: str, stage: StageKind) -> bytes:
    """As a part of JobStatusDetail."""
    state = pb.PartyStageStatus(domain_id=domain_id, state=f"Job{stage}StageSucceeded")
    return pb.JobStatusDetail(stage_status_list=[state]).SerializeToString()


def _encode_approval(approval: Approval) -> bytes:
    """As a part of JobStatusDetail."""
    state = "JobAccepted" if approval.accepted else "JobRejected"
    message = pb.PartyApproveStatus(domain_id=approval.domain_id, state=state)
    return pb.JobStatusDetail(approve_status_list=[message]).SerializeToString()


@lru_cache(maxsize=1024)
def _encode_length(length: int) -> bytes:
    """A varint: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


@lru_cache(maxsize=1024)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
