"""The page in a real Chromium: Debian's, which Playwright drives."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.page.tabs import opened
from tests.support.polling import PATIENCE_SECONDS

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
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
    """A tab. With `pytest.mark.parametrize("page", [{...}], indirect=True)` the context is another."""
    async with opened(browser, **getattr(request, "param", {})) as page:
        yield page
