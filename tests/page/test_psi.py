"""Every view is live during a real job: the private set intersection of examples/psi, between two parties."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf import json_format
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.jobs import address
from tests.support.requests import create, ended
from tests.support.server import RunningServer, running_server

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "psi"
ENGINE = Path(os.environ.get("PSI_ENGINE", ROOT / ".engine"))
pytestmark = pytest.mark.skipif(
    not (ENGINE / "bin" / "psi-intersect").exists(),
    reason="the engine is not installed: examples/psi/setup_engine.sh .engine, or name one by PSI_ENGINE",
)


@pytest.fixture
async def hospitals(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server on which alice and bob have their tables."""
    shutil.copytree(EXAMPLE / "data", tmp_path / "domains")
    settings = {"app_image_dir": EXAMPLE / "appimages", "path": ENGINE / "bin", "domains_dir": tmp_path / "domains"}
    async with running_server(tmp_path, **settings) as server:
        yield server


def psi(job_id: str) -> pb.CreateJobRequest:
    request = json.loads((EXAMPLE / "job.json").read_text()) | {"job_id": job_id}
    return json_format.ParseDict(request, pb.CreateJobRequest())


async def test_views_are_live_while_two_parties_intersect_their_tables(hospitals: RunningServer, page: Page) -> None:
    pages = {view: await page.context.new_page() for view in ("parties", "timeline", "logs", "history")}
    await create(hospitals.stub, psi("psi"))
    await page.goto(address(hospitals, "?job=psi"))
    for view, tab in pages.items():
        task = "" if view == "history" else "&task=intersect"
        await tab.goto(address(hospitals, f"?job=psi&view={view}{task}"))
    await expect(page.locator(".node .name")).to_have_text(["intersect", "group-means", "report"])
    await expect(page.locator(".node.is-tolerable .name")).to_have_text("report")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
    await expect(page.locator(".node.state-Succeeded")).to_have_count(3)
    matrix = pages["parties"].locator(".matrix")
    await expect(matrix.locator(".state-Succeeded.badge")).to_have_count(3 + 5)
    await expect(matrix.locator("thead th")).to_have_text(["Task", "alice", "bob", "alice (features)", "bob (labels)"])
    for party in ("alice", "bob"):
        await expect(pages["logs"].locator(".who", has_text=party).first).to_be_visible()
    await expect(pages["timeline"].locator(".timebar.state-Succeeded .part-run")).to_have_count(5)
    await expect(pages["history"].locator(".h-what", has_text="party succeeded")).to_have_count(5)
    await expect(pages["history"].locator(".history tbody tr").last).to_contain_text("ended")
    await page.goto(address(hospitals, "?job=psi&view=definition&task=intersect&party=bob"))
    await expect(page.locator(".source").first).to_contain_text("alias: intersect")
    await expect(page.get_by_role("region", name="bob /").first).to_be_visible()
    await page.get_by_role("link", name="Jobs").first.click()
    await expect(page.locator(".jobs tbody tr")).to_contain_text("3/3")


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
