"""What the labels of a container tell, beside whose it is."""

from collections.abc import Mapping

from msgspec import Struct

from kusciajob.runtime.hosted.engine import Ref, Workload
from kusciajob.runtime.hosted.labels import (
    DOMAIN,
    GROUP,
    PARTY,
    PREFIX,
    REPLICA,
    STORE,
    TASK_ID,
    WORKLOAD,
    key_of,
    of_group,
)

PROGRAM = PREFIX + "program"
INDEX = PREFIX + "index"
COUNT = PREFIX + "count"
MEMORY = PREFIX + "memory"
"""The memory limit as its AppImage or its job states it."""
RESTARTS = PREFIX + "restarts"
"""How often it may be started again at most."""


class Place(Struct, frozen=True):
    """What the labels of a container tell: its workload, and which of its programs this is, of how many."""

    ref: Ref
    index: int
    count: int
    program: str
    memory: str
    max_restarts: int


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
        ref = Ref(labels[WORKLOAD], labels[GROUP], key_of(labels), int(labels[REPLICA]), labels[DOMAIN])
        numbers = (int(labels[INDEX]), int(labels[COUNT]))
        return Place(ref, *numbers, labels[PROGRAM], labels[MEMORY], int(labels[RESTARTS]))
    except (KeyError, ValueError):
        return None


def filters(owner: str, **labels: str) -> dict[str, list[str]]:
    """What an engine is asked for: all of a store that has these labels, too, such as `job="7"`."""
    wanted = {STORE: owner, **{PREFIX + name: value for name, value in labels.items()}}
    return {"label": [f"{name}={value}" for name, value in wanted.items()]}
