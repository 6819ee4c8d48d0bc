"""What the page asks of jobs: with a reason, only what their state allows, and every refusal is told."""

import signal
from pathlib import Path

import aiohttp
from playwright.async_api import Page, Route, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.security.tokens import domain_file
from tests.page.jobs import address, create_failed, scripted
from tests.support.requests import create, ended, in_state, job_request, status_of
from tests.support.secured import secured_server, with_token
from tests.support.server import RunningServer, running_server

ACTIONS = ".actions button"


async def choose(page: Page, action: str, reason: str) -> None:
    """Ask for it in the view of a job, with a reason."""
    await page.locator(ACTIONS).get_by_text(f"{action}…", exact=True).click()
    await answer(page, action, reason)


async def answer(page: Page, action: str, reason: str) -> None:
    """Give the reason that the dialog asks for, by the keyboard alone."""
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    await expect(dialog.locator("button[type=submit]")).to_be_disabled()
    assert (await dialog.locator("button").all_inner_texts())[0].startswith(f"{action} ")
    await page.keyboard.type(reason)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")


async def audited(server: RunningServer) -> list[tuple[str, str]]:
    """The changes that were asked for, oldest first, each with its reason."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.http_address}/v1/audit") as told:
        entries = (await told.json())["entries"]
    return [(entry["method"], entry["reason"]) for entry in reversed(entries)]


async def test_a_job_can_be_asked_for_what_its_state_allows_and_nothing_else(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("flow", scripted("t", seconds=600)))
    await in_state(server.stub, "flow", "Running")
    await page.goto(address(server, "?job=flow"))
    badge = page.locator("h1 .badge")
    await expect(page.locator(ACTIONS)).to_have_text(["Suspend…", "Stop…", "Cancel…", "Delete…"])
    await choose(page, "Suspend", "night")
    await expect(badge).to_contain_text("Suspended")
    await expect(page.locator(ACTIONS)).to_have_text(["Restart…", "Stop…", "Cancel…", "Delete…"])
    await choose(page, "Restart", "morning")
    await expect(badge).to_contain_text("Running")
    await choose(page, "Stop", "wrong data")
    await expect(badge).to_contain_text("Failed")
    await expect(page.get_by_role("heading", name="Stopped by master")).to_be_visible()
    await expect(page.locator(".why")).to_contain_text("wrong data")
    await expect(page.locator(ACTIONS)).to_have_text(["Restart…", "Cancel…", "Delete…"])
    await choose(page, "Cancel", "for good")
    await expect(badge).to_contain_text("Cancelled")
    await expect(page.locator(ACTIONS)).to_have_text(["Delete…"])
    await choose(page, "Delete", "no longer needed")
    await expect(page.get_by_text("This job was deleted.")).to_be_visible()
    await expect(page.locator(ACTIONS)).to_have_count(0)
    assert (await audited(server))[1:] == [
        ("SuspendJob", "night"),
        ("RestartJob", "morning"),
        ("StopJob", "wrong data"),
        ("CancelJob", "for good"),
        ("DeleteJob", "no longer needed"),
    ]


async def test_a_job_that_awaits_approval_can_be_approved_or_rejected(tmp_path: Path, page: Page) -> None:
    async with running_server(tmp_path, runtime="simulated", require_approval=True) as server:
        for job_id in ("good", "bad"):
            await create(server.stub, job_request(job_id))
        await page.goto(address(server, "?job=good"))
        await expect(page.locator(ACTIONS)).to_have_text(["Approve…", "Reject…", "Stop…", "Cancel…", "Delete…"])
        await choose(page, "Approve", "all agree")
        await expect(page.locator("h1 .badge")).to_contain_text("Succeeded")
        await page.goto(address(server, "?job=bad"))
        await choose(page, "Reject", "<b>not</b> with us")
        await expect(page.locator("h1 .badge")).to_contain_text("Rejected")
        await expect(page.locator("main")).to_contain_text("<b>not</b> with us")


async def test_a_refusal_is_shown_in_the_servers_words(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("flow", scripted("t", seconds=600)))
    await in_state(server.stub, "flow", "Running")
    await page.goto(address(server, "?job=flow"))
    await page.get_by_text("Suspend…").click()
    await server.stub.StopJob(pb.StopJobRequest(job_id="flow"))
    await ended(server.stub, "flow")
    await answer(page, "Suspend", "too late")
    refusal = page.get_by_role("dialog").get_by_role("alert")
    await expect(refusal).to_contain_text('job "flow" is Failed: Suspend is possible only when it is Running')
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_leaving_the_dialog_changes_nothing_and_gives_the_focus_back(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud"))
    await page.get_by_text("Delete…").press("Enter")
    await page.keyboard.type("xs?")  # no key of the page acts meanwhile
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_text("Delete…")).to_be_focused()
    assert [method for method, _ in await audited(server)] == ["CreateJob"]


async def test_many_jobs_are_stopped_and_deleted_and_each_refusal_is_told_by_its_job(
    server: RunningServer, page: Page
) -> None:
    for number in range(12):
        await create(server.stub, job_request(f"run-{number:02}", scripted("t", seconds=600)))
    await create(server.stub, job_request("done"))
    await ended(server.stub, "done")
    await page.goto(address(server))
    await expect(page.locator(".jobs a.job")).to_have_count(13)
    await page.get_by_label("Choose all 13 shown").check()
    await expect(page.locator(".selection")).to_contain_text("13 chosen")
    await page.get_by_label("Choose run-00").uncheck()
    await page.locator(".selection").get_by_text("Stop…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Stop 11 jobs?")
    await expect(dialog).to_contain_text("1 job is left out: its state does not allow it.")
    await answer(page, "Stop", "maintenance")
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".told")).to_have_text("11 jobs were stopped.")
    await expect(page.locator(".jobs .state-Failed.badge")).to_have_count(11)
    await expect(page.locator("tr", has_text="run-00")).to_contain_text("Running")

    await page.locator(".selection").get_by_text("Delete…").click()
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="run-07"))
    await answer(page, "Delete", "cleaning")
    await expect(dialog.get_by_role("alert")).to_contain_text("The server refused it for 1 job")
    await expect(dialog.locator(".refusals")).to_contain_text('run-07job "run-07" not found')
    await expect(page.locator(".jobs a.job")).to_have_text(["run-00"])
    await page.keyboard.press("Escape")
    await expect(page.locator(".selection")).not_to_contain_text("chosen")


async def test_rows_are_chosen_with_the_keyboard_and_in_ranges(server: RunningServer, page: Page) -> None:
    for number in range(5):
        await create(server.stub, job_request(f"job-{number}"))
    await page.goto(address(server))
    await expect(page.locator(".jobs a.job")).to_have_count(5)
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.get_by_label("Choose job-4")).to_be_checked()
    await page.get_by_label("Choose job-1").click(modifiers=["Shift"])
    await expect(page.locator(".selection")).to_contain_text("4 chosen")
    await page.get_by_role("button", name="Choose none").click()
    await expect(page.locator(".is-chosen")).to_have_count(0)


async def test_a_domain_changes_its_own_jobs_with_its_token_over_tls(tmp_path: Path, page: Page) -> None:
    async with secured_server(tmp_path, protocol="tls") as place, place.master.channel(place.server.address) as channel:
        stub = with_token(channel, place.master.token or "")
        await create(stub, job_request("own", scripted("t", seconds=600)))
        await page.goto(f"https://{place.http_address}/ui/?job=own")
        await page.get_by_label("Token of the master or of a domain").fill(place.domain("bob").token or "")
        await page.keyboard.press("Enter")
        await choose(page, "Stop", "bob's data is not ready")
        await expect(page.get_by_role("heading", name="Stopped by bob")).to_be_visible()
        await expect(page.locator(".why")).to_contain_text("bob's data is not ready")

        # A page of another origin, which knows the token, is refused.
        async with aiohttp.ClientSession() as session:
            headers = {"Token": place.domain("bob").token or "", "Origin": "https://evil.example"}
            url = f"https://{place.http_address}/api/v1/job/delete"
            async with session.post(url, json={"job_id": "own"}, headers=headers, ssl=False) as answered:
                assert answered.status == 403

        # Once its token is withdrawn, another is asked for.
        domain_file(place.certs, "bob").unlink()
        place.server.process.send_signal(signal.SIGHUP)
        await expect(page.get_by_label("Token of the master or of a domain")).to_be_visible()
        await in_state(stub, "own", "Failed")


async def test_a_change_that_is_refused_for_its_origin_says_so(server: RunningServer, page: Page) -> None:
    """A page of another origin changes nothing; where ours is taken for one, the person is told why."""
    await create(server.stub, job_request("flow", scripted("t", seconds=600)))
    await in_state(server.stub, "flow", "Running")

    async def send_from_elsewhere(route: Route) -> None:
        headers = {**route.request.headers, "origin": "http://evil.example"}
        await route.fulfill(response=await route.fetch(headers=headers))

    await page.route("**/api/v1/job/stop", send_from_elsewhere)
    await page.goto(address(server, "?job=flow"))
    await choose(page, "Stop", "from elsewhere")
    await expect(page.get_by_role("alert")).to_contain_text('origin "http://evil.example" is not ours')
    assert (await status_of(server.stub, "flow")).state == "Running"
