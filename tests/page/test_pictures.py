"""Every view, light, dark, narrow and in Chinese: nothing is cut off, and the documents show what it looks like.

`UPDATE_DOCUMENTS=1` makes the pictures in docs/page anew.
"""

import base64
import os
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.page import story
from tests.page.jobs import address
from tests.page.tabs import opened
from tests.support.server import running_server

PICTURES = Path(__file__).parents[2] / "docs" / "page"
MOST_BYTES = 1_500_000
# In a narrow window these begin below it.
BELOW = ("parties", "timeline", "logs", "columns", "history", "definition")
VIEWS = {
    "jobs": ("", ".jobs a.job"),
    "graph": (f"?job={story.RUNNING}&task=train", ".panel .parties li"),
    "parties": (f"?job={story.FAILED}&view=parties", ".matrix .is-first"),
    "timeline": (f"?job={story.DONE}&view=timeline", ".timebar"),
    "logs": (f"?job={story.FAILED}&view=logs&task=intersect", ".logline"),
    "columns": (f"?job={story.FAILED}&view=logs&task=intersect&layout=split", ".column .logline"),
    "history": (f"?job={story.FAILED}&view=history", ".history td"),
    "submit": ("?show=submit", ".submit textarea"),
    "server": ("?show=server", ".gauges"),
    "action": (f"?job={story.RUNNING}", ".actions button"),
    "definition": (f"?job={story.DONE}&view=definition", ".source"),
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}},
    "zh": {"locale": "zh-CN"},
}
# Elements of which a part cannot be seen, though it does not scroll.
CUT_OFF = """[...document.querySelectorAll('main *, header *')].filter((e) => {
    const {left, right, width} = e.getBoundingClientRect();
    const isVisible = width > 1 && !e.closest('svg, .unseen, .skip');
    const scrolls = (p) => p && (getComputedStyle(p).overflowX !== 'visible' || scrolls(p.parentElement));
    return isVisible && (right > innerWidth + 1 || left < -1) && !scrolls(e.parentElement);
}).map((e) => e.outerHTML.slice(0, 120))"""
TO_WEBP = """async (png) => {
    const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext('2d').drawImage(image, 0, 0);
    const blob = await canvas.convertToBlob({type: 'image/webp', quality: 0.7});
    return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
}"""


async def test_no_view_is_cut_off(tmp_path: Path, browser: Browser) -> None:
    async with running_server(tmp_path, app_image_dir=story.images(tmp_path)) as server:
        await story.tell(server)
        for look, options in LOOKS.items():
            async with opened(browser, **options) as page:
                for name, (query, shown) in VIEWS.items():
                    await page.goto(address(server, query))
                    await expect(page.locator(shown).first).to_be_visible()
                    await act(page, name)
                    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, look)
                    assert await page.evaluate(CUT_OFF) == [], (name, look)
                    if os.environ.get("UPDATE_DOCUMENTS"):
                        await write_picture(page, browser, PICTURES / f"{name}-{look}.webp")


async def act(page: Page, view: str) -> None:
    """What a person does there, where a view shows little by itself."""
    if view == "submit":
        await page.locator(".submit textarea").fill(story.WRONG)
        await expect(page.locator(".problems li").first).to_be_visible()
    if view == "timeline":
        await page.locator(".timebar").nth(6).focus()
    if view in BELOW and await page.evaluate("innerWidth < 760"):
        await page.locator(".tabs").evaluate("(tabs) => tabs.scrollIntoView()")
    if view == "action":
        await page.locator(".actions button.harsh").first.click()
        await page.locator(".asking textarea").fill("bob's table is from last week")


async def write_picture(page: Page, browser: Browser, file: Path) -> None:
    """What is in the window, compressed by the browser itself."""
    png = base64.b64encode(await page.screenshot(animations="disabled", caret="hide")).decode()
    workshop = await browser.new_page()
    packed: str = await workshop.evaluate(TO_WEBP, png)
    await workshop.close()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(base64.b64decode(packed))


def test_there_is_a_picture_of_every_view_and_all_are_small() -> None:
    there = {file.name: file.stat().st_size for file in PICTURES.glob("*.webp")}
    assert set(there) == {f"{name}-{look}.webp" for name in VIEWS for look in LOOKS}
    assert sum(there.values()) < MOST_BYTES
