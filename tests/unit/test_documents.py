"""The documents: what the check of them finds."""

from pathlib import Path

import pytest

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
