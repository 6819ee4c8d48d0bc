"""The labels by which everything is found again that servers have made on an engine."""

from collections.abc import Mapping

from kusciajob.contracts import PartyKey

PREFIX = "kusciajob/"
STORE = PREFIX + "store"
JOB = PREFIX + "job"
TASK = PREFIX + "task"
ATTEMPT = PREFIX + "attempt"
PARTY = PREFIX + "party"
REPLICA = PREFIX + "replica"
DOMAIN = PREFIX + "domain"
TASK_ID = PREFIX + "task-id"
WORKLOAD = PREFIX + "workload"
GROUP = PREFIX + "group"
"""What the workloads of an attempt of a task share."""


def of_group(owner: str, key: PartyKey, group: str) -> dict[str, str]:
    """The labels of what the workloads of an attempt share. `owner`: the store, as the engine's labels have it."""
    return {STORE: owner, JOB: str(key.job), TASK: str(key.task), ATTEMPT: str(key.attempt), GROUP: group}


def key_of(labels: Mapping[str, str]) -> PartyKey:
    """The party that a workload's labels name. Raises KeyError or ValueError if they are not ours."""
    return PartyKey(*(int(labels[name]) for name in (JOB, TASK, ATTEMPT, PARTY)))


def job_of(labels: Mapping[str, str]) -> int | None:
    """The number of the job to which something belongs; None if the labels are not ours."""
    number = labels.get(JOB, "")
    return int(number) if number.isdecimal() else None
