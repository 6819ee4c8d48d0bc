"""Every view is live during a real job: the private set intersection of examples/psi, between two parties."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from google.protobuf import json_format
from playwright.async_api import Browser, Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.gated import Gate, images
from tests.page.jobs import address
from tests.page.tabs import opened
from tests.support.requests import create, ended
from tests.support.server import RunningServer, running_server

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "psi"
ENGINE = Path(os.environ.get("PSI_ENGINE", ROOT / ".engine"))
TABS = {
    "parties": "?job=psi&view=parties&task=intersect",
    "timeline": "?job=psi&view=timeline&task=intersect",
    "logs": "?job=psi&view=logs&task=intersect",
    "history": "?job=psi&view=history",
    "definition": "?job=psi&view=definition&task=intersect&party=bob",
    "server": "?show=server",
    "submit": "?show=submit",
}
pytestmark = pytest.mark.skipif(
    not (ENGINE / "bin" / "psi-intersect").exists(),
    reason="the engine is not installed: examples/psi/setup_engine.sh .engine, or name one by PSI_ENGINE",
)


@pytest.fixture
async def hospitals(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server on which alice and bob have their tables."""
    shutil.copytree(EXAMPLE / "data", tmp_path / "domains")
    shutil.copytree(EXAMPLE / "appimages", images(tmp_path), dirs_exist_ok=True)
    settings = {"app_image_dir": tmp_path / "images", "path": ENGINE / "bin", "domains_dir": tmp_path / "domains"}
    async with running_server(tmp_path, **settings) as server:
        yield server


def psi(job_id: str) -> pb.CreateJobRequest:
    request = json.loads((EXAMPLE / "job.json").read_text()) | {"job_id": job_id}
    return json_format.ParseDict(request, pb.CreateJobRequest())


async def test_every_view_is_live_while_two_parties_intersect_their_tables(
    tmp_path: Path, hospitals: RunningServer, browser: Browser, page: Page
) -> None:
    gate = Gate(tmp_path, "observe")
    request = psi("psi")
    request.max_parallelism = 3
    request.tasks.append(gate.task())  # so the job runs until every view has been looked at
    async with AsyncExitStack() as watchers:
        # Each in a browser of its own, as if so many people looked at them: one opens six connections to a server.
        pages = {view: await watchers.enter_async_context(opened(browser)) for view in TABS}
        await create(hospitals.stub, request)
        await page.goto(address(hospitals, "?job=psi"))
        for view, tab in pages.items():
            await tab.goto(address(hospitals, TABS[view]))
        await check_while_it_runs(pages, page)
        gate.open(alice=0, bob=0)
        await check_after_its_end(pages, page)


async def check_while_it_runs(pages: Mapping[str, Page], page: Page) -> None:
    await expect(page.locator(".node .name")).to_have_text(["intersect", "group-means", "report", "observe"])
    await expect(page.locator(".node.is-tolerable .name")).to_have_text("report")
    await expect(pages["parties"].locator(".matrix tbody tr")).to_have_count(4)
    for party in ("alice", "bob"):
        await expect(pages["logs"].locator(".who", has_text=party).first).to_be_visible()
    await expect(pages["definition"].locator(".source").first).to_contain_text("alias: intersect")
    await expect(pages["definition"].get_by_role("region", name="bob /").first).to_be_visible()
    gauge = pages["server"].locator(".gauges .card")
    await expect(gauge.filter(has_text="jobs pending or running")).to_contain_text("1")
    await expect(gauge.filter(has_text="parties running")).to_contain_text("2")
    editor = pages["submit"].get_by_label("The job", exact=True)
    await editor.fill((EXAMPLE / "job.json").read_text())
    await expect(pages["submit"].locator(".verdict table")).to_contain_text("group-means")
    # All but the last task come to their ends meanwhile, and every view is still of a job that runs.
    await expect(page.locator(".node.state-Succeeded")).to_have_count(3)
    for tab in (page, *(pages[view] for view in TABS if view not in ("server", "submit"))):
        await expect(tab.get_by_role("heading", level=1)).to_contain_text("Running")
    await expect(pages["history"].locator(".h-what", has_text="task succeeded")).to_have_count(3)
    await expect(pages["timeline"].locator(".timebar.state-Running .part-run")).to_have_count(2)


async def check_after_its_end(pages: Mapping[str, Page], page: Page) -> None:
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
    await expect(page.locator(".node.state-Succeeded")).to_have_count(4)
    matrix = pages["parties"].locator(".matrix")
    await expect(matrix.locator(".state-Succeeded.badge")).to_have_count(4 + 7)
    await expect(matrix.locator("thead th")).to_have_text(["Task", "alice", "bob", "alice (features)", "bob (labels)"])
    await expect(pages["timeline"].locator(".timebar.state-Succeeded .part-run")).to_have_count(7)
    await expect(pages["history"].locator(".h-what", has_text="party succeeded")).to_have_count(7)
    await expect(pages["history"].locator(".history tbody tr").last).to_contain_text("ended")
    await expect(pages["definition"].get_by_role("heading", level=1)).to_contain_text("Succeeded")
    gauge = pages["server"].locator(".gauges .card")
    await expect(gauge.filter(has_text="jobs pending or running")).to_contain_text("0")
    await page.get_by_role("link", name="Jobs").first.click()
    await expect(page.locator(".jobs tbody tr")).to_contain_text("4/4")


async def test_a_party_without_its_table_is_named_and_the_other_is_not(hospitals: RunningServer, page: Page) -> None:
    await page.goto(address(hospitals))
    (hospitals.data_dir.parent / "domains" / "bob" / "diagnoses.csv").unlink()
    await create(hospitals.stub, psi("broken"))
    await ended(hospitals.stub, "broken")
    await page.get_by_role("link", name="broken").click()
    await expect(page.locator(".why h2")).to_have_text("Party bob made task intersect fail")
    await expect(page.locator(".why")).to_contain_text("diagnoses.csv")
    await page.get_by_role("link", name="Read its log").click()
    await expect(page.locator(".logline", has_text="diagnoses.csv").first).to_be_visible()
