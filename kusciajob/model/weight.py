"""What values take in memory, roughly and rather too much: for whoever keeps some of them."""

import sys

from kusciajob.model.job import JobSpec
from kusciajob.model.status import JobStatus, TaskStatus

STATUS_BYTES, TASK_BYTES, PARTY_BYTES, ENDPOINT_BYTES = 1024, 768, 192, 320


def task_bytes(task: TaskStatus) -> int:
    """Of a task's status. Names count too: those read from a file are no other job's."""
    weight = TASK_BYTES + len(task.message) + len(task.parties) * PARTY_BYTES
    for party in task.parties:
        if party.message:
            weight += 2 * len(party.message) + 2 * len(party.detail)
        if party.endpoints:
            weight += ENDPOINT_BYTES * len(party.endpoints)
    return weight


def status_bytes(status: JobStatus) -> int:
    """Of a job's status."""
    weight = STATUS_BYTES + 2 * len(status.message)
    for task in status.tasks:
        weight += task_bytes(task)
    return weight


def spec_bytes(spec: JobSpec) -> int:
    """Of a specification, its inputs to the byte."""
    weight = STATUS_BYTES
    for task in spec.tasks:
        weight += TASK_BYTES + sys.getsizeof(task.task_input_config) + PARTY_BYTES * len(task.parties)
        for party in task.parties:
            if party.bandwidth_limits:
                weight += PARTY_BYTES * len(party.bandwidth_limits)
    return weight
