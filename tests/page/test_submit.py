"""A job is submitted from a file that is written, pasted, chosen or dropped, and judged as one types."""

import json
from pathlib import Path

from playwright.async_api import Page, expect

from tests.page.jobs import address
from tests.support.images import python_program, write_image
from tests.support.kuscia_documents import KUSCIA_JOB
from tests.support.requests import create, job_request
from tests.support.secured import secured_server, with_token
from tests.support.server import RunningServer, running_server

WRONG = """job_id: My job
initiator: ""
tasks:
  - alias: psi
    app_image: psi
    parties: [{domain_id: alice}]
  - alias: train
    app_image: sgb
    parties: [{domain_id: alice}]
    dependencies: [psy]
"""
GOOD = WRONG.replace("My job", "written").replace('""', "alice").replace("psy", "psi")


async def test_problems_are_told_as_one_types_each_with_its_place(server: RunningServer, page: Page) -> None:
    await page.goto(address(server))
    await expect(page.get_by_text("No job yet.")).to_be_visible()
    await page.keyboard.press("n")
    editor = page.get_by_label("The job", exact=True)
    await editor.fill(WRONG)
    problems = page.locator(".problems li")
    await expect(problems).to_have_count(3)
    await expect(problems.nth(0)).to_contain_text("Line 1, column 1")
    await expect(problems.nth(0)).to_contain_text('job_id "My job" is not valid')
    await expect(problems.nth(1)).to_contain_text("Line 2, column 1")
    await expect(problems.nth(2)).to_contain_text("tasks[1].dependencies[0]")
    await expect(problems.nth(2)).to_contain_text('depends on "psy", which is no alias of this job')
    await problems.nth(2).get_by_role("button", name="Line 10").press("Enter")
    await expect(editor).to_be_focused()
    chosen = await editor.evaluate("each => each.value.slice(each.selectionStart, each.selectionEnd)")
    assert chosen == "    dependencies: [psy]"
    await expect(page.get_by_role("button", name="Submit", exact=True)).to_have_attribute("aria-disabled", "true")

    await editor.fill(WRONG.replace("app_image: sgb", "app_imag: sgb").replace("alias: psi", "alias: [1]"))
    await expect(problems).to_have_count(2)
    await expect(problems.nth(1)).to_contain_text("Line 8")
    await expect(problems.nth(1)).to_contain_text('field "app_imag" is unknown: did you mean app_image?')

    await editor.fill("job_id: a\n\tinitiator: alice")
    await expect(problems).to_have_count(1)
    await expect(problems).to_contain_text("Line 2, column 1")

    await editor.fill(GOOD)
    await expect(page.get_by_role("heading", name="Nothing is wrong with it")).to_be_visible()
    await expect(page.locator(".verdict tbody tr")).to_have_count(2)
    await page.get_by_role("button", name="Submit written").press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("written")
    await expect(page.locator("h1 .badge")).to_contain_text("Succeeded")
    await expect(page.locator(".node")).to_have_count(2)


async def test_a_file_can_be_chosen_or_dropped_in_every_form_that_the_command_line_takes(
    server: RunningServer, page: Page, tmp_path: Path
) -> None:
    await page.goto(address(server, "?show=submit"))
    editor = page.get_by_label("The job", exact=True)
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"jobId": "chosen", "initiator": "alice", "tasks": [], "zzz": 1}, indent="\t"))
    await page.get_by_label("Job file").set_input_files(file)
    await expect(page.locator(".problems")).to_contain_text('field "zzz" is unknown')
    await expect(page.locator(".problems")).to_contain_text("Line 5")

    data = await page.evaluate_handle(
        "text => { const data = new DataTransfer(); data.items.add(new File([text], 'job.yaml')); return data; }",
        KUSCIA_JOB + "extra: 1\n",
    )
    await editor.dispatch_event("drop", {"dataTransfer": data})
    await expect(editor).to_have_value(KUSCIA_JOB + "extra: 1\n")
    await expect(page.get_by_role("button", name="Submit job-best-effort-linear")).to_be_visible()
    await expect(page.get_by_role("heading", name="Without effect here")).to_be_visible()
    await expect(page.locator(".problems")).to_contain_text("extra")

    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    await page.get_by_label("Job file").set_input_files(large)
    await expect(page.get_by_role("alert")).to_contain_text("large.yaml is larger than 4 MiB")


async def test_what_parties_would_execute_is_shown_and_hostile_texts_stay_texts(tmp_path: Path, page: Page) -> None:
    write_image(tmp_path / "images", "psi", python_program("print('<img src=x onerror=alert(1)>')"))
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        await page.goto(address(server, "?show=submit"))
        editor = page.get_by_label("The job", exact=True)
        await editor.fill(GOOD)
        await expect(page.locator(".problems")).to_contain_text('AppImage "sgb" is unknown; there are: psi')
        await editor.fill(GOOD.replace("sgb", "psi"))
        await expect(page.locator(".command").first).to_contain_text("<img src=x onerror=alert(1)>")
        await editor.fill('"<script>alert(1)</script>\\u202e": 1')
        await expect(page.locator(".problems")).to_contain_text("<script>alert(1)</script>")
        assert "\u202e" not in await page.locator(".problems").inner_text()
        assert await page.locator("img").count() == 0


async def test_what_the_server_refuses_is_shown_and_what_was_written_stays(tmp_path: Path, page: Page) -> None:
    async with secured_server(tmp_path, protocol="tls") as place, place.master.channel(place.server.address) as channel:
        await page.goto(f"https://{place.http_address}/ui/?show=submit")
        await page.get_by_label("Token of the master or of a domain").fill(place.domain("bob").token or "")
        await page.keyboard.press("Enter")
        editor = page.get_by_label("The job", exact=True)
        await editor.fill(GOOD)
        await expect(page.locator(".problems")).to_contain_text(
            'domain "bob" may not create a job of initiator "alice"'
        )
        await editor.fill(GOOD.replace("initiator: alice", "initiator: bob"))
        submit = page.get_by_role("button", name="Submit written")
        await expect(submit).to_be_visible()
        await create(with_token(channel, place.master.token or ""), job_request("written"))
        await submit.click()
        await expect(page.get_by_role("alert")).to_contain_text('job "written" already exists')
        await expect(page.get_by_role("heading", name="The server has refused it")).to_be_visible()
        await expect(editor).to_have_value(GOOD.replace("initiator: alice", "initiator: bob"))
        await editor.fill(GOOD.replace("initiator: alice", "initiator: bob").replace("written", "bobs"))
        await page.get_by_role("button", name="Submit bobs").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("bobs")
        await expect(page.locator(".node")).to_have_count(2)
