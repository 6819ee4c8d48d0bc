"""The labels by which everything is found again that servers have made on an engine."""

from collections.abc import Mapping

from msgspec import Struct

from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted.engine import Ref, Workload

STORE = "kusciajob/store"
JOB = "kusciajob/job"
TASK = "kusciajob/task"
ATTEMPT = "kusciajob/attempt"
PARTY = "kusciajob/party"
REPLICA = "kusciajob/replica"
DOMAIN = "kusciajob/domain"
TASK_ID = "kusciajob/task-id"
WORKLOAD = "kusciajob/workload"
GROUP = "kusciajob/group"
"""What the workloads of an attempt of a task share."""
PROGRAM = "kusciajob/program"
INDEX = "kusciajob/index"
COUNT = "kusciajob/count"
MEMORY = "kusciajob/memory"
"""The memory limit as its AppImage or its job states it."""
RESTARTS = "kusciajob/restarts"
"""How often it may be started again at most."""


class Place(Struct, frozen=True):
    """What the labels of a container tell: its workload, and which of its programs this is, of how many."""

    ref: Ref
    index: int
    count: int
    program: str
    memory: str
    max_restarts: int


def of_group(owner: str, key: PartyKey, group: str) -> dict[str, str]:
    """The labels of what the workloads of an attempt share."""
    return {STORE: owner, JOB: str(key.job), TASK: str(key.task), ATTEMPT: str(key.attempt), GROUP: group}


def of_container(workload: Workload, index: int, max_restarts: int) -> dict[str, str]:
    """The labels of one container of a workload."""
    ref, program = workload.ref, workload.programs[index]
    return {
        **of_group(workload.owner, ref.key, ref.task),
        PARTY: str(ref.key.party),
        REPLICA: str(ref.replica),
        DOMAIN: ref.domain_id,
        TASK_ID: workload.task_id,
        WORKLOAD: ref.name,
        PROGRAM: program.name,
        INDEX: str(index),
        COUNT: str(len(workload.programs)),
        MEMORY: program.limits.memory,
        RESTARTS: str(max_restarts),
    }


def place_of(labels: Mapping[str, str]) -> Place | None:
    """What the labels tell; None if they are not ours."""
    try:
        key = PartyKey(*(int(labels[name]) for name in (JOB, TASK, ATTEMPT, PARTY)))
        ref = Ref(labels[WORKLOAD], labels[GROUP], key, int(labels[REPLICA]), labels[DOMAIN])
        numbers = (int(labels[INDEX]), int(labels[COUNT]))
        return Place(ref, *numbers, labels[PROGRAM], labels[MEMORY], int(labels[RESTARTS]))
    except (KeyError, ValueError):
        return None


def job_of(labels: Mapping[str, str]) -> int | None:
    """The number of the job to which something belongs; None if the labels are not ours."""
    number = labels.get(JOB, "")
    return int(number) if number.isdecimal() else None


def filters(owner: str, **labels: str) -> dict[str, list[str]]:
    """What an engine is asked for: all of a store that has these labels, too, such as `job="7"`."""
    wanted = {STORE: owner, **{f"kusciajob/{name}": value for name, value in labels.items()}}
    return {"label": [f"{name}={value}" for name, value in wanted.items()]}
