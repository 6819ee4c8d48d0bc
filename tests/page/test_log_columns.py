"""Logs side by side: a live column for each party, all by one stream; finding and pausing are for all."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.page.gated import Gate, images
from tests.page.jobs import address
from tests.page.test_access import NARROW, check
from tests.support.requests import create, ended, job_request
from tests.support.server import running_server

BESIDE = "?job=two&view=logs&layout=split"


async def test_each_party_has_a_live_column_and_all_are_searched_and_paused_together(
    tmp_path: Path, page: Page
) -> None:
    gate = Gate(tmp_path, "t")
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("two", gate.task()))
        streams: list[str] = []
        page.on("request", lambda asked: streams.append(asked.url) if "/log?" in asked.url else None)
        await page.goto(address(server, "?job=two&view=logs"))
        await expect(page.locator(".logline")).to_have_count(2)
        await expect(page.locator(".column")).to_have_count(1)
        streams.clear()
        await page.get_by_label("Layout").select_option("side by side")
        await expect(page).to_have_url(re.compile("layout=split"))
        await expect(page.locator(".column h2 .who")).to_have_text(["alice", "bob"])
        alice, bob = page.get_by_role("log", name="Logs: alice"), page.get_by_role("log", name="Logs: bob")
        await expect(alice.locator(".said")).to_have_text(["alice waits"])
        await expect(bob.locator(".said")).to_have_text(["bob waits"])
        (stream,) = streams
        assert "all_parties=true" in stream
        await page.get_by_role("button", name="Pause").click()
        gate.open(alice=0, bob=0)
        await expect(page.get_by_role("button", name="Go on (2 new)")).to_be_visible()
        await expect(page.locator(".logline")).to_have_count(2)
        await page.get_by_role("button", name="Go on (2 new)").click()
        await expect(alice.locator(".said")).to_have_text(["alice waits", "alice ends with 0"])
        await expect(bob.locator(".said")).to_have_text(["bob waits", "bob ends with 0"])
        await page.get_by_placeholder("Find in these lines").fill("ALICE ENDS")
        await expect(alice.locator("mark")).to_have_text("alice ends")
        await expect(bob).to_have_text("No line has this.")
        await page.get_by_label("Parties").select_option("bob")
        await expect(page.get_by_label("Layout")).to_have_count(0)


@pytest.mark.parametrize("page", [{}, {"color_scheme": "dark"}, NARROW], indirect=True, ids=["light", "dark", "narrow"])
async def test_columns_are_readable_and_accessible_and_scroll_where_the_window_is_narrow(
    tmp_path: Path, page: Page
) -> None:
    gate = Gate(tmp_path, "t")
    gate.open(alice=0, bob=0)  # were one to fail, it would stop the other
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("two", gate.task()))
        await ended(server.stub, "two")
        await page.goto(address(server, BESIDE))
        await expect(page.locator(".said", has_text="alice ends with 0")).to_be_visible()
        for column in await page.locator(".column").all():
            size = await column.bounding_box()
            assert size is not None
            assert size["width"] >= 300
        await check(page, BESIDE)
        await page.get_by_role("log", name="Logs: bob").focus()
        await expect(page.locator(".said", has_text="bob ends with 0")).to_be_in_viewport()
