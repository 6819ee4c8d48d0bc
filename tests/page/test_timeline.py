"""The timeline shows when each party waited, was being started and ran, in each attempt, while it happens."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.gated import Gate, images
from tests.page.jobs import address, create_failed, scripted
from tests.page.test_access import NARROW
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

TOP_OF_ROWS = "document.querySelector('.timeline').getBoundingClientRect().top + scrollY"
COVERED = """[...document.querySelectorAll('.timeline .row')].filter((row) => {
    const told = document.querySelector('.bartold').getBoundingClientRect();
    const {top, bottom} = row.getBoundingClientRect();
    return top < told.bottom && bottom > told.top;
}).map((row) => row.textContent)"""
FOCUS_IS_IN_SIGHT = """(() => {
    const {top, bottom} = document.activeElement.getBoundingClientRect();
    return top >= document.querySelector('.bartold').getBoundingClientRect().bottom && bottom <= innerHeight;
})()"""
HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202egnp.exe"


async def test_bars_are_live_and_tell_their_times_when_pointed_at(tmp_path: Path, page: Page) -> None:
    first, second = Gate(tmp_path, "first"), Gate(tmp_path, "second")
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("live", first.task(), second.task("first")))
        await page.goto(address(server, "?job=live&view=timeline"))
        rows = page.locator(".timeline .row:not(.axis)")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(0).locator(".lane")).to_have_text(["alice", "bob"])
        await expect(rows.nth(0).locator(".timebar.state-Running .part-run")).to_have_count(2)
        await expect(rows.nth(1).locator(".timebar .part-wait")).to_have_count(2)
        await expect(rows.nth(1).locator(".timebar .part-run")).to_have_count(0)
        await rows.nth(0).locator(".timebar .hit").nth(1).hover()
        told = page.locator(".bartold")
        await expect(told).to_contain_text(re.compile(r"first bob attempt 1\W*Running"))
        await expect(told.locator("dt")).to_have_text(["waiting", "starting", "running"])
        await expect(told.locator("dd").last).to_contain_text("now")
        first.open(alice=0, bob=0)
        await expect(rows.nth(0).locator(".timebar.state-Succeeded .part-run")).to_have_count(2)
        await expect(told).to_contain_text(re.compile(r"first bob attempt 1\W*Succeeded"))
        await expect(told.locator("dd").last).not_to_contain_text("now")
        await expect(rows.nth(1).locator(".timebar.state-Running .part-run")).to_have_count(2)
        second.open(bob=3)
        await expect(rows.nth(1).locator(".timebar.is-stopped")).to_have_count(1)
        await rows.nth(1).locator(".timebar.state-Failed .hit").hover()
        await expect(told).to_contain_text(re.compile(r"second bob attempt 1\W*Failed\s*failed first\s*exit code 3"))


async def test_a_legend_says_what_forms_and_colours_mean(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud&view=timeline"))
    legend = page.locator(".legend > span")
    await expect(legend).to_have_text(
        ["waiting", "starting", "running", re.compile("✓ Succeeded"), re.compile("✕ Failed"), re.compile("■ stopped")]
    )
    fill = "(each) => getComputedStyle(each).fill"
    for state in ("Succeeded", "Failed"):
        shown = page.locator(f".timebar.state-{state}:not(.is-stopped) .part-run").first
        explained = page.locator(f".legend .state-{state} .part-run")
        assert await explained.evaluate(fill) == await shown.evaluate(fill)
    dashes = "(each) => getComputedStyle(each).strokeDasharray"
    stopped = page.locator(".timebar.is-stopped .part-run").first
    assert await page.locator(".legend .is-stopped .part-run").evaluate(dashes) == await stopped.evaluate(dashes)


async def test_each_attempt_has_a_bar_and_its_own_wait(server: RunningServer, page: Page) -> None:
    await submit_with_retry(server, "again")
    await page.goto(address(server, "?job=again&view=timeline"))
    await expect(page.locator(".timebar")).to_have_count(4)
    await expect(page.locator(".timebar .part-wait")).to_have_count(4)
    await expect(page.locator(".timebar.is-stopped")).to_have_count(2)
    label = page.get_by_role("link", name="retried, bob, attempt 2; Failed, failed first, exit code 3; waiting ")
    await expect(label).to_have_count(1)


async def test_the_keyboard_goes_from_bar_to_bar_and_to_the_log(server: RunningServer, page: Page) -> None:
    await submit_with_retry(server, "again")
    await page.goto(address(server, "?job=again&view=timeline"))
    await page.get_by_role("region", name="Timeline").focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    told = page.locator(".bartold")
    await expect(told).to_contain_text("retried alice attempt 1")
    await page.keyboard.press("ArrowDown")
    await expect(told).to_contain_text("retried bob attempt 1")
    await page.keyboard.press("ArrowRight")
    await expect(told).to_contain_text("retried bob attempt 2")
    await page.keyboard.press("+")
    await expect(page.locator(".timeline .rows")).to_have_css("width", re.compile(r"1[6-9]\d\d(\.\d+)?px"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Attempt").locator("option:checked")).to_have_text("2 (newest)")
    await expect(page.get_by_label("Parties")).to_have_value("bob")


@pytest.mark.parametrize("page", [{}, NARROW], indirect=True, ids=["wide", "narrow"])
async def test_what_is_told_covers_no_row_and_moves_none(server: RunningServer, page: Page) -> None:
    failing = scripted(
        "t19", "t18", seconds=600, parties={"bob": {"exit_code": 3, "seconds": 0, "message": "no\n" * 20}}
    )
    tasks = [scripted(f"t{number}", *([f"t{number - 1}"] if number else [])) for number in range(19)]
    await create(server.stub, job_request("long", *tasks, failing))
    await ended(server.stub, "long")
    await page.goto(address(server, "?job=long&view=timeline"))
    rows, told = page.locator(".timeline .row:not(.axis)"), page.locator(".bartold")
    await expect(rows).to_have_count(20)
    top = await page.evaluate(TOP_OF_ROWS)
    await page.locator(".timebar").first.dispatch_event("mouseenter")
    await page.locator(".timebar").first.focus()
    await expect(told).to_contain_text("t0 alice attempt 1")
    assert await page.evaluate(TOP_OF_ROWS) == top
    assert await page.evaluate(COVERED) == []
    for key, lanes in (("ArrowDown", 39), ("ArrowUp", 39)):
        for _ in range(lanes):
            await page.keyboard.press(key)
            assert await page.evaluate(FOCUS_IS_IN_SIGHT)
    assert await page.evaluate("document.querySelector('.bartold').offsetHeight") < 200


async def test_what_is_told_of_a_bar_stays_a_text(server: RunningServer, page: Page) -> None:
    await create_failed(server, "hostile", message=HOSTILE)
    await page.goto(address(server, "?job=hostile&view=timeline"))
    await page.locator(".timebar.state-Failed .hit").first.hover()
    text = await page.locator(".bartold .message").inner_text()
    assert "<script>alert(1)</script> red \ufffdgnp.exe" in text


async def test_of_many_parties_those_that_failed_are_shown(server: RunningServer, page: Page) -> None:
    domains = [f"d{number:03}" for number in range(100)]
    script = json.dumps({"seconds": 600, "parties": {"d099": {"exit_code": 3, "seconds": 0, "message": "no"}}})
    await create(server.stub, job_request("many", task_request("t", domains=domains, task_input_config=script)))
    await ended(server.stub, "many")
    await page.goto(address(server, "?job=many&view=timeline"))
    await expect(page.locator(".lane").first).to_have_text("d099")
    await expect(page.locator(".timebar")).to_have_count(24)
    await expect(page.locator(".lane").last).to_have_text("and 76 more")


async def test_a_job_that_was_stopped_says_by_whom_and_its_tasks_blame_nobody(
    server: RunningServer, page: Page
) -> None:
    await create(server.stub, job_request("long", scripted("t", seconds=600)))
    await in_state(server.stub, "long", "Running")
    await server.stub.StopJob(pb.StopJobRequest(job_id="long", reason="the wrong table"))
    await ended(server.stub, "long")
    await page.goto(address(server, "?job=long&view=parties"))
    await expect(page.locator(".why")).to_contain_text("It was stopped by master")
    await expect(page.locator(".why .message")).to_have_text("the wrong table")
    await expect(page.locator(".matrix .is-stopped")).to_have_count(2)
    await expect(page.locator(".matrix .is-first")).to_have_count(0)


async def submit_with_retry(server: RunningServer, job_id: str) -> None:
    """A job whose task runs twice; each time bob fails, and alice is stopped for it."""
    task = scripted("retried", seconds=600, parties={"bob": {"exit_code": 3, "seconds": 0, "message": "no"}})
    parties = [{"domain_id": party.domain_id} for party in task.parties]
    job: dict[str, Any] = {"alias": task.alias, "app_image": task.app_image, "parties": parties}
    job["task_input_config"] = task.task_input_config
    body = {
        "job": {"job_id": job_id, "initiator": "alice", "tasks": [job]},
        "task_policies": {"retried": {"retry": {"max_attempts": 2, "first_backoff": "0.05s"}}},
    }
    async with ClientSession() as session:
        answer = await session.post(f"http://{server.http_address}/v1/jobs", json=body)
        assert answer.status == 200, await answer.text()
    await ended(server.stub, job_id)
