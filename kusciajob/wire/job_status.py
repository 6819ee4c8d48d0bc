"""A job's status as protobuf. Its parts are concatenated: protobuf merges concatenated messages into one.

Most tasks and parties of a job are the same as at its last event, or as in other jobs. So the bytes of each are cached,
as a message that holds nothing else. A status that is too large for clients is cut.
"""

import time
from contextlib import suppress
from functools import lru_cache

from cachetools import LRUCache
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
from kusciajob.wire.nested import nested, tag_of

KEPT_MESSAGE_CHARACTERS = 256
"""The encoding of a party with a longer text is not kept: it is hardly another's."""
KEPT_ENDPOINTS = 8
TEXT_CHARACTERS = (1024, 256, 64, 0)
"""To so many characters texts are cut until a status fits."""


def encode_event(event: JobEvent) -> bytes:
    """A serialised WatchJobEventResponse."""
    return _EVENT_TYPES[event.type] + nested(_OBJECT, encode_summary(event.job))


def event_message(event: JobEvent) -> pb.WatchJobEventResponse:
    """The same as a message."""
    return pb.WatchJobEventResponse.FromString(encode_event(event))


def encode_summary(job: JobSummary) -> bytes:
    """A serialised JobStatus."""
    return pb.JobStatus(job_id=job.job_id).SerializeToString() + nested(_STATUS, encode_status(job.status))


def encode_status(status: JobStatus) -> bytes:
    """A serialised JobStatusDetail of at most MAX_STATUS_BYTES, with all details that the status has."""
    if status.has_details:
        status = failures.told(status)
    encoded = _encode_status(status)
    return encoded if len(encoded) <= MAX_STATUS_BYTES else _encode_cut(status, len(encoded))


def _encode_status(status: JobStatus) -> bytes:
    phase, stage, domains = status.phase, status.stage.kind, status.domains
    own = pb.JobStatusDetail(
        state=phase.state,
        err_msg=status.message,
        create_time="" if status.is_damaged else format_time(status.created_at),
        start_time=format_time(phase.started_at),
        end_time=format_time(phase.ended_at),
    )
    parts = [
        own.SerializeToString(),
        *map(_encode_task, status.tasks),
        *[_encode_stage(domain, stage) for domain in domains],
        *_encode_approvals(status, domains),
    ]
    return b"".join(parts)


def _encode_cut(status: JobStatus, size: int) -> bytes:
    """Shorten texts; then leave out addresses; then, for jobs of earlier versions, shorten names and lists."""
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
    """The status with texts of that many characters; with 0, also without addresses. `parties` is for each task."""

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


def format_time(seconds: float | None) -> str:
    """RFC 3339, UTC, whole seconds; empty for None."""
    return "" if seconds is None else _format_second(int(seconds))


@lru_cache(maxsize=1024)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def wire_state(state: TaskState) -> str:
    """A task's or party's state as clients know it."""
    return JobState.PENDING.value if state is TaskState.STARTING else state.value


_EVENT_TYPES = {kind: pb.WatchJobEventResponse(type=kind.value).SerializeToString() for kind in EventType}
_OBJECT = tag_of(pb.WatchJobEventResponse, "object")
_STATUS = tag_of(pb.JobStatus, "status")
_TASKS = tag_of(pb.JobStatusDetail, "tasks")

_kept_tasks: LRUCache[TaskStatus, tuple[bytes, int]] = LRUCache(weight.KEPT_BYTES, lambda kept: kept[1])
"""A task as a part of JobStatusDetail, and what it weighs with the status that it is kept under."""


def _encode_task(task: TaskStatus) -> bytes:
    """As a part of JobStatusDetail."""
    kept = _kept_tasks.get(task)
    if kept is not None:
        return kept[0]
    own = pb.TaskStatus(
        task_id=task.task_id,
        state=wire_state(task.state),
        err_msg=task.message,
        create_time=format_time(task.created_at),
        start_time=format_time(task.phase.started_at),
        end_time=format_time(task.phase.ended_at),
        alias=task.alias,
        progress=task.progress,
    )
    encoded = nested(_TASKS, b"".join((own.SerializeToString(), *map(_encode_party, task.parties))))
    with suppress(ValueError):  # too large by itself
        _kept_tasks[task] = encoded, len(encoded) + weight.task_bytes(task)
    return encoded


def _encode_party(party: PartyStatus) -> bytes:
    """Encode a party as a part of TaskStatus."""
    # Only what is told: the times of a party would make each one another.
    told = party.domain_id, wire_state(party.state), party.message, party.endpoints
    if len(party.message) <= KEPT_MESSAGE_CHARACTERS and len(party.endpoints) <= KEPT_ENDPOINTS:
        return _kept_party(*told)
    return _encode_any_party(*told)


def _encode_any_party(domain_id: str, state: str, text: str, endpoints: tuple[Endpoint, ...]) -> bytes:
    task = pb.TaskStatus()
    message = task.parties.add(domain_id=domain_id, state=state, err_msg=text)
    for endpoint in endpoints:
        if endpoint.scope != "Local":
            message.endpoints.add(port_name=endpoint.port_name, scope=endpoint.scope, endpoint=endpoint.address)
    return task.SerializeToString()


_kept_party = lru_cache(maxsize=1024)(_encode_any_party)


@lru_cache(maxsize=1024)
def _encode_stage(domain_id: str, stage: StageKind) -> bytes:
    """As a part of JobStatusDetail."""
    own = pb.PartyStageStatus(domain_id=domain_id, state=f"Job{stage}StageSucceeded")
    return pb.JobStatusDetail(stage_status_list=[own]).SerializeToString()


def _encode_approvals(status: JobStatus, domains: tuple[str, ...]) -> list[bytes]:
    """The answer of each domain, in order of first appearance. If no approval is needed, all have accepted."""
    if not status.awaited:
        return [_encode_approval(domain, True) for domain in domains]
    given = {approval.domain_id: approval.accepted for approval in status.approvals}
    # An initiator that is no party may have answered too.
    return [_encode_approval(domain, given[domain]) for domain in dict.fromkeys((*domains, *given)) if domain in given]


@lru_cache(maxsize=1024)
def _encode_approval(domain_id: str, accepted: bool, /) -> bytes:
    """As a part of JobStatusDetail."""
    own = pb.PartyApproveStatus(domain_id=domain_id, state="JobAccepted" if accepted else "JobRejected")
    return pb.JobStatusDetail(approve_status_list=[own]).SerializeToString()
