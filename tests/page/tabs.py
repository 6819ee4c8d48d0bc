"""Tabs of a browser in which nothing may go wrong unnoticed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page

WIDE = {"width": 1280, "height": 800}


@asynccontextmanager
async def opened(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A tab, in English. In the end it, and others of its context, must have complained about nothing, and asked one
    host only."""
    options = {"locale": "en-GB", "viewport": WIDE, "ignore_https_errors": True, **options}
    context = await browser.new_context(**options)
    complaints: list[str] = []
    hosts: set[str] = set()

    def note(message: ConsoleMessage) -> None:
        # The browser itself reports each answer that is no success, and each connection that is lost.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    context.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    yield await context.new_page()
    await context.close()
    assert complaints == []
    assert len(hosts - {""}) <= 1
