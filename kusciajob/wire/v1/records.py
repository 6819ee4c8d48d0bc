"""What is kept beside jobs: their history, and the calls that changed something or wanted to."""

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.history import AuditEntry, HistoryEntry, HistoryEvent
from kusciajob.wire.v1.summaries import timestamp


def encode_history(entry: HistoryEntry) -> pb.JobHistoryEntry:
    """The message, with its detail if it has one."""
    # The end of a job is told with its state.
    texts = (entry.state if entry.event is HistoryEvent.ENDED else "", entry.reason, entry.detail)
    return pb.JobHistoryEntry(
        time=timestamp(entry.at),
        revision=entry.revision,
        event=entry.event,
        caller=entry.caller,
        peer=entry.peer,
        alias=entry.alias,
        attempt=entry.attempt,
        domain_id=entry.domain_id,
        role=entry.role,
        reason=": ".join(filter(None, texts)),
        exit_code=entry.exit_code,
        progress=entry.progress,
        was_stopped=entry.was_stopped,
    )


def encode_audit(entry: AuditEntry) -> pb.AuditEntry:
    return pb.AuditEntry(
        id=entry.id,
        time=timestamp(entry.at),
        caller=entry.caller,
        peer=entry.peer,
        method=entry.method,
        job_id=entry.subject,
        code=entry.code,
        reason=entry.reason,
    )
