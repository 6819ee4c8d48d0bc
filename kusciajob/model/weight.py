"""What values take in memory, roughly: for whoever keeps some of them. One rule: so much a record, and its long texts.

A record is a job, a task, a party or an address, or what something is kept under.
"""

import sys
from collections.abc import Sized

from kusciajob.model.job import JobSpec
from kusciajob.model.status import Job, JobStatus, TaskStatus

RECORD_BYTES = 320
"""Measured: a job's status as it is read takes 200 to 300 for each record. Names count too: they are no other job's."""
FORMS = 3
"""What a status weighs with its encodings, protobuf and JSON, in multiples of itself."""
KEPT_BYTES = 24 << 20
"""So much may each cache hold."""


def task_bytes(task: TaskStatus) -> int:
    """Of a task's status."""
    records = 1 + len(task.parties)
    texts = len(task.message)
    for party in task.parties:
        if party.message:
            texts += 2 * len(party.message) + 2 * len(party.detail)
        if party.endpoints:
            records += len(party.endpoints)
    return records * RECORD_BYTES + texts


def status_bytes(status: JobStatus) -> int:
    """Of a job's status."""
    return RECORD_BYTES + 2 * len(status.message) + sum(map(task_bytes, status.tasks))


def spec_bytes(spec: JobSpec) -> int:
    """Of a specification, its inputs to the byte."""
    weight = RECORD_BYTES
    for task in spec.tasks:
        weight += (1 + len(task.parties)) * RECORD_BYTES + sys.getsizeof(task.task_input_config)
        for party in task.parties:
            if party.bandwidth_limits:
                weight += RECORD_BYTES * len(party.bandwidth_limits)
    return weight


def job_bytes(job: Job) -> int:
    """Of a whole job."""
    return spec_bytes(job.spec) + status_bytes(job.status)


def encoded_bytes(data: Sized) -> int:
    """Of something encoded, with what it is kept under."""
    return RECORD_BYTES + len(data)
