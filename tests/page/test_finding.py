"""One finds what one looks for: names are suggested, a list that is empty says why, a moment says when it was."""

import re

from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.page.jobs import address, create_failed
from tests.support.requests import create, job_request, status_of
from tests.support.server import RunningServer


async def test_a_filter_suggests_the_domains_and_says_where_a_name_is_not_whole(
    server: RunningServer, page: Page
) -> None:
    await create_failed(server)
    await page.goto(address(server))
    await expect(page.locator("#domains option")).to_have_count(2)
    party = page.get_by_label("Party", exact=True)
    await expect(party).to_have_attribute("list", "domains")
    await party.fill("bo")
    notice = page.locator("main .notice")
    await expect(notice).to_contain_text("No job matches these filters.")
    await expect(notice).to_contain_text("Party “bo”: names are compared whole")
    await page.reload()  # where nobody has been met yet
    await notice.get_by_role("link", name="bob").click()
    await expect(page.locator(".jobs a.job")).to_have_text(["fraud"])
    await expect(party).to_have_value("bob")
    await page.goto(address(server, "?states=Suspended&initiator=carol"))
    await expect(notice).to_contain_text("Initiator “carol”: names are compared whole")
    await page.goto(address(server, "?states=Suspended&initiator=alice"))
    await expect(notice).to_have_text("No job matches these filters. Clear the filters")
    await notice.get_by_role("link", name="Clear the filters").click()
    await expect(page.locator(".jobs a.job")).to_have_text(["fraud"])


async def test_a_moment_says_when_it_was_in_the_zone_of_the_person(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("one"))
    created = (await status_of(server.stub, "one")).create_time
    await page.goto(address(server))
    moment = page.locator(".jobs time")
    await expect(moment).to_have_attribute("datetime", re.compile(re.escape(created[:19])))
    when = re.compile(r"\b20\d\d, \d\d:\d\d:\d\d (UTC|GMT|[A-Z]{3,4})")
    await expect(moment).to_have_attribute("title", when)
    await expect(page.locator(".count")).to_have_text("1 job shown")
    await page.goto(address(server, "?job=one"))
    await expect(page.locator(".facts time")).to_have_text(when)
    await expect(page.locator(".crumbs")).to_have_text(re.compile(r"Jobs\s*\W\s*one"))


async def test_no_two_states_have_the_same_sign(server: RunningServer, page: Page) -> None:
    await page.goto(address(server))
    await expect(page.locator(".chip .sign")).to_have_count(8)
    signs = await page.locator(".chip .sign").all_inner_texts()
    assert len(set(signs)) == 8


async def test_many_are_restarted_but_for_those_whose_state_does_not_allow_it(
    server: RunningServer, page: Page
) -> None:
    for job_id in ("one", "two"):
        await create_failed(server, job_id)
    await create(server.stub, job_request("good"))
    await page.goto(address(server))
    await expect(page.locator(".jobs .state-Succeeded.badge")).to_have_count(1)
    restart = page.locator(".selection").get_by_text("Restart…")
    await page.get_by_label("Choose good").check()
    await expect(restart).to_be_disabled()
    await page.get_by_label("Choose all 3 shown").check()
    await restart.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Restart 2 jobs?")
    await expect(dialog).to_contain_text("1 job is left out")
    await dialog.get_by_label("Reason").fill("mended")
    await expect(dialog.get_by_role("button")).to_have_text(["Restart 2 jobs", "Leave them as they are"])
    await dialog.get_by_role("button", name="Restart 2 jobs").click()
    await expect(page.locator(".told")).to_have_text("2 jobs were restarted.")
    await expect(page.locator(".jobs .c-time[title]:not([title=''])")).to_have_count(2)


async def test_the_buttons_of_a_dialog_say_what_they_do(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud"))
    await page.get_by_text("Cancel…").click()
    buttons = page.get_by_role("dialog").get_by_role("button")
    await expect(buttons).to_have_text(["Cancel the job", "Leave it as it is"])
    await buttons.nth(1).click()
    await page.get_by_text("Cancel…").click()
    await page.get_by_label("Reason").fill("for good")
    await buttons.nth(0).click()
    await expect(page.locator(".told")).to_have_text("fraud was cancelled.")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="fraud"))
