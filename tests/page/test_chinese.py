"""In Chinese every view opens, and none has a text that is missing or was left in English."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.page.jobs import address, create_failed
from tests.page.test_access import VIEWS
from tests.support.server import RunningServer

CHINESE: dict[str, Any] = {"locale": "zh-CN"}
# What is shown, or read out, in the words of the English file though the Chinese one has others; or with an unfilled
# `{name}`, or none. What jobs say is theirs.
LEFT_OVER = """async () => {
    const [{en}, {zh}] = await Promise.all([import('/ui/page/en.js'), import('/ui/page/zh.js')]);
    const english = new Set(Object.keys(en).filter((key) => en[key] !== zh[key]).map((key) => en[key]));
    const told = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
        if (element.closest('pre, code, textarea, .said, .id, a.job')) continue;
        if (node === element) {
            told.push(...['title', 'placeholder', 'aria-label'].map((name) => node.getAttribute(name)));
        }
        else told.push(node.data);
    }
    return told.filter((text) => text !== null).map((text) => text.trim())
        .filter((text) => english.has(text) || /\\{\\w+\\}|undefined|\\[object/.test(text));
}"""


@pytest.mark.parametrize("page", [CHINESE], indirect=True)
async def test_every_view_opens_in_chinese_without_a_missing_text(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    for query, shown in VIEWS.items():
        await page.goto(address(server, query))
        await expect(page.locator(shown).first).to_be_visible()
        await expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        assert await page.evaluate(LEFT_OVER) == [], query
    await page.get_by_label("语言").select_option("en")
    assert await page.evaluate(LEFT_OVER) != []
