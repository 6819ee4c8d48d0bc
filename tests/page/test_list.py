"""The list of jobs is live, whole and bookmarkable."""

import asyncio
import re

from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.jobs import address, create_failed, scripted
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer


async def shown(page: Page) -> list[str]:
    """The ids of the rows in the document."""
    ids: list[str] = await page.locator(".jobs a.job").all_inner_texts()
    return ids


async def test_jobs_appear_change_and_vanish_by_themselves(server: RunningServer, page: Page) -> None:
    await page.goto(address(server))
    await expect(page.get_by_text("No job yet.")).to_be_visible()
    await create(server.stub, job_request("first", scripted("t", seconds=600)))
    row = page.locator(".jobs tbody tr", has_text="first")
    await expect(row).to_contain_text("Running")
    await server.stub.StopJob(pb.StopJobRequest(job_id="first"))
    await expect(row).to_contain_text("Failed")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="first"))
    await expect(row).to_have_count(0)


async def test_filters_are_in_the_address_bar(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await create(server.stub, job_request("good"))
    await ended(server.stub, "good")
    await page.goto(address(server))
    await page.get_by_role("button", name="Failed").click()
    await expect(page.locator(".jobs a.job")).to_have_text(["fraud"])
    assert page.url == address(server, "?states=Failed")
    await page.reload()
    await expect(page.locator(".jobs a.job")).to_have_text(["fraud"])
    await create_failed(server, "again")
    await expect(page.locator(".jobs a.job")).to_have_text(["again", "fraud"])
    await page.get_by_label("Id begins with").fill("fr")
    await expect(page.locator(".jobs a.job")).to_have_text(["fraud"])
    await page.get_by_role("link", name="Clear filters").click()
    await expect(page.locator(".jobs a.job")).to_have_text(["again", "good", "fraud"])


async def test_the_reason_in_a_row_is_that_of_the_party_that_failed(server: RunningServer, page: Page) -> None:
    await create_failed(server, message="disk full")
    await page.goto(address(server))
    reason = page.locator(".jobs .c-why")
    await expect(reason).to_have_text("bob · psi: exit code 3: disk full")
    await expect(reason).not_to_contain_text("alice")


async def test_a_reason_is_one_line_whoever_gave_it(server: RunningServer, page: Page) -> None:
    both = scripted("t", exit_code=3)
    await create(server.stub, job_request("both", both, scripted("u", exit_code=4)))
    await create(server.stub, job_request("halted", scripted("t", seconds=600)))
    await server.stub.StopJob(pb.StopJobRequest(job_id="halted", reason="wrong table"))
    for job_id in ("both", "halted"):
        await ended(server.stub, job_id)
    await page.goto(address(server))
    await expect(page.locator("tr", has_text="halted").locator(".c-why")).to_have_text("master · Stop: wrong table")
    await expect(page.locator("tr", has_text="both").locator(".c-why")).to_have_text(
        re.compile(r"^alice · t: exit code 3 \(\+3\)$")
    )


async def test_older_jobs_come_as_one_scrolls_and_few_rows_are_in_the_document(
    server: RunningServer, page: Page
) -> None:
    for first in range(0, 450, 50):
        await asyncio.gather(
            *(create(server.stub, job_request(f"job-{number:03}")) for number in range(first, first + 50))
        )
    await page.goto(address(server))
    await expect(page.locator(".jobs a.job").first).to_be_visible()

    async def is_at_the_end() -> bool:
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        return bool(await page.locator(".count").inner_text() == "450 jobs shown")

    await eventually_true(is_at_the_end)
    assert len(await shown(page)) < 100
    seen: set[str] = set()
    for place in range(0, 450 * 45, 600):
        await page.evaluate(f"scrollTo(0, {place})")
        await page.evaluate("new Promise(requestAnimationFrame)")
        seen.update(await shown(page))
    seen.update(await shown(page))
    assert len(seen) == 450


async def test_the_keyboard_is_enough(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server))
    await expect(page.locator(".jobs a.job")).to_have_count(1)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("fraud")
    await page.keyboard.press("2")
    await expect(page.locator(".matrix")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("h")
    await expect(page.locator(".jobs")).to_be_visible()


async def test_language_and_theme_are_kept(server: RunningServer, page: Page) -> None:
    await page.goto(address(server))
    await page.get_by_label("Language").select_option("zh")
    await page.keyboard.press("Tab")
    await page.keyboard.press("t")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.reload()
    await expect(page.get_by_text("还没有作业。")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
