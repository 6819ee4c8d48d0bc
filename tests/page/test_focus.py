"""Who works by keyboard is where the work is: at the heading of what was opened, then back at what was left."""

from playwright.async_api import Page, expect

from tests.page.jobs import address, scripted
from tests.support.requests import create, in_state, job_request
from tests.support.server import RunningServer


async def test_the_focus_goes_to_what_is_opened_and_comes_back_to_its_row(server: RunningServer, page: Page) -> None:
    for number in range(60):
        await create(server.stub, job_request(f"job-{number:02}"))
    await page.goto(address(server))
    await expect(page.locator("body")).to_be_focused()
    row = page.get_by_role("link", name="job-20")
    await page.evaluate("scrollTo(0, 1500)")
    for leave in (lambda: page.keyboard.press("h"), page.go_back):
        await row.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1 .id")).to_have_text("job-20")
        await expect(page.locator("h1")).to_be_focused()
        await leave()
        await expect(row).to_be_focused()
        await expect(row).to_be_in_viewport()
    await page.keyboard.press("j")
    await expect(page.get_by_role("link", name="job-19")).to_be_focused()
    for key, heading in (("n", "Submit a job"), ("s", "Server")):
        await page.keyboard.press(key)
        await expect(page.get_by_role("heading", name=heading, level=1)).to_be_focused()


async def test_the_focus_is_not_lost_with_the_button_that_has_done_its_work(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("flow", scripted("t", seconds=600)))
    await in_state(server.stub, "flow", "Running")
    await page.goto(address(server, "?job=flow"))
    await page.get_by_text("Stop…").press("Enter")
    await page.get_by_label("Reason").fill("wrong data")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1 .badge")).to_contain_text("Failed")
    await expect(page.get_by_text("Stop…")).to_have_count(0)
    await expect(page.locator("h1")).to_be_focused()
