"""What jobs and programs say is shown, whatever it is; nothing in it acts, and what is cut says how long it is."""

from pathlib import Path

from playwright.async_api import Page, Route, expect

from kusciajob._gen.kusciajob.v1 import jobs_pb2, jobs_pb2_grpc
from tests.page.jobs import address, create_failed
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3) \x1b[31mred\x1b]0;title\x07"
    "\x9b2J \u202egnp.exe\u2066 zero\u200bwidth \ufeff\u2028\x00\r{{constructor}} ${1}"
)
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LONG_BYTES = 1_000_000
NAMELESS = (
    "[...document.querySelector('main').textContent].filter(c => /[\\p{Cf}\\p{Cc}]/u.test(c) && !'\\n\\t'.includes(c))"
)


async def assert_harmless(page: Page) -> None:
    """Nothing invisible, nothing that controls, and no element that we have not made."""
    assert await page.evaluate(NAMELESS) == []
    assert await page.locator("main :is(script, img, iframe, object, embed, style, link)").count() == 0
    assert await page.title() != "title"


async def test_hostile_texts_are_shown_and_do_not_act(server: RunningServer, page: Page) -> None:
    await create_failed(server, "hostile", message=HOSTILE)
    request = jobs_pb2.SubmitJobRequest(job=job_request("fields"), labels={"note": HOSTILE})
    await jobs_pb2_grpc.JobsServiceStub(server.channel).SubmitJob(request)
    for query in (
        "",
        "?job=hostile",
        "?job=hostile&task=psi",
        "?job=hostile&view=parties",
        "?job=hostile&view=history",
        "?job=hostile&view=definition",
        "?job=fields",
        "?job=fields&view=definition",
    ):
        await page.goto(address(server, query))
        await expect(page.get_by_text(MARKUP).first).to_be_visible()
        await assert_harmless(page)


async def test_a_hostile_address_shows_nothing_of_its_own(server: RunningServer, page: Page) -> None:
    for query in (
        "?job=<img src=x onerror=alert(1)>",
        "?job=a/../../v1/jobs",
        "?view=<script>alert(1)</script>",
        "?job=%00",
    ):
        await page.goto(address(server, query))
        await expect(page.locator("main")).not_to_be_empty()
        await assert_harmless(page)


async def test_a_long_message_is_cut_and_says_how_long_it_is(server: RunningServer, page: Page) -> None:
    await create_failed(server, "long", message="placeholder")

    async def lengthen(route: Route) -> None:
        # This server has cut it: another one might not.
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("placeholder", "x" * LONG_BYTES))

    await page.route("**/v1/jobs/*", lengthen)
    await page.route("**/v1/jobs?*", lengthen)
    for query in ("", "?job=long", "?job=long&task=psi", "?job=long&view=parties"):
        await page.goto(address(server, query))
        await expect(page.get_by_text("xxxxxxxx").first).to_be_visible()
        if query:
            await expect(page.get_by_text("Cut: 4,000 of 1,000,013 characters are shown.").first).to_be_visible()
        assert await page.evaluate("document.querySelector('main').textContent.length") < 30_000


LOUD = python_program(
    "import sys\n"
    f"sys.stdout.write({HOSTILE!r} + '\\n')\n"
    f"sys.stdout.write('y' * {LONG_BYTES} + '\\n')\n"
    "sys.stdout.write('the end\\n')\n"
)


async def test_a_line_of_a_log_is_cut_and_says_how_long_it_is(tmp_path: Path, page: Page) -> None:
    write_image(tmp_path / "images", "loud", LOUD)
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        await create(server.stub, job_request("loud", task_request("t", "loud", domains=["alice"])))
        await ended(server.stub, "loud")
        await page.goto(address(server, "?job=loud&view=logs"))
        await expect(page.locator(".logline", has_text="the end")).to_be_visible()
        await page.evaluate("document.querySelector('.log').scrollTop = 0")
        await expect(page.locator(".logline", has_text=MARKUP)).to_be_visible()
        await assert_harmless(page)
        long = page.locator(".logline", has_text="yyyyyyyy").first
        await expect(long).to_contain_text("Cut: 4,000 of 1,000,000 characters are shown.")
        await expect(page.locator(".logline")).to_have_count(3)
        assert await page.evaluate("document.querySelector('main').textContent.length") < 300_000
