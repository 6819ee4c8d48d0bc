"""The definition is a job file that the command line takes, and the AppImages that the job names."""

import json
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from playwright.async_api import Page, expect

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model.job import SCHEDULE_MODE_HEADER
from tests.page.gated import PROGRAM, Gate, images
from tests.page.jobs import address
from tests.support.images import write_image
from tests.support.program import kusciajob
from tests.support.requests import create, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

CONFIGS = {
    "json": json.dumps({"table": "a b", "keys": ["id", "名前"], "path": "C:\\data", "emoji": "🙂"}),
    "lines": 'first: "1"\n\n  indented\n# no comment\n--- \nlast',
    "ends": "trailing space \n",
    "begins": "  leading",
    "empty": "",
    "word": "true",
    "number": "0644",
    "signs": "tab\tbell\x07del\x7fnel\x85nbsp\xa0bidi\u202ebom\ufeffline\u2028tag\U000e0041pua\ue000",
    "script": "<script>alert(1)</script>",
    "template": "{{.TASK_ID}}: @`&*![]{}|>%",
}


def everything(job_id: str) -> pb.CreateJobRequest:
    """A job with all that a request can say, and texts that are hard to write."""
    tasks = [task_request(alias, task_input_config=config) for alias, config in CONFIGS.items()]
    tasks[0].parties[0].role = "host: yes"
    tasks[0].parties[0].resources.cpu = "500m"
    tasks[0].parties[1].bandwidth_limits.add(destination_id="alice", limit_kbps=1000)
    tasks[1].dependencies.append("json")
    tasks[1].tolerable = True
    tasks[1].priority = -7
    tasks[2].schedule_config.task_timeout_seconds = 60
    tasks[3].alias = "- Start: #1 'x' \"y\""
    fields = {"owner": "null", "note": "it's", "empty": ""}
    job = job_request(job_id, *tasks, max_parallelism=3, custom_fields=fields)
    job.header.custom_headers[SCHEDULE_MODE_HEADER] = "Strict"
    return job


async def definition_of(server: RunningServer, job_id: str) -> dict[str, object]:
    """All that QueryJob tells of what was asked for, without ids and states."""
    response = await server.stub.QueryJob(pb.QueryJobRequest(job_id=job_id))
    assert response.status.code == 0, response.status.message
    told: dict[str, object] = MessageToDict(response.data, preserving_proto_field_name=True)
    for task in told["tasks"]:  # type: ignore[attr-defined]
        del task["task_id"]
    del told["status"], told["job_id"]
    return told


async def test_the_command_line_creates_the_same_job_from_the_downloaded_file(
    server: RunningServer, page: Page, tmp_path: Path
) -> None:
    await create(server.stub, everything("original"))
    await page.goto(address(server, "?job=original&view=definition"))
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download").click()
    file = tmp_path / (await download.value).suggested_filename
    assert file.name == "original.yaml"
    await (await download.value).save_as(file)
    again = kusciajob("create", "-f", file, server=server)
    assert again.returncode == 0, again.stderr  # the identical job exists
    file.write_text(file.read_text().replace("job_id: original\n", "job_id: another\n"))
    created = kusciajob("create", "-f", file, server=server)
    assert created.returncode == 0, created.stderr
    assert await definition_of(server, "another") == await definition_of(server, "original")


async def test_what_is_shown_is_what_is_copied(server: RunningServer, page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await create(server.stub, everything("original"))
    await page.goto(address(server, "?job=original&view=definition"))
    source = page.get_by_role("region", name="Job file")
    await expect(source).to_contain_text("job_id: original")
    await page.keyboard.press("c")
    await expect(page.get_by_text("Copied.")).to_be_visible()
    shown = await source.text_content()
    assert await page.evaluate("navigator.clipboard.readText()") == shown
    assert shown is not None
    assert not set(shown) & set("\x07\x7f\u202e\ufeff\U000e0041\ufffd")


async def test_a_copy_is_submitted_under_a_fresh_id(server: RunningServer, page: Page) -> None:
    await create(server.stub, everything("original"))
    await page.goto(address(server, "?job=original&view=definition"))
    shown = await page.get_by_role("region", name="Job file").text_content()
    await page.get_by_role("button", name="Submit a copy…").click()
    await expect(page.get_by_label("The job", exact=True)).to_have_value(shown or "")
    await page.get_by_role("button", name="Submit original").click()
    await expect(page.get_by_role("heading", name="It is there already")).to_be_visible()
    await page.get_by_role("button", name="Submit under a fresh id").click()
    await expect(page.locator("h1 .id")).to_have_text("original-2")
    assert await definition_of(server, "original-2") == await definition_of(server, "original")


async def test_a_job_too_large_for_yaml_is_told_in_json(server: RunningServer, page: Page, tmp_path: Path) -> None:
    await create(server.stub, job_request("large", task_request("t", task_input_config="x" * 4_500_000)))
    await page.goto(address(server, "?job=large&view=definition"))
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download").click()
    file = tmp_path / (await download.value).suggested_filename
    assert file.name == "large.json"
    await (await download.value).save_as(file)
    file.write_text(file.read_text().replace('"job_id": "large"', '"job_id": "another"'))
    created = kusciajob("create", "-f", file, server=server)
    assert created.returncode == 0, created.stderr
    assert await definition_of(server, "another") == await definition_of(server, "large")
    await expect(page.get_by_text("200,000 of")).to_be_visible()
    await expect(page.get_by_role("button", name="Submit a copy…")).to_have_count(0)


async def test_the_app_images_of_a_running_job_are_told(tmp_path: Path, page: Page) -> None:
    async with running_server(tmp_path, app_image_dir=images(tmp_path)) as server:
        await create(server.stub, job_request("live", Gate(tmp_path, "psi").task()))
        await page.goto(address(server, "?job=live&view=definition"))
        await expect(page.get_by_text("gated:1")).to_be_visible()
        await expect(page.locator(".roles")).to_contain_text("peer")
        await expect(page.get_by_role("region", name="gated")).to_contain_text("config_templates:")
        await expect(page.get_by_role("region", name="gated")).to_contain_text("{{.TASK_CLUSTER_DEFINE}}")


async def test_the_config_files_of_a_running_program_are_told_without_secrets(tmp_path: Path, page: Page) -> None:
    secret: dict[str, Any] = {"env": [{"name": "PASSWORD", "value": "hunter2"}]}
    write_image(tmp_path / "images", "gated", PROGRAM, ports=["peer"], **secret)
    template = tmp_path / "images" / "gated.yaml"
    template.write_text(template.read_text().replace("{{.TASK_ID}}", "{{.TASK_ID}} {{.PASSWORD}} {{.PATH}}"))
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        gate = Gate(tmp_path, "psi")
        await create(server.stub, job_request("live", gate.task()))
        status = await in_state(server.stub, "live", "Running")
        await page.goto(address(server, "?job=live&view=definition&party=bob"))
        config = page.get_by_role("region", name="bob /work/conf/task.json")
        await expect(config).to_contain_text(f"{status.tasks[0].task_id} (left out) (left out)")
        (endpoint,) = status.tasks[0].parties[0].endpoints
        await expect(config).to_contain_text(endpoint.endpoint)
        await expect(config).to_contain_text(gate.path)
        await page.get_by_label("Party").select_option("alice")
        await expect(page.get_by_role("region", name="alice /work/conf/task.json")).to_be_visible()
