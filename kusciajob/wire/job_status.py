"""A job's status as bytes of protobuf, written part by part: ten times as fast as by way of messages.

A message is its fields behind each other, each with a tag, and texts and messages with their length as well (protobuf's
encoding guide). Most of a job's tasks and parties are as they were at its last event, or as those of other jobs are:
their bytes are kept. A status that would be too large for clients is told cut.
"""

import struct
import time
from functools import lru_cache
from types import SimpleNamespace

from google.protobuf.message import Message
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model import failures, weight
from kusciajob.model.limits import MAX_PARTIES, MAX_STATUS_BYTES
from kusciajob.model.status import (
    Endpoint,
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
from kusciajob.model.text import cut
from kusciajob.recent import Recent

KEPT_TASKS_BYTES = 4 << 20
KEPT_MESSAGE_CHARACTERS = 256
"""The encoding of a party with a longer text is not kept: it is hardly another's."""
KEPT_ENDPOINTS = 8
TEXT_CHARACTERS = (1024, 256, 64, 0)
"""To so many characters texts are cut until a status fits."""
LENGTH_DELIMITED, FIXED_32 = 2, 5


def encode_event(event: JobEvent) -> bytes:
    """A serialised WatchJobEventResponse."""
    return _EVENT_TYPES[event.type] + part(_EVENT.object, encode_summary(event.job))


def encode_summary(job: JobSummary) -> bytes:
    """A serialised JobStatus."""
    return _text(_SUMMARY.job_id, job.job_id) + part(_SUMMARY.status, encode_status(job.status))


def encode_status(status: JobStatus) -> bytes:
    """A serialised JobStatusDetail of at most MAX_STATUS_BYTES, with all details that the status has."""
    if status.has_details:
        status = failures.told(status)
    encoded = _encode_status(status)
    return encoded if len(encoded) <= MAX_STATUS_BYTES else _encode_cut(status, len(encoded))


def _encode_status(status: JobStatus) -> bytes:
    phase, stage, domains = status.phase, status.stage.kind, status.domains
    parts = [
        _text(_DETAIL.state, phase.state),
        _text(_DETAIL.err_msg, status.message),
        _time(_DETAIL.create_time, None if status.is_damaged else status.created_at),
        _time(_DETAIL.start_time, phase.started_at),
        _time(_DETAIL.end_time, phase.ended_at),
        *map(_encode_task, status.tasks),
        *[_encode_stage(domain, stage) for domain in domains],
        *_encode_approvals(status, domains),
    ]
    return b"".join(parts)


def _encode_cut(status: JobStatus, size: int) -> bytes:
    """With shorter texts; then without addresses; then, for jobs of earlier versions, with shorter names and lists."""
    texts = [len(party.message) for task in status.tasks for party in task.parties if party.message]
    for characters in TEXT_CHARACTERS:
        if characters and size - sum(texts) + sum([min(text, characters) for text in texts]) > MAX_STATUS_BYTES:
            continue  # need not be tried
        encoded = _encode_status(_shorten(status, texts=characters))
        if len(encoded) <= MAX_STATUS_BYTES:
            return encoded
    parties = MAX_PARTIES
    while True:
        encoded = _encode_status(_shorten(status, texts=0, names=64, parties=parties))
        if len(encoded) <= MAX_STATUS_BYTES:
            return encoded
        parties //= 2


def _shorten(status: JobStatus, *, texts: int, names: int | None = None, parties: int | None = None) -> JobStatus:
    """The status with texts of so many characters. Without texts, no addresses either; `parties` is for each task."""

    def name(value: str) -> str:
        return value if names is None else cut(value, names)

    return replace(
        status,
        message=cut(status.message, max(texts, TEXT_CHARACTERS[1])),
        approvals=tuple(
            replace(approval, domain_id=name(approval.domain_id)) for approval in status.approvals[:parties]
        ),
        tasks=tuple(
            replace(
                task,
                alias=name(task.alias),
                message=cut(task.message, max(texts, TEXT_CHARACTERS[1])),
                parties=tuple(
                    replace(
                        party,
                        domain_id=name(party.domain_id),
                        message=cut(party.message, texts),
                        endpoints=party.endpoints if texts else (),
                    )
                    for party in task.parties[:parties]
                ),
            )
            for task in status.tasks
        ),
    )


def part(tag: bytes, data: bytes) -> bytes:
    """A field that is text, or a message of its own."""
    return tag + _encode_length(len(data)) + data


def head(tag: bytes, length: int) -> bytes:
    """What such a field of so many bytes begins with."""
    return tag + _encode_length(length)


@lru_cache(maxsize=1024)
def _encode_length(length: int) -> bytes:
    """A varint: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def tags_of(kind: type[Message], wire_type: int = LENGTH_DELIMITED) -> SimpleNamespace:
    """By the names of a message's fields, what a part begins with."""
    return SimpleNamespace(**{field.name: bytes([field.number << 3 | wire_type]) for field in kind.DESCRIPTOR.fields})


def format_time(seconds: float | None) -> str:
    """RFC 3339, UTC, whole seconds; empty for None."""
    return "" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))


