"""The dependency graph of a job's tasks."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from kusciajob.model.errors import InvalidJob
from kusciajob.model.text import bare, listed, shown


def check(nodes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Raise InvalidJob unless the (alias, dependencies) pairs form a graph without cycles or unknown names."""
    if _is_in_order(nodes):
        return
    aliases = {alias for alias, _ in nodes}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for alias, dependencies in nodes:
        for dependency in dependencies:
            if dependency == alias:
                raise InvalidJob(f"task {shown(alias)} depends on itself: remove it from its own dependencies")
            if dependency not in aliases:
                known = ", ".join(map(bare, sorted(aliases - {alias})[:10])) or "none"
                raise InvalidJob(
                    f"task {shown(alias)} depends on {shown(dependency)}, "
                    f"which is no alias of this job; possible: {known}"
                )
        sorter.add(alias, *dependencies)
    try:
        sorter.prepare()
    except CycleError as error:
        # CycleError lists a node before its dependents. The text goes the other way: "a depends on b".
        cycle = listed(list(map(bare, reversed(error.args[1]))), " -> ")
        raise InvalidJob(f"dependencies form a cycle: {cycle}") from None


def _is_in_order(nodes: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether every task comes after its dependencies. Then there is no cycle. Most jobs are written so."""
    before: set[str] = set()
    for alias, dependencies in nodes:
        if not before.issuperset(dependencies):
            return False
        before.add(alias)
    return True
