"""The dependency graph of a job's tasks."""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from kusciajob.model.errors import Problem
from kusciajob.model.text import bare, listed, shown


def problems(nodes: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Problem]:
    """What keeps the (alias, dependencies) pairs from being a graph without cycles and unknown names.

    Each cycle is told that has no task in common with one told before.
    """
    if _is_in_order(nodes):
        return
    aliases = {alias for alias, _ in nodes}
    known: dict[str, list[str]] = {alias: [] for alias, _ in nodes}
    for index, (alias, dependencies) in enumerate(nodes):
        for position, dependency in enumerate(dependencies):
            place = f"tasks[{index}].dependencies[{position}]"
            if dependency == alias:
                text = f"task {shown(alias)} depends on itself: remove it from its own dependencies"
                yield Problem(place, text)
            elif dependency not in aliases:
                possible = ", ".join(map(bare, sorted(aliases - {alias})[:10])) or "none"
                text = f"task {shown(alias)} depends on {shown(dependency)}, which is no alias of this job"
                yield Problem(place, f"{text}; possible: {possible}")
            else:
                known[alias].append(dependency)
    places: dict[str, tuple[int, Sequence[str]]] = {}
    for index, (alias, dependencies) in enumerate(nodes):
        places.setdefault(alias, (index, dependencies))
    while cycle := _cycle_in(known):
        index, dependencies = places[cycle[0]]
        position = list(dependencies).index(cycle[1]) if cycle[1] in dependencies else 0
        text = f"dependencies form a cycle: {listed(list(map(bare, cycle)), ' -> ')}"
        yield Problem(f"tasks[{index}].dependencies[{position}]", text)
        known = {alias: [each for each in own if each not in cycle] for alias, own in known.items()}


def waves(nodes: Sequence[tuple[str, Sequence[str]]]) -> list[list[str]]:
    """The aliases of a graph without problems, each as early as its dependencies allow, in the order of declaration."""
    wave_of: dict[str, int] = {}
    dependencies = dict(nodes)
    for alias in TopologicalSorter(dependencies).static_order():
        wave_of[alias] = max((wave_of[each] + 1 for each in dependencies[alias]), default=0)
    found: list[list[str]] = [[] for _ in range(max(wave_of.values(), default=-1) + 1)]
    for alias, _ in nodes:
        found[wave_of[alias]].append(alias)
    return found


def _cycle_in(dependencies: dict[str, list[str]]) -> list[str]:
    """The aliases of a cycle, each before one that it depends on, the first also last; empty without a cycle."""
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        # CycleError lists a node before its dependents. The text goes the other way: "a depends on b".
        return list(reversed(error.args[1]))
    return []


def _is_in_order(nodes: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether every task comes after its dependencies. Then there is no cycle. Most jobs are written so."""
    before: set[str] = set()
    for alias, dependencies in nodes:
        if not before.issuperset(dependencies):
            return False
        before.add(alias)
    return True