def wire_state(state: TaskState) -> str:
    """A task's or party's state as clients know it."""
    return JobState.PENDING if state is TaskState.STARTING else state.value


_EVENT, _SUMMARY, _DETAIL = tags_of(pb.WatchJobEventResponse), tags_of(pb.JobStatus), tags_of(pb.JobStatusDetail)
_TASK, _PARTY, _ENDPOINT = tags_of(pb.TaskStatus), tags_of(pb.PartyStatus), tags_of(pb.JobPartyEndpoint)
_STAGE, _APPROVAL = tags_of(pb.PartyStageStatus), tags_of(pb.PartyApproveStatus)
_PROGRESS = tags_of(pb.TaskStatus, FIXED_32).progress
_EVENT_TYPES = {kind: pb.WatchJobEventResponse(type=kind.value).SerializeToString() for kind in EventType}
_TASK_STATES = {state.value: part(_TASK.state, wire_state(state).encode()) for state in TaskState}

_kept_tasks: Recent[TaskStatus, bytes] = Recent(KEPT_TASKS_BYTES)


def _encode_task(task: TaskStatus) -> bytes:
    """As a part of JobStatusDetail."""
    kept = _kept_tasks.get(task)
    if kept is not None:
        return kept
    phase = task.phase
    parts = [
        _text(_TASK.task_id, task.task_id),
        _TASK_STATES[phase.state],
        _text(_TASK.err_msg, task.message),
        _time(_TASK.create_time, task.created_at),
        _time(_TASK.start_time, phase.started_at),
        _time(_TASK.end_time, phase.ended_at),
        *map(_encode_party, task.parties),
        _text(_TASK.alias, task.alias),
        _PROGRESS + struct.pack("<f", task.progress) if task.progress else b"",
    ]
    encoded = part(_DETAIL.tasks, b"".join(parts))
    _kept_tasks.put(task, encoded, weight=len(encoded) + weight.task_bytes(task))
    return encoded


def _encode_party(party: PartyStatus) -> bytes:
    """As a part of TaskStatus."""
    if len(party.message) <= KEPT_MESSAGE_CHARACTERS and len(party.endpoints) <= KEPT_ENDPOINTS:
        return _kept_party(party)
    return _encode_any_party(party)


def _encode_any_party(party: PartyStatus) -> bytes:
    parts = [
        _text(_PARTY.domain_id, party.domain_id),
        _text(_PARTY.state, wire_state(party.state)),
        _text(_PARTY.err_msg, party.message),
        *[_encode_endpoint(endpoint) for endpoint in party.endpoints if endpoint.scope != "Local"],
    ]
    return part(_TASK.parties, b"".join(parts))


_kept_party = lru_cache(maxsize=1024)(_encode_any_party)


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    """As a part of PartyStatus."""
    name, scope = _text(_ENDPOINT.port_name, endpoint.port_name), _text(_ENDPOINT.scope, endpoint.scope)
    return part(_PARTY.endpoints, name + scope + _text(_ENDPOINT.endpoint, endpoint.address))


@lru_cache(maxsize=1024)
def _encode_stage(domain_id: str, stage: StageKind) -> bytes:
    """As a part of JobStatusDetail."""
    state = _text(_STAGE.state, f"Job{stage}StageSucceeded")
    return part(_DETAIL.stage_status_list, _text(_STAGE.domain_id, domain_id) + state)


def _encode_approvals(status: JobStatus, domains: tuple[str, ...]) -> list[bytes]:
    """What each domain has answered, in order of first appearance; no approval needed, all have accepted."""
    if not status.awaited:
        return [_encode_approval(domain, True) for domain in domains]
    given = {approval.domain_id: approval.accepted for approval in status.approvals}
    # An initiator that is no party may have answered too.
    return [_encode_approval(domain, given[domain]) for domain in dict.fromkeys((*domains, *given)) if domain in given]


@lru_cache(maxsize=1024)
def _encode_approval(domain_id: str, accepted: bool, /) -> bytes:
    """As a part of JobStatusDetail."""
    state = _text(_APPROVAL.state, "JobAccepted" if accepted else "JobRejected")
    return part(_DETAIL.approve_status_list, _text(_APPROVAL.domain_id, domain_id) + state)


def _text(tag: bytes, text: str) -> bytes:
    return part(tag, text.encode()) if text else b""


def _time(tag: bytes, seconds: float | None) -> bytes:
    return b"" if seconds is None else _second(tag, int(seconds))


@lru_cache(maxsize=1024)
def _second(tag: bytes, second: int) -> bytes:
    return _text(tag, format_time(second))
