"""`$(NAME)` becomes what Kubernetes makes of it."""

import pytest

from kusciajob.model.expansion import expand
from tests.support.linear import linear_time

VALUES = {"A": "one", "B": "$(A)", "EMPTY": "", "with-dash.x": "dashed", "": "nameless"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "one"),
        ("<$(A)-$(A)>", "<one-one>"),
        ("$(B)", "$(A)"),
        ("$(EMPTY)", ""),
        ("$(with-dash.x)", "dashed"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("a$$b", "a$b"),
        ("$A ${A} $", "$A ${A} $"),
        ("$$", "$"),
        ("$(A", "$(A"),
        ("$(A $$", "$(A $"),
        ("$(NOPE$(A)", "$(NOPE$(A)"),
        ("$(cat port.txt) $(A)", "$(cat port.txt) one"),
        ("$x$(A)", "$xone"),
        ("$()", "nameless"),
        ("http://$(A):80/$$(x)/$(NOPE)", "http://one:80/$(x)/$(NOPE)"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand(text, VALUES) == expected


@pytest.mark.parametrize("text", ["$(" * 500_000, "$(" * 500_000 + ")", "$" * 1_000_000, "$(A)" * 250_000])
def test_long_texts_take_linear_time(text: str) -> None:
    with linear_time():
        expand(text, VALUES)
