"""JSON files: several documents in one, and the same refusals as in YAML."""

import json
import tracemalloc

import pytest

from kusciajob.files.yaml import MAX_DEPTH, InvalidYaml, parse_json_documents
from tests.support.linear import linear_time


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        (" \n\t", []),
        ("{}", [{}]),
        ("null", []),
        (' {"a": [1, 2.5, true, null, "x"]}\n\t{"b": {}}\n[1]', [{"a": [1, 2.5, True, None, "x"]}, {"b": {}}, [1]]),
        (json.dumps({"a": {"b": "]}[{"}}, indent="\t"), [{"a": {"b": "]}[{"}}]),
        (r'"\ud83d\ude00"', ["\U0001f600"]),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
    ],
)
def test_documents(text: str, documents: object) -> None:
    assert documents in (None, parse_json_documents(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{\n"a": }', "line 2, column 6: Expecting value"),
        ("{} x", "line 1, column 4: Expecting value"),
        ('{"a": 1, "b": 2, "a": 3}', 'key "a" stands twice'),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": -Infinity}', "-Infinity is no JSON"),
        (r'{"a": "\ud800"}', "half of a surrogate pair"),
        (r'{"\uDC00": 1}', "half of a surrogate pair"),
        ('{"a": ' + "1" * 5000 + "}", "it is no JSON: "),
        ("\n" + "[" * 1_000_000, "line 2: nested deeper than 64 levels"),
        ('{"a":' * 500_000, "nested deeper than 64 levels"),
        ("x" * (4 * 1024 * 1024 + 1), "longer than 4194304 characters"),
        ('"' * 1_000_001, "Unterminated string"),
        ('"' + '\\"' * 1_000_000, "Unterminated string"),
        ('"' + '\\"' * 1_000_000 + "\\", "Unterminated string"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with linear_time(), pytest.raises(InvalidYaml) as caught:
        parse_json_documents(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_reading_takes_a_few_times_the_memory_of_the_text() -> None:
    text = '{"a": "' + '\\"x' * 1_000_000 + '"}'
    tracemalloc.start()
    try:
        parse_json_documents(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10 * len(text)
