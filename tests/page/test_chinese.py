"""In Chinese every view opens, and none has a text that is missing or was left in English."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from kusciajob import web
from tests.page.jobs import address, create_failed
from tests.page.test_access import VIEWS
from tests.support.server import RunningServer

PAGE = Path(web.__file__).parent / "page"
TEXT = re.compile(r"^  '?([\w.]+)'?: (['\"])(.*)\2,$", re.MULTILINE)
CHINESE: dict[str, Any] = {"locale": "zh-CN"}
# What is shown, or read out, in the words of the English file though the Chinese one has others; or with an unfilled
# `{name}`, or none. What jobs say is theirs.
LEFT_OVER = """(texts) => {
    const english = new Set(texts);
    const told = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
        if (element.closest('pre, code, textarea, .said, .id, a.job, h1.unseen')) continue;
        if (node === element) {
            told.push(...['title', 'placeholder', 'aria-label'].map((name) => node.getAttribute(name)));
        }
        else told.push(node.data);
    }
    return told.filter((text) => text !== null).map((text) => text.trim())
        .filter((text) => english.has(text) || /\\{\\w+\\}|undefined|\\[object/.test(text));
}"""


def texts(language: str) -> dict[str, str]:
    return {key: text for key, _, text in TEXT.findall((PAGE / f"{language}.js").read_text())}


@pytest.mark.parametrize("page", [CHINESE], indirect=True)
async def test_every_view_opens_in_chinese_without_a_missing_text(server: RunningServer, page: Page) -> None:
    english, chinese = texts("en"), texts("zh")
    assert set(english) == set(chinese)
    translated = [form for key, text in english.items() if text != chinese[key] for form in text.split("|")]
    await create_failed(server)
    for query, shown in VIEWS.items():
        await page.goto(address(server, query))
        await expect(page.locator(shown).first).to_be_visible()
        await expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        assert await page.evaluate(LEFT_OVER, translated) == [], query
        await expect(page.get_by_text(chinese["language.server"])).to_be_visible()
    await page.get_by_label("语言").select_option("en")
    assert await page.evaluate(LEFT_OVER, translated) != []
    await expect(page.get_by_text(english["language.server"])).to_have_count(0)
