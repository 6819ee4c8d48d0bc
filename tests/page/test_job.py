"""A job's views say which party made it fail and why, and nothing in a job's texts acts."""

from pathlib import Path

from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.page.jobs import address, create_failed, scripted
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.secured import secured_server
from tests.support.server import RunningServer, running_server

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m \u202egnp.exe"


async def test_the_page_names_the_party_that_made_a_job_fail_and_why(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server))
    await page.get_by_role("link", name="fraud").click()
    why = page.locator(".why")
    await expect(why.get_by_role("heading")).to_have_text("Party bob made task psi fail")
    await expect(why).to_contain_text("no space left")
    await expect(why).to_contain_text("exit code 3")


async def test_the_matrix_tells_who_failed_first_from_who_was_only_stopped(server: RunningServer, page: Page) -> None:
    await create_failed(server)
    await page.goto(address(server, "?job=fraud&view=parties"))
    await expect(page.locator(".matrix thead th")).to_have_text(["Task", "bob", "alice"])
    cells, bob = page.locator(".matrix tbody").nth(1).locator("td").all(), page.locator(".matrix td:has(.is-first)")
    await expect(bob).to_contain_text("failed first")
    await expect(bob).to_contain_text("exit code 3: no space left")
    await expect((await cells)[1]).to_contain_text("stopped after that")
    await expect(page.locator(".matrix tbody").nth(2)).to_contain_text('dependency "psi" failed')


async def test_the_graph_is_live_and_shows_a_task_when_it_is_chosen(server: RunningServer, page: Page) -> None:
    await create(server.stub, job_request("flow", scripted("a", seconds=600), scripted("b", "a")))
    await in_state(server.stub, "flow", "Running")
    await page.goto(address(server, "?job=flow"))
    await expect(page.locator(".node")).to_have_count(2)
    await expect(page.locator(".edge")).to_have_count(1)
    await expect(page.locator(".node.state-Running .name")).to_have_text("a")
    await page.locator(".node", has_text="b").click()
    await expect(page.locator(".panel")).to_contain_text('waiting for "a"')
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Enter")
    await expect(page.locator(".panel")).to_contain_text("alice")


async def test_128_tasks_are_laid_out_and_found(server: RunningServer, page: Page) -> None:
    tasks = [scripted(f"t{number}", *([f"t{number // 2}"] if number else [])) for number in range(128)]
    await create(server.stub, job_request("many", *tasks))
    await page.goto(address(server, "?job=many"))
    await expect(page.locator(".node")).to_have_count(128)
    await page.get_by_placeholder("Find a task").fill("t127")
    await expect(page.get_by_text("1 found")).to_be_visible()
    await expect(page.locator(".node:not(.is-faint) .name")).to_be_in_viewport()


async def test_hostile_texts_stay_texts(server: RunningServer, page: Page) -> None:
    await create_failed(server, "hostile", message=HOSTILE)
    for query in ("", "?job=hostile", "?job=hostile&task=psi", "?job=hostile&view=parties"):
        await page.goto(address(server, query))
        told = page.get_by_text("<script>alert(1)</script>").first
        await expect(told).to_be_visible()
        text = await told.inner_text()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert await page.locator("img").count() == 0


SPEAKS = python_program(
    "import os, sys, time\n"
    "domain = os.environ['KUSCIA_DOMAIN_ID']\n"
    "print(f'{domain} begins', flush=True)\n"
    "print('\\x1b[2J\\x1b[31mloud\\x1b[0m <b>bold</b>', file=sys.stderr, flush=True)\n"
)


async def test_the_logs_of_all_parties_are_shown_together(tmp_path: Path, page: Page) -> None:
    write_image(tmp_path / "images", "speaks", SPEAKS)
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        await create(server.stub, job_request("talk", task_request("t", "speaks")))
        await ended(server.stub, "talk")
        await page.goto(address(server, "?job=talk&view=logs"))
        await expect(page.locator(".logline")).to_have_count(4)
        await expect(page.locator(".logline", has_text="alice begins")).to_be_visible()
        await expect(page.locator(".logline.stderr .said").first).to_have_text("loud <b>bold</b>")
        await page.get_by_label("Parties").select_option("bob")
        await expect(page.locator(".logline")).to_have_count(2)
        await page.get_by_placeholder("Find in these lines").fill("BEGINS")
        await expect(page.locator("mark")).to_have_text("begins")


async def test_with_tls_a_token_is_asked_for_and_a_domain_sees_its_own_jobs(tmp_path: Path, page: Page) -> None:
    async with secured_server(tmp_path, protocol="tls") as place:
        async with place.master.channel(place.server.address) as channel:
            stub, metadata = job_pb2_grpc.JobServiceStub(channel), place.master.metadata
            for request in (
                job_request("of-alice-and-bob"),
                job_request("of-alice", task_request("only", domains=["alice"])),
            ):
                response = await stub.CreateJob(request, metadata=metadata)
                assert response.status.code == 0, response.status.message
        await page.goto(f"https://{place.http_address}/ui/")
        label = page.get_by_label("Token of the master or of a domain")
        await label.fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible()
        await label.fill(place.domain("bob").token or "")
        await page.keyboard.press("Enter")
        await expect(page.locator(".jobs a.job")).to_have_text(["of-alice-and-bob"])
        # Without loading the page again, which would forget the token.
        await page.evaluate(
            "history.pushState(null, '', '?job=of-alice'); dispatchEvent(new PopStateEvent('popstate'))"
        )
        await expect(page.get_by_role("alert")).to_contain_text("it is neither initiator nor party of such a job")
        await page.go_back()
        await page.get_by_role("link", name="of-alice-and-bob").click()
        await expect(page.locator(".node")).to_have_count(1)
        await page.get_by_role("button", name="Forget the token").click()
        await expect(label).to_be_visible()
        await expect(page.locator(".jobs")).to_have_count(0)
