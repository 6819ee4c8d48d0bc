"""GetTaskConfig tells the config files that a party's programs really get, without secrets, and each domain its own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.callers import Caller
from tests.support.images import shell_image, write_images
from tests.support.polling import eventually_true
from tests.support.requests import job_request, task_request
from tests.support.secured import Place, secured_server

CONFIG = json.dumps(
    {
        "task": "{{.TASK_ID}}",
        "input": "{{.TASK_INPUT_CONFIG}}",
        "cluster": "{{.TASK_CLUSTER_DEFINE}}",
        "token": "{{.KUSCIA_API_TOKEN}}",
        "key": "{{.KUSCIA_DOMAIN_KEY_DATA}}",
        "own": "{{.PASSWORD}}",
        "machine": "{{.PATH}}",
        "inside": "{{{.PASSWORD.word}}}",
    }
)
PORT = {"name": "peer", "protocol": "TCP", "scope": "Cluster"}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    image = shell_image("copies", "cp c.json $TARGET/$KUSCIA_DOMAIN_ID; sleep 600", {"c.json": CONFIG})
    (container,) = image["spec"]["deployTemplates"][0]["spec"]["containers"]
    container["ports"] = [PORT]
    container["env"] = [
        {"name": "PASSWORD", "value": '{"word": "hunter2"}'},
        {"name": "TARGET", "value": str(tmp_path)},
    ]
    write_images(tmp_path / "images", [image])
    async with secured_server(tmp_path, runtime="process", app_image_dir=tmp_path / "images") as place:
        yield place


async def ask(place: Place, caller: Caller, query: str) -> tuple[int, Any]:
    url = f"https://{place.http_address}/v1/jobs/live/config{query}"
    headers = {"Token": caller.token or ""}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=caller.ssl_context) as answer,
    ):
        return answer.status, await answer.json()


async def create(place: Place) -> None:
    task = task_request("psi", "copies", task_input_config='{"table": "t"}')
    async with place.master.channel(place.server.address) as channel:
        stub = job_pb2_grpc.JobServiceStub(channel)
        answer = await stub.CreateJob(job_request("live", task), metadata=place.master.metadata)
        assert answer.status.code == 0, answer.status.message


async def test_what_is_told_is_what_the_program_has_but_for_secrets(place: Place, tmp_path: Path) -> None:
    await create(place)

    async def written() -> str:
        file = tmp_path / "bob"
        return file.read_text() if file.exists() else ""

    real = json.loads(await eventually_true(written))
    assert real["inside"] == "hunter2"
    status, told = await ask(place, place.master, "?domain_id=bob")
    assert status == 200, told
    assert (told["alias"], told["domain_id"], told["problem"]) == ("psi", "bob", "")
    (file,) = told["files"]
    assert file["path"] == "/w/c.json"
    shown = json.loads(file["text"])
    hidden = dict.fromkeys(("token", "key", "own", "machine"), "(left out)")
    assert shown == {**real, **hidden, "inside": ""}


async def test_a_domain_is_told_its_own_and_no_others(place: Place) -> None:
    await create(place)
    _, own = await ask(place, place.domain("bob"), "")
    assert own["domain_id"] == "bob"
    assert len(own["files"]) == 1
    for caller, query in (("bob", "?domain_id=alice"), ("carol", ""), ("carol", "?domain_id=carol")):
        status, told = await ask(place, place.domain(caller), query)
        assert status == 403, told


async def test_what_does_not_exist_is_named(place: Place) -> None:
    await create(place)
    for query, text in (
        ("?alias=fit", 'job "live" has no task "fit"; it has: psi'),
        ("?domain_id=dave", 'task "psi" has no party "dave"; it has: alice, bob'),
        ("?domain_id=bob&role=host", 'task "psi" has no party "bob/host"; it has: alice, bob'),
    ):
        status, told = await ask(place, place.master, query)
        assert (status, told["error"]["message"]) == (400, text)
