"""YAML from others: the plain core is read, everything that is ambiguous or grows is refused quickly."""

from pathlib import Path
from typing import Any

import pytest

from kusciajob.files.yaml import MAX_NODES, InvalidYaml, parse_documents, read_text
from tests.support.linear import linear_time

EXPANDING = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGING = (
    "a: &a {" + ", ".join(f"k{n}: 1" for n in range(3000)) + "}\n" + "".join(f"m{n}: {{<<: *a}}\n" for n in range(3000))
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---\n---\n# nothing\n", []),
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("[1, -2, 1.5, .5, 1.0e3, true, False, null, ~, ]", [[1, -2, 1.5, 0.5, 1000.0, True, False, None, None]]),
        ("[on, no, y, 0644, 0x1f, 1_000]", [["on", "no", "y", "0644", "0x1f", "1_000"]]),
        ("[12:30, 2023-01-01, =]", [["12:30", "2023-01-01", "="]]),
        ("[9999999999999999999999]", [["9999999999999999999999"]]),
        ("a:\nb: ''\nc: !!str 12\n", [{"a": None, "b": "", "c": "12"}]),
        ("a: &x {k: v}\nb: {<<: *x, z: *x}\n", [{"a": {"k": "v"}, "b": {"k": "v", "z": {"k": "v"}}}]),
        ("a: |\n  {{.X}}\n", [{"a": "{{.X}}\n"}]),
        ('{"a": "\\u00e9"}', [{"a": "é"}]),
    ],
)
def test_plain_values(text: str, expected: list[Any]) -> None:
    assert parse_documents(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3, column 1: key "a" stands twice'),
        ("name: {{.NAME}}", 'line 1, column 7: the placeholder "{{.NAME}}" of a template'),
        ("12: a", "a key must be text: one like 12 or true needs quotes"),
        ("? [a]\n: b", "a key must be text"),
        ("a: !!int x", "tag tag:yaml.org,2002:int is not possible"),
        ("a: !!python/object/apply:os.system [ls]", "is not possible: plain values only"),
        ("a: !!timestamp 2020-99-99", "is not possible"),
        ("a: [1,", "did not find expected node content"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("a: *x", "undefined alias"),
        ("a: &a [*a]", "alias *a stands inside its own value"),
        ("a: \x01", "control characters are not allowed"),
        ("a: \ud800", "surrogates not allowed"),
        ("[" * 1_000_000, "nested deeper than 64 levels"),
        ("- " * 1_000_000, "nested deeper than 64 levels"),
        ("- 1\n" * 500_000, f"more than {MAX_NODES} values"),
        (EXPANDING, f"more than {MAX_NODES} values, with its aliases expanded"),
        (MERGING, f"more than {MAX_NODES} values, with its aliases expanded"),
        ("x" * (4 * 1024 * 1024 + 1), "longer than 4194304 characters"),
        ("a: " + "1:" * 500_000, "mapping values are not allowed"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with linear_time(), pytest.raises(InvalidYaml) as caught:
        parse_documents(text)
    assert problem in str(caught.value)


def test_read_text(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9")
    assert read_text(file) == "a: é"
    assert read_text(file, limit_bytes=8) == "a: é"
    with pytest.raises(InvalidYaml, match="larger than 7 bytes"):
        read_text(file, limit_bytes=7)
    file.write_bytes(b"a: \xff")
    with pytest.raises(InvalidYaml, match="not UTF-8 text: byte 3 is 0xff"):
        read_text(file)
    with pytest.raises(InvalidYaml, match="cannot be read: No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(InvalidYaml, match="cannot be read: Is a directory"):
        read_text(tmp_path)
