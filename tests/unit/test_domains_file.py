"""The file of the domains' own settings: what is read, what is refused with the place and never with the value."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kusciajob.runtime import domains
from kusciajob.runtime.domains import DomainsFile, InvalidDomains


def read(directory: Path, text: str) -> DomainsFile:
    file = directory / "domains.yaml"
    file.write_text(text)
    return DomainsFile(file)


def test_values_are_texts_and_nested_ones_json(tmp_path: Path) -> None:
    text = 'alice: {values: {A: text, N: 7, F: true, E: null, O: {b: [1, "x"]}, "a-b": "007"}}\nbob: {}\n'
    assert dict(read(tmp_path, text).values("alice")) == {
        "A": "text",
        "N": "7",
        "F": "true",
        "E": "",
        "O": '{"b":[1,"x"]}',
        "a-b": "007",
    }
    assert read(tmp_path, text).values("bob") == {}
    assert read(tmp_path, text).values("carol") == {}


def test_a_file_named_json_is_json(tmp_path: Path) -> None:
    file = tmp_path / "domains.json"
    file.write_text('{\n\t"alice": {"values": {"A": "\\ud83d\\ude00", "E": ""}}\n}')  # in YAML no pair of surrogates
    assert dict(DomainsFile(file).values("alice")) == {"A": "\U0001f600", "E": ""}


def test_no_file_and_an_empty_one_have_no_values(tmp_path: Path) -> None:
    assert DomainsFile(tmp_path / "none.yaml").values("alice") == {}
    assert read(tmp_path, "").values("alice") == {}


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidDomains, match=r"none\.yaml: it cannot be read: No such file or directory"):
        DomainsFile(tmp_path / "none.yaml", is_required=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- hidden\n", "it is no mapping: expected"),
        ("a: {}\n---\nb: {}\n", "it has 2 documents"),
        ("a: [hidden\n", "line 2, column 1"),
        ("alice: hidden\n", '"alice" is no mapping'),
        ("alice: {value: {A: hidden}}\n", '"alice": unknown setting "value"; known: values'),
        ("alice: {values: [hidden]}\n", '"alice".values is no mapping'),
        ('alice: {values: {"a b": hidden}}\n', '"alice".values."a b": the name is not valid'),
        ('alice: {values: {"1a": hidden}}\n', "the name is not valid"),
        ("alice: {values: {A: hidden, A: hidden}}\n", 'key "A" stands twice'),
        ('"": {}\n', '"" is no id of a domain'),
        (f"alice: {{values: {{A: {'hidden' * 200_000}}}}}\n", '"alice".values."A" has 1200000 characters: at most'),
    ],
)
def test_what_it_cannot_say_is_refused_at_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidDomains) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)
    assert "domains.yaml: " in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_counts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "MAX_VALUES", 2)
    monkeypatch.setattr(domains, "MAX_DOMAINS", 2)
    with pytest.raises(InvalidDomains, match="has 3 entries: at most 2"):
        read(tmp_path, "alice: {values: {A: 1, B: 2, C: 3}}\n")
    with pytest.raises(InvalidDomains, match="has 3 domains: at most 2"):
        read(tmp_path, "a: {}\nb: {}\nc: {}\n")


def test_what_changes_counts_and_what_breaks_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "domains.yaml"
    source = DomainsFile(file)
    file.write_text("alice: {values: {A: first}}\n")
    assert source.values("alice") == {"A": "first"}
    file.write_text("alice: {values: {A: hidden}\n")
    for _ in range(2):
        assert source.values("alice") == {"A": "first"}
    assert caplog.text.count("settings of domains stay as they were") == 1
    assert "hidden" not in caplog.text
    file.write_text("alice: {values: {A: second, B: new}}\n")
    assert source.values("alice") == {"A": "second", "B": "new"}
    file.unlink()
    assert source.values("alice") == {}


def test_parties_that_start_at_once_all_have_the_new_values(tmp_path: Path) -> None:
    others = "".join(f"domain-{number}: {{values: {{A: x}}}}\n" for number in range(3000))  # reading takes a while
    file = read(tmp_path, f"alice: {{values: {{A: old}}}}\n{others}")
    (tmp_path / "domains.yaml").write_text(f"alice: {{values: {{A: renewed}}}}\n{others}")
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(file.values, ["alice"] * 4))
    assert values == [{"A": "renewed"}] * 4


def test_a_changed_file_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = read(tmp_path, "alice: {values: {A: old}}\n")
    path = tmp_path / "domains.yaml"
    for mode, warnings in ((0o600, 0), (0o644, 1)):
        path.write_text(f"alice: {{values: {{A: {mode}}}}}\n")
        path.chmod(mode)
        assert file.values("alice") == {"A": str(mode)}
        assert caplog.text.count("can be read by others: chmod o-r") == warnings
