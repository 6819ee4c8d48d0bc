"""The page can be used by everybody: axe-core finds nothing in any view, light or dark, wide or narrow."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.jobs import address, create_failed
from tests.support.server import RunningServer

AXE = Path(__file__).parents[2] / "scripts" / "page" / "node_modules" / "axe-core" / "axe.min.js"
DARK: dict[str, Any] = {"color_scheme": "dark"}
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
VIEWS = {
    "": ".jobs a.job",
    "?states=Failed": ".jobs a.job",
    "?party=bo": "main .notice a[href='?party=bob']",
    "?job=fraud&task=psi": ".panel",
    "?job=fraud&view=parties": ".matrix",
    "?job=fraud&view=timeline": ".timebar",
    "?job=fraud&view=logs": ".log",
    "?job=fraud&view=logs&layout=split": ".column h2",
    "?job=fraud&view=history": ".history td",
    "?job=fraud&view=definition": ".source",
    "?job=nothing": "[role=alert]",
    "?show=submit": ".submit",
    "?show=server": ".gauges",
}


KNOWN = "{job_id: known, initiator: alice, tasks: [{alias: t, app_image: a, parties: [{domain_id: alice}]}]}"


async def check(page: Page, what: str) -> None:
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run().then(({violations}) => violations)")
    told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]
    assert told == [], what
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what


@pytest.mark.parametrize("page", [{}, DARK, NARROW], indirect=True, ids=["light", "dark", "narrow"])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    for query, shown in VIEWS.items():
        await page.goto(address(server, query))
        await expect(page.locator(shown).first).to_be_visible()
        await check(page, query)


@pytest.mark.parametrize("page", [{}, DARK, NARROW], indirect=True, ids=["light", "dark", "narrow"])
async def test_axe_finds_nothing_in_what_changes_jobs(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server))
    await page.get_by_label("Choose fraud").check()
    await page.locator(".selection").get_by_text("Delete…").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await check(page, "a dialog")
    await page.keyboard.type("no longer needed")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="fraud"))
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".refusals")).to_be_visible()
    await check(page, "a refusal")
    await page.goto(address(server, "?show=submit"))
    editor = page.get_by_label("The job", exact=True)
    await editor.fill("job_id: A\nkind: x")
    await expect(page.locator(".problems")).to_be_visible()
    await check(page, "problems")
    await editor.fill("{job_id: a, initiator: alice, tasks: [{alias: t, app_image: a, parties: [{domain_id: alice}]}]}")
    await expect(page.locator(".verdict table")).to_be_visible()
    await check(page, "a plan")
    for _ in range(2):
        await page.goto(address(server, "?show=submit"))
        await editor.fill(KNOWN)
        await page.get_by_role("button", name="Submit known").click()
        await expect(page.locator(".existing, h1 .id").first).to_be_visible()
    await check(page, "a job that is there")
