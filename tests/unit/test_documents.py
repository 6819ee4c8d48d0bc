"""The documents: what the check of them finds."""

import re
from pathlib import Path

import pytest
import yaml

from scripts import gen_docs

ENGLISH = "# Name\n\n```\nmake demo  # runs it\n```\n\n## Next\n"
CHINESE = "# Name\n\n```\nmake demo  # 运行\n```\n\n## 接下来\n"


def test_a_translation_with_the_same_commands_and_headings_differs_in_nothing() -> None:
    assert gen_docs.differences(ENGLISH, CHINESE) == []


@pytest.mark.parametrize(
    ("translation", "difference"),
    [
        (CHINESE.replace("make demo", "make run"), "code block 1"),
        (CHINESE.replace("```\nmake demo  # 运行\n```\n", ""), "code block 1"),
        (CHINESE + "```\nmake\n```\n", "code block 2"),
        (CHINESE.replace("## ", "### "), "headings"),
        (CHINESE + "## 更多\n", "headings"),
    ],
)
def test_a_translation_that_is_not_in_step_is_told(translation: str, difference: str) -> None:
    (found,) = gen_docs.differences(ENGLISH, translation)
    assert difference in found


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("other.md#a-jobs-states", False),
        ("#here-is-it", False),
        ("https://example.com/x", False),
        ("missing.md", True),
        ("other.md#a-jobs-state", True),
        ("#there-is-it", True),
    ],
)
def test_a_link_that_leads_nowhere_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str, is_broken: bool
) -> None:
    monkeypatch.setattr(gen_docs, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A job's states\n")
    document = tmp_path / "document.md"
    document.write_text(f"# Here is `it`\n\nSee [that]({link}).\n")
    assert bool(gen_docs.broken_links(document)) is is_broken


def test_a_file_that_is_named_and_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gen_docs, "ROOT", tmp_path)
    (tmp_path / "kusciajob" / "store").mkdir(parents=True)
    (tmp_path / "kusciajob" / "store" / "sql.py").touch()
    document = tmp_path / "document.md"
    document.write_text(
        "`store/sql.py`, `kusciajob/store/sql.py`, `kusciajob/store/`, `make x`, `runs/<number>/`, `store/sq.py`"
    )
    assert gen_docs.missing_files(document) == ["document.md names store/sq.py, which is not there"]


def test_the_workflow_calls_parts_that_there_are() -> None:
    targets = re.findall(r"^([a-z-]+):", (gen_docs.ROOT / "Makefile").read_text(), re.MULTILINE)
    jobs = yaml.safe_load((gen_docs.ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    parts = {
        entry["part"] for job in jobs.values() for entry in job.get("strategy", {}).get("matrix", {}).get("include", ())
    }
    commands = [step["run"].split() for job in jobs.values() for step in job["steps"] if "run" in step]
    assert all(command[0] == ".ci/run" for command in commands)
    parts |= {command[1] for command in commands if not command[1].startswith("$")}
    assert parts <= set(targets)
    engines = {f"{kind}-{engine}" for kind in ("demo", "test") for engine in ("containers", "kubernetes")}
    assert {"check", "test", "test-hostile", "test-page", "test-pythons", "demo", "release-check"} | engines == parts
