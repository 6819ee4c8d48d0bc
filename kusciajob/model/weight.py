"""Estimates the memory that values take, for caches with a budget: a fixed size per record, plus its long texts.

A record is a job, a task, a party, an address, or the key of a cache entry.
"""

import sys
from collections.abc import Sized

from kusciajob.model.job import JobSpec, Traits
from kusciajob.model.status import Job, JobStatus, TaskStatus

RECORD_BYTES = 320
"""Measured: a job's status as it is read takes 200 to 300 for each record. Names count too: they are no other job's."""
FORMS = 3
"""What a status weighs with its encodings, protobuf and JSON, in multiples of itself."""
KEPT_BYTES = 24 << 20
"""So much may each cache hold."""


def task_bytes(task: TaskStatus) -> int:
    """The bytes of a task's status."""
    records = 1 + len(task.parties)
    texts = len(task.message)
    for party in task.parties:
        if party.message:
            texts += 2 * len(party.message) + 2 * len(party.detail)
        if party.endpoints:
            records += len(party.endpoints)
    return records * RECORD_BYTES + texts


def status_bytes(status: JobStatus) -> int:
    """The bytes of a job's status."""
    return RECORD_BYTES + 2 * len(status.message) + sum(map(task_bytes, status.tasks))


def traits_bytes(traits: Traits) -> int:
    """The bytes of what lists and watches tell of a job's specification."""
    size = RECORD_BYTES + sum(map(len, traits.app_images))
    for fields in (traits.custom_fields, traits.labels):
        if fields:
            size += 2 * sum(map(len, fields)) + 2 * sum(map(len, fields.values()))
    return size


def spec_bytes(spec: JobSpec) -> int:
    """The bytes of a specification. The inputs of its tasks are counted exactly."""
    weight = RECORD_BYTES
    for task in spec.tasks:
        weight += (1 + len(task.parties)) * RECORD_BYTES + sys.getsizeof(task.task_input_config)
        for party in task.parties:
            if party.bandwidth_limits:
                weight += RECORD_BYTES * len(party.bandwidth_limits)
    return weight


def job_bytes(job: Job) -> int:
    """The bytes of a whole job."""
    return spec_bytes(job.spec) + status_bytes(job.status)


def encoded_bytes(data: Sized) -> int:
    """The bytes of something encoded, with its key."""
    return RECORD_BYTES + len(data)
