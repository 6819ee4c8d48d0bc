"""The history says who did what with a job, when and why, in full, and goes on while the job does."""

from pathlib import Path

from aiohttp import ClientSession
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.gated import Gate, images
from tests.page.jobs import address, create_failed, scripted
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer, running_server

REASON = "the wrong table: " + "every word of it counts, " * 150 + "up to the end"
HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202egnp.exe"


async def test_it_is_live_and_tells_every_reason_in_full(tmp_path: Path, page: Page) -> None:
    gate = Gate(tmp_path, "psi")
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("live", gate.task()))
        await page.goto(address(server, "?job=live&view=history"))
        rows = page.locator(".history tbody tr")
        await expect(rows.first).to_contain_text("created")
        await expect(rows.first.locator(".h-who")).to_contain_text("master")
        await expect(page.locator(".h-what", has_text="party started")).to_have_count(2)
        gate.open(bob=3)
        failed = rows.filter(has_text="party failed")
        await expect(failed.locator(".h-about")).to_contain_text("psi bob attempt 1")
        await expect(failed.locator(".h-why")).to_contain_text("exit code 3")
        await expect(failed.locator(".reason")).to_contain_text("bob ends with 3")
        await expect(rows.filter(has_text="party was stopped").locator(".h-about")).to_contain_text("alice")
        await expect(rows.last).to_contain_text("ended")
        await server.stub.RestartJob(pb.RestartJobRequest(job_id="live", reason=REASON))
        restarted = rows.filter(has_text="restarted")
        await expect(restarted.locator(".reason")).to_have_text(REASON)
        await expect(rows.filter(has_text="attempt 2").first).to_be_visible()


async def test_all_pages_are_read_and_no_entry_twice(server: RunningServer, page: Page) -> None:
    await create(
        server.stub, job_request("wide", *[scripted(f"t{number:02}") for number in range(80)], max_parallelism=9)
    )
    await ended(server.stub, "wide")
    async with ClientSession() as session:
        answer = await session.get(f"http://{server.http_address}/v1/jobs/wide/history?page_size=1000")
        entries = (await answer.json())["entries"]
    assert len(entries) > 400  # more than two pages
    await page.goto(address(server, "?job=wide&view=history"))
    await expect(page.get_by_role("status").filter(has_text=f"{len(entries)} entries")).to_be_visible()
    times = page.locator(".h-when time")
    assert await times.evaluate_all("all => all.map(each => each.dateTime)") == [each["time"] for each in entries]
    await page.get_by_role("button", name="Newest first").click()
    await expect(page.locator(".h-what").first).to_have_text("ended")


async def test_commands_failures_or_a_task_are_chosen_in_the_address(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud&view=history"))
    rows = page.locator(".history tbody tr")
    await expect(rows.first).to_contain_text("created")
    await page.get_by_label("What").select_option("failures")
    await expect(page.locator(".h-what")).to_have_text(["party failed", "party was stopped", "task failed"])
    assert page.url == address(server, "?job=fraud&view=history&kind=failures")
    await page.get_by_label("What").select_option("commands")
    await expect(page.locator(".h-what")).to_have_text(["created", "ended"])
    await page.goto(address(server, "?job=fraud&view=history&task=prepare"))
    await expect(rows).to_have_count(6)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.locator(".panel h2")).to_contain_text("prepare")


async def test_what_it_tells_stays_a_text(server: RunningServer, page: Page) -> None:
    await create_failed(server, "hostile", message=HOSTILE)
    await page.goto(address(server, "?job=hostile&view=history&kind=failures"))
    reason = page.locator(".reason", has_text="<script>").first
    assert "<script>alert(1)</script> red \ufffdgnp.exe" in await reason.inner_text()


async def test_a_task_that_failed_says_what_its_party_said(tmp_path: Path, page: Page) -> None:
    gate = Gate(tmp_path, "psi")
    gate.open(bob=3)
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("broken", gate.task()))
        await ended(server.stub, "broken")
        await page.goto(address(server, "?job=broken&view=history&kind=failures"))
        failed = page.locator(".history tbody tr", has=page.locator(".h-what", has_text="task failed"))
        await expect(failed.locator(".cause")).to_have_text("bob")
        await expect(failed.locator(".reason").last).to_contain_text("bob ends with 3")


async def test_a_history_without_an_entry_that_passes_says_so_and_filters_are_cleared(
    server: RunningServer, page: Page
) -> None:
    await create(server.stub, job_request("well", scripted("t")))
    await ended(server.stub, "well")
    await page.goto(address(server, "?job=well&view=history&kind=failures"))
    await expect(page.get_by_text("No entry passes these filters.")).to_be_visible()
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.locator(".h-what").first).to_have_text("created")
    assert page.url == address(server, "?job=well&view=history")
