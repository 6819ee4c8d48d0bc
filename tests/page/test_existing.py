"""A job that is there already is not opened without a word when it is submitted once more."""

from playwright.async_api import Page, expect

from tests.page.jobs import address
from tests.support.polling import eventually_true
from tests.support.server import RunningServer

JOB = """job_id: twice
initiator: alice
tasks:
- alias: t
  app_image: any
  parties: [{domain_id: alice}]
"""
FAILING = JOB.replace("twice", "fails") + "  task_input_config: '{\"exit_code\": 3}'\n"


async def submit(server: RunningServer, page: Page, text: str, job_id: str) -> None:
    await page.goto(address(server, "?show=submit"))
    await page.get_by_label("The job", exact=True).fill(text)
    await page.get_by_role("button", name=f"Submit {job_id}").click()


async def ids(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(
        "fetch('/v1/jobs').then((answer) => answer.json()).then(({jobs}) => jobs.map((job) => job.job_id))"
    )
    return found


async def test_a_job_that_is_there_is_told_and_can_be_opened_or_submitted_under_a_fresh_id(
    server: RunningServer, page: Page
) -> None:
    await submit(server, page, JOB, "twice")
    await expect(page.locator("h1 .badge")).to_contain_text("Succeeded")
    for fresh in ("twice-2", "twice-3"):
        await submit(server, page, JOB, "twice")
        told = page.locator(".existing")
        await expect(told).to_be_focused()
        await expect(told).to_contain_text("A job with this id and content already exists: twice")
        await expect(told).to_contain_text("Succeeded")
        await expect(told).to_contain_text("Nothing new was started.")
        await expect(told.get_by_role("button")).to_have_text(["Submit under a fresh id"])
        await told.get_by_role("button", name="Submit under a fresh id").click()
        await expect(page.locator("h1 .id")).to_have_text(fresh)
    assert await ids(page) == ["twice-3", "twice-2", "twice"]
    await submit(server, page, JOB, "twice")
    await page.get_by_role("link", name="Open it").click()
    await expect(page.locator("h1 .id")).to_have_text("twice")


async def test_a_job_that_is_there_and_failed_can_be_restarted_and_what_is_said_goes_with_the_text(
    server: RunningServer, page: Page
) -> None:
    await submit(server, page, FAILING, "fails")
    await expect(page.locator("h1 .badge")).to_contain_text("Failed")
    await submit(server, page, FAILING, "fails")
    await expect(page.locator(".existing")).to_contain_text("Failed")
    await page.get_by_label("The job", exact=True).fill(FAILING + "# changed\n")
    await expect(page.locator(".existing")).to_have_count(0)
    await page.get_by_role("button", name="Submit fails").click()
    await page.locator(".existing").get_by_text("Restart it…").click()
    await page.get_by_label("Reason").fill("once more")
    await page.get_by_role("button", name="Restart the job").click()
    await expect(page.locator("h1 .id")).to_have_text("fails")

    async def was_restarted() -> bool:
        return bool(
            await page.evaluate(
                "fetch('/v1/jobs/fails').then((answer) => answer.json()).then(({job}) => job.summary.restart_time)"
            )
        )

    await eventually_true(was_restarted)
    assert await ids(page) == ["fails"]
