"""A browser opens six connections to a server, for all of its tabs: many logs and many tabs starve no view."""

import json
import re
from pathlib import Path

from playwright.async_api import Browser, Page, Request, expect

from tests.page.gated import Gate, images
from tests.page.jobs import address, scripted
from tests.page.tabs import opened
from tests.support.images import shell_image, write_images
from tests.support.requests import create, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

PARTIES = ["alice", *(f"hospital-{letter}" for letter in "bcdefgh")]
TABS = 8
# What the browser does when one goes to another tab, and comes back.
HIDE = """(isHidden) => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => isHidden});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_eight_parties_side_by_side_are_all_live_and_so_is_the_page(tmp_path: Path, page: Page) -> None:
    gate = Gate(tmp_path, "t")
    config = json.dumps({"gate": gate.path})
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        task = task_request("t", "gated", PARTIES, task_input_config=config)
        await create(server.stub, job_request("many", task))
        await page.goto(address(server, "?job=many&view=logs&layout=split"))
        for party in PARTIES:
            said = page.get_by_role("log", name=f"Logs: {party}").locator(".said")
            await expect(said).to_have_text([f"{party} waits"])
        gate.open(**dict.fromkeys(PARTIES, 0))
        for party in PARTIES:
            said = page.get_by_role("log", name=f"Logs: {party}").locator(".said")
            await expect(said).to_have_text([f"{party} waits", f"{party} ends with 0"])
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")


async def test_a_tab_that_nobody_sees_leaves_its_connections_and_goes_on_where_it_was(
    tmp_path: Path, browser: Browser
) -> None:
    gate = Gate(tmp_path, "t")
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server, opened(browser) as first:
        await create(server.stub, job_request("two", gate.task()))
        open_streams: set[Request] = set()

        def note_end(asked: Request) -> None:
            open_streams.discard(asked)

        first.context.on("request", lambda asked: open_streams.add(asked) if is_stream(asked) else None)
        first.context.on("requestfinished", note_end)
        first.context.on("requestfailed", note_end)
        for number in range(TABS):
            tab = first if number == 0 else await first.context.new_page()
            await tab.goto(address(server, "?job=two&view=logs"))
            await expect(tab.locator(".logline")).to_have_count(2)
            await tab.evaluate(HIDE, True)
        gate.open(alice=0, bob=0)
        await in_state(server.stub, "two", "Succeeded")
        last = await first.context.new_page()
        await last.goto(address(server))
        await expect(last.locator(".jobs")).to_contain_text("two")
        assert len(open_streams) == 1  # that of the list
        await expect(first.get_by_role("heading", level=1)).to_contain_text("Running")
        await first.evaluate(HIDE, False)
        await expect(first.get_by_role("heading", level=1)).to_contain_text("Succeeded")
        await expect(first.locator(".said")).to_have_count(4)
        await expect(first.locator(".said", has_text=re.compile("alice ends"))).to_have_count(1)


async def test_of_what_was_written_out_of_sight_the_last_is_told_and_how_much_is_missing(
    tmp_path: Path, page: Page
) -> None:
    script = f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; seq -f 'line %05g' 12000"
    (tmp_path / "images").mkdir()
    write_images(tmp_path / "images", [shell_image("much", script)])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        await create(server.stub, job_request("long", task_request("t", "much", ["alice"])))
        await page.goto(address(server, "?job=long&view=logs"))
        await expect(page.locator(".said")).to_have_text("begun")
        await page.evaluate(HIDE, True)
        (tmp_path / "go").touch()
        await in_state(server.stub, "long", "Succeeded")
        await page.evaluate(HIDE, False)
        await expect(page.locator(".said").last).to_have_text("line 12000")
        await page.locator(".log").evaluate("(log) => { log.scrollTop = 0; }")
        # 7,000 lines of 11 bytes are not among the last 5,000 that are asked for.
        await expect(page.locator(".said").nth(1)).to_have_text("[77000 bytes were dropped here] line 07001")


async def test_a_list_that_was_out_of_sight_has_what_came_meanwhile(server: RunningServer, page: Page) -> None:
    await page.goto(address(server))
    await expect(page.get_by_text("No job yet.")).to_be_visible()
    await page.evaluate(HIDE, True)
    await create(server.stub, job_request("meanwhile", scripted("t", seconds=600)))
    await in_state(server.stub, "meanwhile", "Running")
    await expect(page.get_by_text("No job yet.")).to_be_visible()
    await page.evaluate(HIDE, False)
    await expect(page.locator(".jobs tbody tr")).to_contain_text("meanwhile")


def is_stream(asked: Request) -> bool:
    return "follow=true" in asked.url or ":watch" in asked.url
