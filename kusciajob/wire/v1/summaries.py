"""A job as lists and watches of kusciajob.v1 show it."""

from collections import Counter

from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model import failures, transitions
from kusciajob.model.status import JobState, JobSummary
from kusciajob.model.text import cut
from kusciajob.wire.job_status import wire_state

MAX_TEXT_CHARACTERS = 1024
"""Of an err_msg: a page has a thousand of them. The job's status has the whole text."""
DELETE = "Delete"
"""Possible in every state."""


def encode_job(job: JobSummary) -> pb.JobSummary:
    """The row of a job, with all details that its status has. A damaged one has neither times nor tasks."""
    status, phase = job.status, job.status.phase
    told = failures.told(status) if status.has_details else status
    row = pb.JobSummary(
        job_id=job.job_id,
        initiator=job.initiator,
        state=phase.state,
        err_msg=cut(told.message, MAX_TEXT_CHARACTERS),
        cause=cut(failures.cause_text(told), MAX_TEXT_CHARACTERS) if phase.state is JobState.FAILED else "",
        create_time=None if status.is_damaged else timestamp(status.created_at),
        start_time=timestamp(phase.started_at),
        end_time=timestamp(phase.ended_at),
        task_states=Counter([wire_state(task.state) for task in status.tasks]),
        custom_fields=job.traits.custom_fields,
        labels=job.traits.labels,
        number=job.number,
        revision=job.revision,
        parties=status.domains,
        app_images=job.traits.app_images,
        operations=(*transitions.possible_operations(status), DELETE),
        restart_time=timestamp(status.restarted_at),
    )
    if status.tasks:
        row.progress = sum([task.progress for task in status.tasks]) / len(status.tasks)
    return row


def timestamp(seconds: float | None) -> Timestamp | None:
    """A time with its microseconds."""
    if seconds is None:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp
