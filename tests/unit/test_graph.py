"""Which dependencies make no graph."""

import pytest

from kusciajob.model import graph, rules
from kusciajob.model.errors import InvalidJob


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [("a", ())],
        [("a", ("b", "b")), ("b", ())],
        [("a", ("b", "c")), ("b", ("d",)), ("c", ("d",)), ("d", ())],
    ],
)
def test_what_is_accepted(nodes: list[tuple[str, tuple[str, ...]]]) -> None:
    rules.require(graph.problems(nodes))


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([("a", ("a",))], 'task "a" depends on itself: remove it from its own dependencies'),
        ([("a", ("x",)), ("b", ())], 'task "a" depends on "x", which is no alias of this job; possible: b'),
        (
            [("a", ("x",)), *((f"t{index:02}", ()) for index in range(12))],
            'task "a" depends on "x", which is no alias of this job; '
            "possible: t00, t01, t02, t03, t04, t05, t06, t07, t08, t09",
        ),
        ([("a", ("b",)), ("b", ("a",))], "dependencies form a cycle: a -> b -> a"),
        (
            [("start", ("a",)), ("a", ("b",)), ("b", ("c",)), ("c", ("a", "end")), ("end", ())],
            "dependencies form a cycle: a -> b -> c -> a",
        ),
    ],
)
def test_what_is_refused(nodes: list[tuple[str, tuple[str, ...]]], text: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        rules.require(graph.problems(nodes))
    assert str(refused.value) == text
