"""With TLS and the token of a domain, every view of a job shows the domain its own jobs, and those only."""

from pathlib import Path

from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.page.jobs import scripted
from tests.support.requests import job_request, task_request
from tests.support.secured import secured_server


async def test_timeline_history_and_definition_show_a_domain_its_own_jobs(tmp_path: Path, page: Page) -> None:
    async with secured_server(tmp_path, protocol="tls") as place:
        async with place.master.channel(place.server.address) as channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            own = job_request("of-alice-and-bob", scripted("shared"))
            foreign = job_request("of-alice", task_request("secret", domains=["alice"]))
            for request in (own, foreign):
                response = await stub.CreateJob(request, metadata=place.master.metadata)
                assert response.status.code == 0, response.status.message
        await page.goto(f"https://{place.http_address}/ui/?job=of-alice-and-bob&view=timeline")
        await page.get_by_label("Token of the master or of a domain").fill(place.domain("bob").token or "")
        await page.keyboard.press("Enter")
        await expect(page.locator(".timebar.state-Succeeded")).to_have_count(2)
        await page.get_by_role("link", name="History").click()
        await expect(page.locator(".h-what", has_text="party succeeded")).to_have_count(2)
        await page.get_by_role("link", name="Definition").click()
        await expect(page.locator(".source").first).to_contain_text("alias: shared")
        for view in ("timeline", "history", "definition"):
            # Without loading the page again, which would forget the token.
            query = f"?job=of-alice&view={view}"
            await page.evaluate(f"history.pushState(null, '', '{query}'); dispatchEvent(new PopStateEvent('popstate'))")
            await expect(page.get_by_role("alert")).to_contain_text("neither initiator nor party of such a job")
            await expect(page.locator("main")).not_to_contain_text("secret")
            await page.go_back()
            await expect(page.locator(".source").first).to_contain_text("alias: shared")
