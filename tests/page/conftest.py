"""The page in a real Chromium: Debian's, which Playwright drives."""

import os
import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.support.polling import PATIENCE_SECONDS

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WIDE = {"width": 1280, "height": 800}
expect.set_options(timeout=PATIENCE_SECONDS * 1000)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM, "there is no Chromium: install Debian's package chromium, or name a program in CHROMIUM"
    async with async_playwright() as playwright:
        # Its sandbox needs rights that root in a container lacks; the pages are our own.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def page(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Page]:
    """A tab, in English. In the end it must have complained about nothing, and asked one host only.

    With `pytest.mark.parametrize("page", [{...}], indirect=True)` the context is another.
    """
    options = {"locale": "en-GB", "viewport": WIDE, "ignore_https_errors": True, **getattr(request, "param", {})}
    context = await browser.new_context(**options)
    complaints: list[str] = []
    hosts: set[str] = set()

    def note(message: ConsoleMessage) -> None:
        # The browser itself reports each answer that is no success, and each connection that is lost.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    # Of the context: of other tabs, too.
    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    context.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    yield await context.new_page()
    await context.close()
    assert complaints == []
    assert len(hosts - {""}) <= 1
