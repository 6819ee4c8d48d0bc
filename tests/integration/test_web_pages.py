"""A web page in the browser of somebody who reaches the server changes nothing, and reads nothing by DNS rebinding."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.routes import ROUTES
from tests.support.callers import HTTP_OPERATIONS
from tests.support.images import python_program, write_image
from tests.support.polling import PATIENCE_SECONDS, eventually
from tests.support.requests import create, in_state, job_request, task_request
from tests.support.secured import secured_server
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

CHANGES = [route.path for route in ROUTES if route.is_change]
OF_A_PAGE = {
    "job_id": "of-a-page",
    "initiator": "alice",
    "tasks": [{"alias": "t", "app_image": "any", "parties": [{"domain_id": "alice"}]}],
}
FOREIGN_PAGES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "\xff\x9b2J"},
]


async def ask(
    address: str, operation: str, headers: dict[str, str], body: str = '{"job_id": "long", "result": 2}'
) -> tuple[int, dict[str, Any]]:
    """The HTTP status, and the status in the body if it has one; a page's request is always text/plain."""
    method, path = operation.split()

    def send() -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in {"Content-Type": "text/plain", "Content-Length": str(len(body)), **headers}.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body.encode())
            response = connection.getresponse()
            line = response.readline()
            told = json.loads(line) if line.startswith(b"{") else {}
            return response.status, told.get("status", {})
        finally:
            connection.close()

    return await asyncio.to_thread(send)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """With a job that goes on for long."""
    directory = tmp_path_factory.mktemp("server")
    async with running_server(
        directory, runtime="simulated", allowed_hosts="portal", allowed_origins="https://portal.example.com"
    ) as server:
        await create(server.stub, job_request("long", task_request("t", task_input_config='{"seconds": 600}')))
        await in_state(server.stub, "long", "Running")
        yield server


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CHANGES)
async def test_a_foreign_page_changes_nothing(server: RunningServer, path: str) -> None:
    body = json.dumps(OF_A_PAGE if path.endswith("create") else {"job_id": "long", "result": 2})
    for page in FOREIGN_PAGES:
        status, told = await ask(server.http_address, f"POST {path}", page, body)
        assert (status, told["code"]) == (403, 11102)
        assert "allowed_origins" in told["message"]
        assert told["message"].isprintable()
    jobs = [event async for event in server.stub.WatchJob(pb.WatchJobRequest(timeout_seconds=1))]
    assert [(event.object.job_id, event.object.status.state) for event in jobs] == [("long", "Running")]


def test_what_changes_something_is_known() -> None:
    reads = {"QueryJob", "BatchQueryJobStatus", "WatchJob", "QueryLog", "QueryPodNode", "healthZ"}
    reads |= {"QueryAppImage", "BatchQueryAppImage"}
    assert {route.name for route in ROUTES if not route.is_change} == reads


@pytest.mark.asyncio(loop_scope="module")
async def test_our_own_page_a_configured_one_and_programs_are_served(server: RunningServer) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "none"},
        {"Origin": f"http://{server.http_address}", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://portal.example.com", "Sec-Fetch-Site": "cross-site"},
        {"Host": "portal:80", "Origin": "http://portal:80"},
    ):
        _, told = await ask(server.http_address, "POST /api/v1/job/restart", headers)
        assert told["code"] == 11211  # it runs
    read = await ask(server.http_address, "POST /api/v1/job/query", {"Origin": "https://evil.example"})
    assert (read[0], read[1]["code"]) == (200, 0)  # it changes nothing, and the page cannot read the answer


@pytest.mark.asyncio(loop_scope="module")
async def test_under_a_foreign_name_nothing_is_told(server: RunningServer) -> None:
    port = server.http_address.rpartition(":")[2]
    for operation in (*HTTP_OPERATIONS, "GET /metrics", "GET /"):
        status, told = await ask(server.http_address, operation, {"Host": f"rebound.evil.example:{port}"})
        assert (status, told["code"]) == (421, 11100)
        assert f'host "rebound.evil.example:{port}" is neither loopback nor known' in told["message"]
        assert "allowed_hosts" in told["message"]
    for host in ("localhost", "LOCALHOST:1", "127.9.9.9:80", "[::1]:1", "portal"):
        assert (await ask(server.http_address, "GET /healthZ", {"Host": host}))[0] == 200


async def test_with_tls_a_page_changes_nothing_either_and_the_name_is_the_certificate_s_business(
    tmp_path: Path,
) -> None:
    async with secured_server(tmp_path, protocol="tls") as place:
        for headers, expected in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Host": "any.example"}, 200),
            ({"Host": "any.example", "Origin": "https://any.example"}, 200),
        ):
            connection = place.master.connect_http(place.http_address)
            token = {"Token": place.master.token or ""}
            await asyncio.to_thread(connection.request, "POST", "/api/v1/job/stop", "{}", {**headers, **token})
            assert connection.getresponse().status == expected
            connection.close()


async def test_who_listens_on_all_addresses_is_probed_by_any_of_them_and_by_no_unknown_name(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('allow_insecure_bind = true\nallowed_hosts = ["jobs.lan"]\n')
    async with running_server(tmp_path, host="0.0.0.0", runtime="simulated", config=config) as server:
        address = f"127.0.0.1:{server.http_address.rpartition(':')[2]}"
        for host, expected in (("10.244.1.7:8082", 200), ("jobs.lan:8082", 200), ("evil.example:8082", 421)):
            assert (await ask(address, "GET /healthZ", {"Host": host}))[0] == expected


WAITS = python_program(
    "import os, pathlib, time\n"
    "file = pathlib.Path(os.environ['KUSCIAJOB_DOMAIN_DIR'], 'url')\n"
    "file.with_name('partial').write_text(os.environ['TASK_PROGRESS_URL'])\n"
    "file.with_name('partial').rename(file)\n"
    "time.sleep(600)\n"
)


async def test_the_progress_port_minds_pages_too(tmp_path: Path) -> None:
    write_image(tmp_path / "images", "waits", WAITS)
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", stop_grace_seconds=0) as server:
        await create(server.stub, job_request("far", task_request("t", "waits", ["alice"])))
        file = server.data_dir / "domains" / "alice" / "url"
        await eventually(file.exists)
        url = urlsplit(file.read_text())
        operation, report = f"POST {url.path}?{url.query}", '{"progress": 0.5}'
        for page in FOREIGN_PAGES:
            status, told = await ask(url.netloc, operation, page, report)
            assert (status, told["code"]) == (403, 11102)
        assert (await ask(url.netloc, operation, {"Host": "rebound.evil.example"}, report))[0] == 421
        assert (await ask(url.netloc, operation, {}, report))[0] == 200
