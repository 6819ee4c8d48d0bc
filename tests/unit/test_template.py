"""Config templates: what becomes of each kind of reference, and which texts are refused with which words."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob.model import template
from kusciajob.model.cluster import ClusterParty, Service, cluster_define
from kusciajob.model.errors import TemplateError
from kusciajob.model.template import MAX_MISSING, Rendered, render
from tests.support.linear import linear_time

PARTIES = [
    ClusterParty("alice", "host", (Service("spu", ("127.0.0.1:1", "127.0.0.1:2")),)),
    ClusterParty("bob", "guest", (Service("spu", ("127.0.0.1:3",)), Service("fed", ("127.0.0.1:4",)))),
]
VALUES = {
    "TASK_ID": "job-psi",
    "QUOTED": 'a "b"\n\\c\t\x01 é 中',
    "TASK_CLUSTER_DEFINE": cluster_define(PARTIES, self_party=1),
    "DATA": ' {"i": 12345678901234567890123, "f": 1.50, "t": true, "n": null, "s": "x\\"\\u00e9\\n",'
    ' "o": {"a": [1, 2]},'
    ' "l": [10, 20, 30], "": 1, "a b": "blank", "last": -1, "key": "s"} ',
    "RECURSIVE": "{{.TASK_ID}} {{{.TASK_ID}}}",
    "lower": "case",
    "PLAIN": "just text",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("no references } }} { here", "no references } }} { here"),
        ("{{.TASK_ID}}", "job-psi"),
        ("{{ .TASK_ID }}-{{.TASK_ID}}\n", "job-psi-job-psi\n"),
        ('{"a":{"b":{{.TASK_ID}}}}', '{"a":{"b":job-psi}}'),
        ('{"a":{{{.DATA.o}}}}', '{"a":{"a": [1, 2]}}'),
        ("{{{{.TASK_ID}}}}", "{job-psi}"),
        ("{{.RECURSIVE}}", "{{.TASK_ID}} {{{.TASK_ID}}}"),
        ("{{{.RECURSIVE}}}", "{{.TASK_ID}} {{{.TASK_ID}}}"),
        ("{{.LOWER}} {{.lower}}", "case case"),
        ("{{{.QUOTED}}}", VALUES["QUOTED"]),
        ("{{{.DATA.i}}}", "12345678901234567890123"),
        ("{{{.DATA.f}}} {{{.DATA.t}}} {{{.DATA.n}}}", "1.50 true null"),
        ("{{{.DATA.s}}}", 'x"é\n'),
        ("{{{.DATA.o.a}}}", "[1, 2]"),
        ("{{{ .DATA.l[0] }}} {{{.DATA.l[-1]}}} {{{.DATA.l[ 1 ]}}}", "10 30 20"),
        ("{{{.DATA.a b}}}", "blank"),
        ("{{{.DATA[.DATA.key]}}}", 'x"é\n'),
        ("{{{.DATA.l[.DATA.last]}}}", "30"),
        ("{{{.TASK_CLUSTER_DEFINE.selfPartyIdx}}}", "1"),
        ("{{{.TASK_CLUSTER_DEFINE.parties[0].name}}}", "alice"),
        ("{{{.TASK_CLUSTER_DEFINE.parties[name=bob].role}}}", "guest"),
        ("{{{.TASK_CLUSTER_DEFINE.parties[ name = bob ].services[portName=fed].endpoints[0]}}}", "127.0.0.1:4"),
        (
            "{{{.TASK_CLUSTER_DEFINE.parties[.TASK_CLUSTER_DEFINE.selfPartyIdx].services[0].endpoints[0]}}}",
            "127.0.0.1:3",
        ),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert render(text, VALUES) == Rendered(expected)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_in_two_braces_fits_into_a_json_string(value: str) -> None:
    assert json.loads(render('{"config": "{{.X}}"}', {"X": value}).text) == {"config": value}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_in_three_braces_is_written_as_it_is(value: str) -> None:
    assert render("<{{{.X}}}>", {"X": value}).text == f"<{value}>"


@given(st.text("{}.[]=X a0-\n", max_size=60))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        rendered = render(text, {"X": '{"a":[{"X":"0"}]}'}, is_strict=True).text
    except TemplateError:
        return
    assert "{{" in text or rendered == text


NOT_FOUND = [
    ("{{.NOPE}}", 'there is no "NOPE"; the names are "DATA", "LOWER", "PLAIN"'),
    ("{{{.NOPE}}}", 'there is no "NOPE"'),
    ("{{{.NOPE.a}}}", 'there is no "NOPE"'),
    ("{{{.DATA.zzz}}}", 'there is no field "zzz"; the fields are "", "a b", "f"'),
    ("{{{.DATA.l[3]}}}", "index 3 is outside a list of 3"),
    ("{{{.DATA.l[-4]}}}", "index -4 is outside a list of 3"),
    ("{{{.DATA.l.x}}}", '"x" is not an index of a list: a number or key=value is needed'),
    ("{{{.DATA.l[99999999999999999999]}}}", "is not an index of a list"),
    ("{{{.DATA.f.x}}}", '"x" is looked for in a plain value'),
    ("{{{.PLAIN.x}}}", '"x" is looked for in a plain value'),
    ("{{{.DATA[a=b]}}}", "[a=b] selects from a list, and this is none"),
    ("{{{.TASK_CLUSTER_DEFINE.parties[name=eve]}}}", 'no entry has "name" = "eve"; the values are "alice", "bob"'),
    ("{{{.DATA[.NOPE]}}}", 'there is no "NOPE"'),
]
UNREADABLE = [
    ("{{.DATA.i}}", "a path into a value takes three braces: {{{.DATA.i}}}"),
    ("{{if .TASK_ID}}", "only {{.NAME}} and {{{.NAME.path}}} are known here"),
    ("{{}}", "only {{.NAME}}"),
    ("{{.TASK_ID", 'no "}}" closes it within 1024 characters'),
    ("{{{.TASK_ID}}", 'no "}}}" closes it'),
    ("{{{.DATA.}}}", "a name is missing"),
    ("{{{..DATA}}}", "a name is missing"),
    ("{{{.DATA.l[]}}}", "a name is missing"),
    ("{{{.DATA.l[0}}}", 'no "]" closes "[0"'),
    ("{{{.DATA.l[0]x}}}", '"." or "[" is expected at "x"'),
    ("{{{.DATA.l]}}}", '"." or "[" is expected at "]"'),
    ("{{{.DATA" + "[.DATA" * 10 + ".key" + "]" * 10 + "}}}", "look-ups are nested deeper than 8"),
]


@pytest.mark.parametrize(("text", "problem"), NOT_FOUND)
def test_what_finds_nothing_is_empty_and_told(text: str, problem: str) -> None:
    rendered = render(f"first line\n<{text}>\n# {text}", VALUES, file_name="task-config.conf")
    assert rendered.text == "first line\n<>\n# "
    assert [(missing.expression, missing.line) for missing in rendered.missing] == [(text, 2), (text, 3)]
    assert problem in rendered.missing[0].text
    assert "in task-config.conf, line 2: " in rendered.missing[0].text


@pytest.mark.parametrize(("text", "problem"), NOT_FOUND + UNREADABLE)
def test_a_strict_template_must_find_everything(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(f"first line\n{text}", VALUES, file_name="task-config.conf", is_strict=True)
    assert problem in str(caught.value)
    assert "in task-config.conf, line 2: " in str(caught.value)
    assert text[:30] in str(caught.value)


@pytest.mark.parametrize(("text", "problem"), UNREADABLE)
def test_what_cannot_be_read_is_always_refused(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(text, VALUES)
    assert problem in str(caught.value)


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "{{{.OSS.zzz}}}",
        "{{{.oss.list[name=zzz]}}}",
        "{{{.OSS.list[7]}}}",
        "{{{.PUBLIC[.OSS.key]}}}",
        "{{{.PUBLIC.list[.OSS.key]}}}",
        "{{{.OSS.key.deeper}}}",
        "{{{.BROKEN.key}}}",
    ],
)
def test_no_text_shows_a_secret(text: str, *, is_strict: bool) -> None:
    values = {
        "OSS": '{"key": "s3cret", "list": [{"name": "s3cret"}]}',
        "oss": '{"key": "s3cret", "list": [{"name": "s3cret"}]}',
        "PUBLIC": '{"list": [1]}',
        "BROKEN": '{"s3cret" x',
    }
    try:
        told = [
            missing.text for missing in render(text, values, secrets=["oss", "BROKEN"], is_strict=is_strict).missing
        ]
    except TemplateError as error:
        told = [str(error)]
    assert len(told) == 1
    assert "which are not shown" in told[0]
    assert "s3cret" not in told[0]


def test_of_many_references_that_find_nothing_some_are_told() -> None:
    assert len(render("{{.X}}" * 1000, {}).missing) == MAX_MISSING


@pytest.mark.parametrize("value", ['{"a": ', '{"a": nan}', '{"a": "\\ud800"}', '{"a":1} x', "[" * 100_000, "\ud800{"])
def test_a_path_into_broken_json_is_refused(value: str) -> None:
    with pytest.raises(TemplateError, match=r"the value of X is not readable as JSON|plain value"):
        render("{{{.X.a}}}", {"X": value}, is_strict=True)


def test_a_long_list_of_names_is_cut() -> None:
    with pytest.raises(TemplateError, match=r'"N39" and 960 more|and 960 more') as caught:
        render("{{.X}}", {f"N{number}": "" for number in range(1000)}, is_strict=True)
    assert len(str(caught.value)) < 1000


def test_the_size_of_what_is_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "MAX_RENDERED_CHARACTERS", 1000)
    assert len(render("{{.X}}" * 10, {"X": "x" * 90}).text) == 900
    with pytest.raises(TemplateError, match="longer than 1000 characters"):
        render("{{.X}}" * 20, {"X": "x" * 90})


@pytest.mark.parametrize(
    "text",
    [
        "{" * 1_000_000,
        "{{" + " " * 1_000_000,
        "{{.X}}" * 100_000,
        "{{{.J.a[1].b}}}" * 100_000,
        "{ {" * 300_000,
        "{{.NO}}" * 100_000,
    ],
    ids=["braces", "blanks", "references", "paths", "single", "missing"],
)
def test_long_templates_take_linear_time(text: str) -> None:
    values = {"X": "x", "J": json.dumps({"a": [0, {"b": 1}], "rest": ["y" * 100] * 10_000})}
    with linear_time(), contextlib.suppress(TemplateError):
        render(text, values)
