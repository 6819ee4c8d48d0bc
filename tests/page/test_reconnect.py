"""A server that goes away and comes back: the page says so, and shows each row and each line once."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.jobs import address
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

JOBS = 250
WAYS = pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])


async def leave(server: RunningServer, signal: str) -> None:
    await (server.kill() if signal == "SIGKILL" else server.stop())


@WAYS
@pytest.mark.settings(require_approval=True)
async def test_a_lost_server_is_told_and_no_row_is_lost_or_doubled(
    server: RunningServer, page: Page, signal: str
) -> None:
    await asyncio.gather(*(create(server.stub, job_request(f"job-{number:03}")) for number in range(JOBS)))
    await page.goto(address(server))
    await expect(page.locator(".jobs a.job").first).to_be_visible()
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(page.locator(".count")).to_have_text(f"{JOBS} jobs shown")
    await page.evaluate("scrollTo(0, 0)")
    newest, deleted = (await page.locator(".jobs a.job").all_inner_texts())[:2]
    await leave(server, signal)
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    await expect(page.locator(".jobs a.job").first).to_be_visible()
    await server.start()
    await create(server.stub, job_request("after"))
    await server.stub.CancelJob(pb.CancelJobRequest(job_id=newest))
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id=deleted))
    await expect(page.locator(".jobs a.job").first).to_have_text("after")
    await expect(page.locator(".jobs tbody tr", has_text=newest)).to_contain_text("Cancelled")
    await expect(page.locator(".count")).to_have_text(f"{JOBS} jobs shown")
    await expect(page.locator(".connection")).to_contain_text("Live")
    seen: list[str] = []
    for place in range(0, (JOBS + 20) * 45, 500):
        await page.evaluate(f"scrollTo(0, {place})")
        await page.evaluate("new Promise(requestAnimationFrame)")
        ids = await page.locator(".jobs a.job").all_inner_texts()
        assert len(ids) == len(set(ids))
        seen += ids
    assert set(seen) == {"after"} | {f"job-{number:03}" for number in range(JOBS)} - {deleted}


COUNTS = python_program(
    "import sys, time, pathlib\n"
    "for number in range(200):\n"
    "    print('line', number, flush=True)\n"
    "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)\n"
    "for number in range(200, 400):\n"
    "    print('line', number, flush=True)\n"
)


@WAYS
async def test_a_job_and_its_log_are_followed_across_a_restart(tmp_path: Path, page: Page, signal: str) -> None:
    go_on = tmp_path / "go-on"
    write_image(tmp_path / "images", "counts", [*COUNTS, str(go_on)])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        await create(server.stub, job_request("long", task_request("t", "counts", domains=["alice"])))
        await in_state(server.stub, "long", "Running")
        await page.goto(address(server, "?job=long&view=logs"))
        await expect(page.get_by_text("200 lines")).to_be_visible()
        await leave(server, signal)
        await expect(page.get_by_text("Connection lost")).to_be_visible()
        await server.start()
        go_on.touch()
        await ended(server.stub, "long")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
        await expect(page.get_by_text("400 lines")).to_be_visible()
        await expect(page.locator(".logline").last).to_contain_text("line 399")
