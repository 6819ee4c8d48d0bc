"""The page's words tell apart what failed, what was stopped, and what never began; and what a restart began anew."""

import re
from pathlib import Path

from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.gated import Gate, images
from tests.page.jobs import address, create_failed, scripted
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, in_state, job_request
from tests.support.server import RunningServer, running_server


async def test_what_a_stop_or_a_failure_kept_from_starting_is_told_apart_from_what_failed(
    server: RunningServer, page: Page
) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud&view=parties"))
    left = page.locator(".matrix tbody").nth(2)
    await expect(left).to_contain_text("Not started never started: the job had failed")
    await expect(left).to_contain_text('dependency "psi" failed')
    await expect(page.locator(".facts")).to_contain_text("1/3 succeeded, 1 failed, 1 not started")

    await create(server.stub, job_request("flow", scripted("a", seconds=600), scripted("b", "a")))
    await in_state(server.stub, "flow", "Running")
    await server.stub.StopJob(pb.StopJobRequest(job_id="flow"))
    await ended(server.stub, "flow")
    await page.goto(address(server, "?job=flow&view=parties"))
    kept = page.locator(".matrix tbody").nth(1)
    await expect(kept).to_contain_text("Not started not started: the job was stopped")
    await expect(kept.locator(".state-Failed")).to_have_count(0)
    await expect(page.locator(".facts")).to_contain_text("0/2 succeeded, 1 failed or stopped, 1 not started")
    await page.goto(address(server, "?job=flow&view=graph&task=b"))
    await expect(page.locator(".node .below")).to_have_text([re.compile("^Failed"), "Not started"])
    await expect(page.locator(".panel h2")).to_contain_text("not started: the job was stopped")


async def test_what_failed_is_not_counted_as_done(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server))
    tasks = page.locator(".jobs .c-tasks")
    await expect(tasks.locator(".fraction")).to_have_text("1/3")
    await expect(tasks.locator(".bad")).to_contain_text("1 failed or stopped")


async def test_where_no_program_runs_no_log_is_offered(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    for view in ("", "&view=parties", "&task=psi"):
        await page.goto(address(server, f"?job=fraud{view}"))
        await expect(page.locator(".why")).to_contain_text("The simulated runtime runs no program")
        await expect(page.get_by_role("link", name="Read its log")).to_have_count(0)
        await expect(page.locator(".party a", has_text="Logs")).to_have_count(0)


async def test_after_a_restart_the_time_since_then_is_shown(tmp_path: Path, page: Page) -> None:
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        gate = Gate(tmp_path, "t")
        gate.open(bob=7)
        await create(server.stub, job_request("again", gate.task()))
        await ended(server.stub, "again")
        await page.goto(address(server, "?job=again"))
        await expect(page.get_by_role("link", name="Read its log")).to_be_visible()
        time = page.locator(".facts div", has_text="duration").locator("dd")
        await expect(time).not_to_contain_text("restart")
        first = page.locator(".jobs .c-time")

        async def was_long_ago() -> bool:
            return bool(await page.evaluate("performance.now()") > 3_000)

        await eventually_true(was_long_ago)
        gate.open(alice=0, bob=0)
        await server.stub.RestartJob(pb.RestartJobRequest(job_id="again"))
        await expect(page.locator("h1 .badge")).to_contain_text("Succeeded")
        await expect(time).to_contain_text("since the last restart")
        await expect(time).to_have_attribute("title", re.compile("since the restart of .*First start: "))
        await page.goto(address(server))
        await expect(first).to_have_attribute("title", re.compile("since the restart of"))
        assert await shown_run(page) < await since_first_start(page)


async def shown_run(page: Page) -> float:
    """The seconds of the run that the list's only row shows."""
    amount, unit = (await page.locator(".jobs .c-time").inner_text()).split(" ")[:2]
    return float(amount) * {"ms": 0.001, "s": 1, "min": 60}[unit]


async def since_first_start(page: Page) -> float:
    """The seconds from the first start of the only job to its present end."""
    seconds: float = await page.evaluate(
        "fetch('/v1/jobs').then((answer) => answer.json())"
        ".then(({jobs: [job]}) => (Date.parse(job.end_time) - Date.parse(job.start_time)) / 1000)"
    )
    return seconds


async def test_who_made_a_task_fail_comes_first_also_in_a_narrow_window(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(address(server, "?job=fraud&view=parties"))
    await expect(page.locator(".matrix thead th")).to_have_text(["Task", "bob", "alice"])
    await expect(page.locator(".matrix td.is-first, .matrix td:has(.is-first)")).to_be_in_viewport()
    await page.goto(address(server, "?job=fraud&task=psi"))
    await expect(page.locator(".panel .parties li").first).to_contain_text("bob")
    await page.goto(address(server))
    reason = page.locator(".jobs .c-why")
    await expect(reason).to_have_text("bob · psi: exit code 3: no space left")
    height = await reason.evaluate("(cell) => cell.getBoundingClientRect().height")
    assert height < 2 * await reason.evaluate("(cell) => parseFloat(getComputedStyle(cell).lineHeight) || 20")
