"""A job as a row of a list and as what a watch tells."""

from collections import Counter

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model import failures
from kusciajob.model.limits import MAX_STATUS_BYTES
from kusciajob.model.status import JobSummary
from kusciajob.model.text import cut
from kusciajob.wire.job_status import wire_state
from kusciajob.wire.v1.times import set_time

MAX_TEXT_CHARACTERS = MAX_STATUS_BYTES // 8


def encode_summary(job: JobSummary) -> pb.JobSummary:
    """The message, with all details that the job's status has."""
    status = job.status
    if status.has_details:
        status = failures.told(status)
    message = pb.JobSummary(
        job_id=job.job_id,
        initiator=job.initiator,
        state=status.phase.state,
        err_msg=cut(status.message, MAX_TEXT_CHARACTERS),
        task_states=Counter([wire_state(task.state) for task in status.tasks]),
        progress=sum([task.progress for task in status.tasks]) / (len(status.tasks) or 1),
        custom_fields=job.traits.custom_fields,
        labels=job.traits.labels,
        number=job.number,
        revision=job.revision,
        parties=status.domains,
        app_images=job.traits.app_images,
    )
    if not status.is_damaged:
        set_time(message.create_time, status.created_at)
    set_time(message.start_time, status.phase.started_at)
    set_time(message.end_time, status.phase.ended_at)
    return message
