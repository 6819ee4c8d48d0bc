"""The page can be used by everybody: axe-core finds nothing in any view, light or dark, wide or narrow."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.page.jobs import address, create_failed
from tests.support.server import RunningServer

AXE = Path(__file__).parents[2] / "scripts" / "page" / "node_modules" / "axe-core" / "axe.min.js"
DARK: dict[str, Any] = {"color_scheme": "dark"}
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
VIEWS = {
    "": ".jobs a.job",
    "?states=Failed": ".jobs a.job",
    "?job=fraud&task=psi": ".panel",
    "?job=fraud&view=parties": ".matrix",
    "?job=fraud&view=timeline": ".timebar",
    "?job=fraud&view=logs": ".log",
    "?job=fraud&view=history": ".history td",
    "?job=fraud&view=definition": ".source",
    "?job=nothing": "[role=alert]",
}


@pytest.mark.parametrize("page", [{}, DARK, NARROW], indirect=True, ids=["light", "dark", "narrow"])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    for query, shown in VIEWS.items():
        await page.goto(address(server, query))
        await expect(page.locator(shown).first).to_be_visible()
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("axe.run().then(({violations}) => violations)")
        told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]
        assert told == [], query
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), query
