"""The HTTP edge of a real server: paths, encodings, statuses, the exact JSON form, streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.images import write_image
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server

JOB: dict[str, Any] = {
    "job_id": "web",
    "initiator": "alice",
    "tasks": [
        {
            "alias": "t",
            "appImage": "any",
            "parties": [{"domainId": "alice", "bandwidth_limits": [{"destination_id": "bob", "limit_kbps": "64"}]}],
            "priority": "100",
            "no_such_field": [1, {"a": None}],
        }
    ],
}


class Web:
    """A client of one server's HTTP port."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def call(self, path: str, body: Any = None, *, method: str = "POST", **headers: str) -> tuple[int, Any]:
        """(HTTP status, answer); a body that is no bytes is sent as JSON without any Content-Type."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        skip = () if "Content-Type" in headers else ("Content-Type",)
        async with self.session.request(
            method, path, data=BytesIO(data), headers=headers, skip_auto_headers=skip
        ) as response:
            answer = await response.read()
            is_stream = response.headers.get("Transfer-Encoding") == "chunked"
            if response.content_type == "application/json" and not is_stream:
                return response.status, json.loads(answer)
            return response.status, answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path_factory.mktemp("http"), runtime="simulated", max_message_mib=1) as server:
        yield server


@pytest.fixture
async def shared(shared_server: RunningServer) -> AsyncIterator[Web]:
    """For what minds no other jobs and leaves the server as it is."""
    async with aiohttp.ClientSession(f"http://{shared_server.http_address}") as session:
        yield Web(shared_server, session)


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with running_server(tmp_path, runtime="simulated", max_message_mib=1) as server:
        session = aiohttp.ClientSession(f"http://{server.http_address}")
        async with session:
            yield Web(server, session)


async def test_a_job_over_json_in_its_exact_form(web: Web) -> None:
    assert await web.call("/api/v1/job/create", JOB) == (
        200,
        {"status": {"code": 0, "message": "success", "details": []}, "data": {"job_id": "web"}},
    )
    await ended(web.server.stub, "web")
    _, answer = await web.call("/api/v1/job/query", {"jobId": "web"})
    task_id = answer["data"]["tasks"][0]["task_id"]
    status = answer["data"].pop("status")
    assert answer["data"] == {
        "job_id": "web",
        "initiator": "alice",
        "max_parallelism": 1,
        "tasks": [
            {
                "app_image": "any",
                "parties": [
                    {
                        "domain_id": "alice",
                        "role": "",
                        "resources": None,
                        "bandwidth_limits": [{"destination_id": "bob", "limit_kbps": "64"}],
                    }
                ],
                "alias": "t",
                "task_id": task_id,
                "dependencies": [],
                "task_input_config": "",
                "priority": 100,
                "schedule_config": None,
            }
        ],
        "custom_fields": {},
    }
    accepted = [{"domain_id": "alice", "state": "JobAccepted"}]
    assert (status["state"], status["err_msg"], status["approve_status_list"]) == ("Succeeded", "", accepted)
    assert status["tasks"][0]["progress"] == 1
    _, batch = await web.call("/api/v1/job/status/batchQuery", {"job_ids": ["web"]})
    assert batch["data"]["jobs"] == [{"job_id": "web", "status": status}]
    for operation in ("stop", "cancel", "delete"):
        assert (await web.call(f"/api/v1/job/{operation}", {"job_id": "web"}))[1]["data"] == {"job_id": "web"}
    unknown = (200, {"status": {"code": 11202, "message": 'job "web" not found', "details": []}, "data": None})
    assert await web.call("/api/v1/job/query", {"job_id": "web"}) == unknown


@pytest.mark.parametrize(
    ("path", "code"),
    [("suspend", 11207), ("restart", 11208), ("cancel", 11209), ("stop", 11205), ("delete", 11204)],
)
async def test_every_operation_has_its_path_and_code(shared: Web, path: str, code: int) -> None:
    status, answer = await shared.call(f"/api/v1/job/{path}", {"job_id": "nobody"})
    assert (status, answer["status"]["code"], answer["data"]) == (200, code, None)


async def test_approve_takes_the_result_by_name_or_number(web: Web) -> None:
    await web.call("/api/v1/job/create", JOB)
    for result in ("APPROVE_RESULT_REJECT", 2):
        _, answer = await web.call("/api/v1/job/approve", {"job_id": "web", "result": result})
        assert answer["status"]["code"] == 11206
        assert answer["data"] is None
    _, answer = await web.call("/api/v1/job/approve", {"job_id": "web", "result": "MAYBE"})
    assert answer["status"]["code"] == 11101


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain"])
async def test_json_by_its_content_types(shared: Web, content_type: str) -> None:
    status, answer = await shared.call("/api/v1/job/create", JOB, **{"Content-Type": content_type})
    assert (status, answer["status"]["code"]) == (200, 0)


async def test_binary_protobuf_is_answered_in_kind(shared: Web) -> None:
    request = job_request("binary").SerializeToString()
    status, answer = await shared.call("/api/v1/job/create", request, **{"Content-Type": "application/x-protobuf"})
    assert status == 200
    response = pb.CreateJobResponse.FromString(answer)
    assert (response.status.message, response.data.job_id) == ("success", "binary")
    status, answer = await shared.call("/api/v1/job/create", b"\xff\xff", **{"Content-Type": "application/x-protobuf"})
    assert (status, pb.CreateJobResponse.FromString(answer).status.code) == (200, 11101)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b'{"job_id": 5}', b'{"tasks": {}}'])
async def test_what_cannot_be_parsed_is_said_in_the_body_and_for_watch_by_the_status(shared: Web, body: bytes) -> None:
    status, answer = await shared.call("/api/v1/job/create", body)
    assert (status, answer["status"]["code"], list(answer)) == (200, 11101, ["status"])
    assert "CreateJobRequest" in answer["status"]["message"]
    watch = body if body[:1] != b"{" or body == b"{" else b'{"timeout_seconds": "soon"}'
    status, answer = await shared.call("/api/v1/job/watch", watch)
    assert (status, answer["status"]["code"]) == (400, 11101)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"job_id": "\xe9"}', "byte 12 (0xe9) is not UTF-8"),
        ('{"job_id": "x"}'.encode("utf-16"), "it begins with UTF-16 (byte 0)"),
        ('{"job_id": "x"}'.encode("utf-16-le"), "byte 1 is NUL"),
        (b'\xef\xbb\xbf{"job_id": "x"}', "it begins with a byte order mark (byte 0)"),
    ],
)
async def test_a_wrong_text_encoding_is_told_at_the_right_byte(shared: Web, body: bytes, problem: str) -> None:
    status, answer = await shared.call("/api/v1/job/create", body)
    assert (status, answer["status"]["code"]) == (200, 11101)
    assert problem in answer["status"]["message"]


async def test_another_charset_is_read_where_it_makes_no_difference(shared: Web) -> None:
    kind = {"Content-Type": "application/json; charset=ISO-8859-1"}
    status, answer = await shared.call("/api/v1/job/query", b'{"job_id": "no-such"}', **kind)
    assert (status, answer["status"]["code"]) == (200, 11202)
    status, answer = await shared.call("/api/v1/job/query", '{"job_id": "é"}'.encode(), **kind)
    assert 'charset "ISO-8859-1", and byte 12 is not ASCII' in answer["status"]["message"]


async def test_null_as_the_value_of_a_map_is_the_empty_text(shared: Web) -> None:
    job = {**JOB, "job_id": "null-value", "custom_fields": {"project": None}}
    assert (await shared.call("/api/v1/job/create", job))[1]["status"]["code"] == 0
    _, answer = await shared.call("/api/v1/job/query", {"job_id": "null-value"})
    assert answer["data"]["custom_fields"] == {"project": ""}


async def test_statuses_of_what_is_not_served(shared: Web) -> None:
    status, answer = await shared.call("/api/v1/job/fly", {})
    assert (status, answer["status"]["code"]) == (404, 11100)
    assert (await shared.call("/api/v1/job/create", method="GET"))[0] == 405
    large = json.dumps({**JOB, "job_id": "x" * 2**20}).encode()
    status, answer = await shared.call("/api/v1/job/create", large)
    assert status == 413
    assert "max_message_mib" in answer["status"]["message"] or "1048576" in answer["status"]["message"]
    assert (await shared.call("/api/v1/job/watch", {"timeout_seconds": -1}))[0] == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_health(shared: Web, method: str) -> None:
    assert await shared.call("/healthZ", method=method) == (
        200,
        {"status": {"code": 0, "message": "success", "details": []}, "data": {"ready": True}},
    )


async def test_openapi_describes_every_path(shared: Web) -> None:
    _, document = await shared.call("/openapi.json", method="GET")
    assert document["openapi"].startswith("3.1")
    operations = ("create", "query", "status/batchQuery", "delete", "stop", "suspend", "restart", "cancel", "approve")
    expected = {f"/api/v1/job/{name}" for name in (*operations, "watch")}
    expected |= {"/api/v1/log/task/query", "/api/v1/log/node/query", "/healthZ"}
    assert set(document["paths"]) >= expected
    for path in expected:
        assert (await shared.call(path, {"timeout_seconds": 1}))[0] == 200


async def test_watch_is_one_json_object_a_line_as_it_happens(web: Web) -> None:
    await web.call("/api/v1/job/create", JOB)
    await ended(web.server.stub, "web")
    async with web.session.post("/api/v1/job/watch", data=b'{"timeout_seconds": "20"}') as response:
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        assert response.headers["Transfer-Encoding"] == "chunked"
        first = json.loads(await response.content.readline())
        assert (first["type"], first["object"]["job_id"]) == ("ADDED", "web")
        assert first["object"]["status"]["state"] == "Succeeded"
        await web.call("/api/v1/job/delete", {"job_id": "web"})
        second = json.loads(await response.content.readline())
        assert (second["type"], second["object"]["status"]["state"]) == ("DELETED", "Succeeded")


async def test_a_watch_ends_with_its_timeout_and_with_the_server(web: Web) -> None:
    async with web.session.post("/api/v1/job/watch", data=b'{"timeout_seconds": 1}') as response:
        assert await response.read() == b""
    async with web.session.post("/api/v1/job/watch") as response:
        reading = asyncio.ensure_future(response.read())
        assert await web.server.stop() == 0
        assert await reading == b""
    await web.server.start()


async def test_output_and_node_of_a_task(tmp_path: Path) -> None:
    write_image(tmp_path / "images", "talk", ["sh", "-c", 'echo "I am $KUSCIA_DOMAIN_ID"; sleep 0.3; echo over'])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images") as server:
        session = aiohttp.ClientSession(f"http://{server.http_address}")
        async with session:
            web = Web(server, session)
            await create(server.stub, job_request("said", task_request("t", "talk")))
            _, answer = await web.call("/api/v1/job/query", {"job_id": "said"})
            task_id = answer["data"]["tasks"][0]["task_id"]

            async def output(**more: Any) -> str:
                async with session.post("/api/v1/log/task/query", json={"task_id": task_id, **more}) as response:
                    lines = [json.loads(line) async for line in response.content]
                assert {line["status"]["code"] for line in lines} <= {0}
                return "".join(line["log"] for line in lines)

            assert await output(follow=True) == "I am alice\nover\n"
            bob = {"custom_headers": {"domain": "bob"}}

            async def whole() -> bool:
                return await output(header=bob) == "I am bob\nover\n"

            await eventually_true(whole)
            _, node = await web.call("/api/v1/log/node/query", {"task_id": task_id, "domain": "bob"})
            assert node["status"]["code"] == 0
            assert node["node_name"]
            _, unknown = await web.call("/api/v1/log/node/query", {"task_id": "no-such"})
            assert unknown["status"]["code"] == 13201
