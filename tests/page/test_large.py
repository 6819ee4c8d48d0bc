"""100,000 jobs do not slow the list: what is asked for and what is drawn depend on what is looked at alone."""

from urllib.parse import urlsplit

from playwright.async_api import Page, Request, expect

from tests.page.jobs import address, scripted
from tests.support import full_store
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer

JOBS = 100_000
PAGE_BYTES = 300_000
MOST_ROWS = 80
MOST_ELEMENTS = 3_000


async def test_of_100000_jobs_the_page_asks_for_and_draws_what_is_in_sight(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("original"))
    await ended(server.stub, "original")
    await server.stop()
    full_store.fill(server.data_dir / "jobs.db", JOBS, lambda number: f"job-{number:06}")
    await server.start()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if urlsplit(request.url).path == "/v1/jobs" else None)
    rows = page.locator(".jobs a.job")

    async def check_bounds() -> None:
        assert await rows.count() <= MOST_ROWS
        assert await page.evaluate("document.getElementsByTagName('*').length") <= MOST_ELEMENTS

    await page.goto(address(server))
    await expect(rows.first).to_have_text(f"job-{JOBS:06}")
    await check_bounds()
    assert len(asked) == 1
    answer = await asked[0].response()
    assert answer is not None
    assert len(await answer.body()) < PAGE_BYTES

    async def is_far_down() -> bool:
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        return bool(await page.evaluate("document.querySelector('.jobs').clientHeight > 2000 * 45"))

    await eventually_true(is_far_down, timeout_seconds=240)
    await check_bounds()
    far_down = len(asked)
    assert 10 <= far_down <= 20, "200 jobs for each"
    await create(server.stub, job_request("newest", scripted("t", seconds=600)))
    await page.evaluate("scrollTo(0, 0)")
    await expect(rows.first).to_have_text("newest")
    await page.get_by_label("Id begins with").fill("job-0000")
    await expect(rows.first).to_have_text("job-000099")
    await expect(page.locator(".count")).to_have_text("99 jobs shown")
    await check_bounds()
    await page.get_by_role("button", name="Running").click()
    await expect(page.get_by_text("No job matches these filters.")).to_be_visible()
    await page.get_by_role("link", name="Clear filters").click()
    await expect(rows.first).to_have_text("newest")
    assert len(asked) <= far_down + 8
