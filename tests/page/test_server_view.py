"""The page shows what the server is, does, allows and can run."""

import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.page.jobs import address, scripted
from tests.support.images import python_program, write_image
from tests.support.requests import create, in_state, job_request
from tests.support.secured import secured_server
from tests.support.server import running_server

UNCOUNTED = {
    "max_message_mib": "holds for each by itself",
    "log_retention_events": "nothing is refused",
    "max_jobs_per_domain": "each domain is told its own",
}


async def test_limits_use_queue_and_images_are_shown_live(tmp_path: Path, page: Page) -> None:
    write_image(tmp_path / "images", "psi", python_program("print()"))
    settings = {"max_jobs": 4, "max_running_parties": 2, "app_image_dir": tmp_path / "images"}
    async with running_server(tmp_path, runtime="simulated", **settings) as server:
        await page.goto(address(server))
        await expect(page.get_by_text("No job yet.")).to_be_visible()
        await page.keyboard.press("s")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Server")
        await expect(page.locator(".facts")).to_contain_text("simulated")
        gauge = page.locator(".gauges .card")
        await expect(gauge.filter(has_text="jobs stored")).to_contain_text("0")
        for job_id in ("first", "second"):
            await create(server.stub, job_request(job_id, scripted("t", seconds=600)))
        await in_state(server.stub, "first", "Running")
        await expect(gauge.filter(has_text="jobs stored")).to_contain_text("2")
        await expect(gauge.filter(has_text="jobs waiting for room")).to_contain_text("1")
        await expect(gauge.filter(has_text="parties running")).to_contain_text("2")
        await expect(gauge.filter(has_text="commit time, median")).to_contain_text("ms")
        await expect(gauge.filter(has_text="watch streams")).to_contain_text("1")
        row = page.get_by_role("row")
        await expect(row.filter(has_text="max_jobs").filter(has_not_text="per")).to_have_text(
            re.compile(r"^max_jobsJobs stored, finished ones too\. At the limit, new jobs are refused .*4250%$")
        )
        await expect(row.filter(has_text="max_running_parties").first).to_contain_text("100%")
        await expect(row.filter(has_text="psi.yaml")).to_contain_text("any role")
        for limit, told in UNCOUNTED.items():
            await expect(row.filter(has=page.locator(f"code:text-is('{limit}')"))).to_contain_text(told)
        limits = page.locator("table.plain").first.locator("tbody tr")
        assert await limits.count() > len(UNCOUNTED)
        await expect(limits.filter(has_not=page.locator("th .hint"))).to_have_count(0)  # none without its sentence


async def test_a_domain_sees_what_it_has_of_its_own_limits_and_no_more(tmp_path: Path, page: Page) -> None:
    async with secured_server(tmp_path, protocol="tls", max_jobs_per_domain=5) as place:
        await page.goto(f"https://{place.http_address}/ui/?show=server")
        await page.get_by_label("Token of the master or of a domain").fill(place.domain("bob").token or "")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Only the master is told what the server does")).to_be_visible()
        await expect(page.locator(".facts")).to_contain_text("domain bob")
        await expect(page.get_by_role("row").filter(has_text="max_jobs_per_domain")).to_contain_text("50")
        await expect(page.locator(".gauges")).to_have_count(0)
        row = page.get_by_role("row").filter(has=page.locator("code:text-is('max_connections')"))
        await expect(row).to_contain_text("only the master is told")
