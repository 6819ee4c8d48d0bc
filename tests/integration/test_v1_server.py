"""kusciajob.v1 of a real server: what it tells of itself, and that its paths and RPCs are guarded as all others."""

import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import kusciajob
from kusciajob._gen.kusciajob.v1 import server_pb2, server_pb2_grpc
from kusciajob.api.routes import V1_ROUTES, V1_SERVICES, Route
from tests.support.callers import CALL_SECONDS, Caller
from tests.support.metrics import metrics_of
from tests.support.polling import PATIENCE_SECONDS
from tests.support.requests import create, job_request
from tests.support.rich import refusal_in, refusal_of
from tests.support.secured import Place, secured_server
from tests.support.server import RunningServer, running_server

ROUTES = [pytest.param(route, id=route.name) for route in V1_ROUTES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("v1")
    async with running_server(directory, runtime="simulated", max_jobs=77, max_message_mib=1) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with secured_server(tmp_path_factory.mktemp("secured")) as place:
        yield place


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+\}", "any", route.path)


async def fetch(server: RunningServer, method: str, path: str, **request: Any) -> tuple[int, str, Any]:
    """The status, the text and the headers of an answer."""
    url = f"http://{server.http_address}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url, **request) as answer:
        return answer.status, await answer.text(), answer.headers


async def info_of(server: RunningServer) -> server_pb2.GetServerInfoResponse:
    stub = server_pb2_grpc.ServerServiceStub(server.channel)
    return await stub.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=PATIENCE_SECONDS)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_tells_what_it_is_and_allows_alike_over_both_edges(shared: RunningServer) -> None:
    info = await info_of(shared)
    assert (info.version, info.runtime) == (kusciajob.__version__, "simulated")
    assert (info.limits["max_jobs"], info.limits["max_message_mib"], info.limits["max_jobs_per_domain"]) == (77, 1, 0)
    assert 0 < info.limits["max_connections"] <= 4096
    assert (info.caller.is_master, info.caller.sees_jobs, list(info.caller.may_create_for)) == (True, "all", [])
    status, text, headers = await fetch(shared, "GET", "/v1/server", headers={"X-Request-Id": "mine"})
    told = json.loads(text)
    assert (status, headers["X-Request-Id"]) == (200, "mine")
    assert told["limits"] == {name: str(value) for name, value in info.limits.items()}
    assert told["start_time"] == info.start_time.ToJsonString()
    assert float(told["uptime"].removesuffix("s")) >= info.uptime.ToTimedelta().total_seconds() >= 0


@pytest.mark.asyncio(loop_scope="module")
async def test_the_revision_it_tells_is_that_of_what_was_committed(shared: RunningServer) -> None:
    before = (await info_of(shared)).revision
    await create(shared.stub, job_request("counted"))
    assert (await info_of(shared)).revision > before


@pytest.mark.asyncio(loop_scope="module")
async def test_a_domain_is_told_its_rights(place: Place) -> None:
    bob = place.domain("bob")
    async with bob.channel(place.server.address) as channel:
        stub = server_pb2_grpc.ServerServiceStub(channel)
        info = await stub.GetServerInfo(server_pb2.GetServerInfoRequest(), metadata=bob.metadata, timeout=CALL_SECONDS)
    assert info.caller == server_pb2.CallerRights(domain_id="bob", sees_jobs="own", may_create_for=["bob"])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("token", [None, "no-such-token"])
async def test_nothing_is_told_without_a_known_token(place: Place, token: str | None) -> None:
    caller = Caller(place.certs, place.certs, token)
    word = "missing" if token is None else "wrong"
    async with caller.channel(place.server.address) as channel:
        for service in V1_SERVICES:
            for method in service.methods:
                operation = f"/{service.full_name}/{method.name}"
                call = channel.unary_stream(operation, bytes, bytes)(
                    b"", metadata=caller.metadata, timeout=CALL_SECONDS
                )
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call.read()
                refusal = refusal_of(caught.value)
                assert (refusal.code, refusal.kuscia_code) == ("UNAUTHENTICATED", 11102)
                assert f"the token is {word}" in refusal.text
    for route in V1_ROUTES:
        operation = f"{route.http_methods[0]} {path_of(route)}"
        (answer,) = (await caller.call_http(place.http_address, [operation])).values()
        status, _, body = answer.text.partition(" ")
        refusal = refusal_in(body, int(status))
        assert (status, refusal.code, refusal.reason) == ("401", "UNAUTHENTICATED", "UNAUTHENTICATED")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ROUTES)
async def test_a_foreign_page_learns_and_changes_nothing(shared: RunningServer, route: Route) -> None:
    (method,) = route.http_methods
    status, text, _ = await fetch(shared, method, path_of(route), headers={"Host": "rebound.evil.example"})
    assert status == 421
    assert "allowed_hosts" in refusal_in(text, 421).text
    if method == "POST":
        headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
        status, text, _ = await fetch(shared, method, path_of(route), headers=headers, data="{}")
        assert (status, refusal_in(text, 403).code) == (403, "PERMISSION_DENIED")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/server/", "/v1/server:stop", "/v1//server"])
async def test_an_unknown_path_is_told_in_the_form_of_this_package(shared: RunningServer, path: str) -> None:
    status, text, _ = await fetch(shared, "GET", path)
    refusal = refusal_in(text, status)
    assert (status, refusal.code, refusal.reason) == (404, "NOT_FOUND", "NO_SUCH_PATH")
    assert "/openapi.json" in refusal.text


@pytest.mark.asyncio(loop_scope="module")
async def test_other_paths_keep_kuscias_form(shared: RunningServer) -> None:
    status, text, _ = await fetch(shared, "GET", "/v1alpha/server")
    assert (status, json.loads(text)["status"]["code"]) == (404, 11100)


@pytest.mark.asyncio(loop_scope="module")
async def test_methods_of_a_path(shared: RunningServer) -> None:
    whole = await fetch(shared, "GET", "/v1/server")
    head = await fetch(shared, "HEAD", "/v1/server")
    assert (head[0], head[1], head[2]["Content-Type"]) == (200, "", whole[2]["Content-Type"])
    status, _, headers = await fetch(shared, "OPTIONS", "/v1/server")
    assert (status, headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, text, headers = await fetch(shared, method, "/v1/server")
        assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert refusal_in(text, 405).reason == "METHOD_NOT_ALLOWED"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_get_has_parameters_and_no_body(shared: RunningServer) -> None:
    status, text, _ = await fetch(shared, "GET", "/v1/server?limits=1")
    assert (status, refusal_in(text, 400).violations[0][0]) == (400, "limits")
    status, text, headers = await fetch(shared, "GET", "/v1/server", data="{}")
    assert (status, headers.get("Connection")) == (400, "close")
    assert "has no body" in refusal_in(text, 400).text


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_is_binary_where_the_request_says_so(shared: RunningServer) -> None:
    async with (
        aiohttp.ClientSession(headers={"Content-Type": "application/x-protobuf"}) as session,
        session.get(f"http://{shared.http_address}/v1/server") as answer,
    ):
        assert answer.content_type == "application/x-protobuf"
        assert server_pb2.GetServerInfoResponse.FromString(await answer.read()).runtime == "simulated"


@pytest.mark.asyncio(loop_scope="module")
async def test_reflection_and_health_know_the_services(shared: RunningServer) -> None:
    names = {service.full_name for service in V1_SERVICES}
    reflection = reflection_pb2_grpc.ServerReflectionStub(shared.channel)
    (answer,) = [
        answer
        async for answer in reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=CALL_SECONDS
        )
    ]
    assert names <= {service.name for service in answer.list_services_response.service}
    health = health_pb2_grpc.HealthStub(shared.channel)
    for name in names:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
        (answer,) = [each async for each in reflection.ServerReflectionInfo(iter([request]), timeout=CALL_SECONDS)]
        files = [FileDescriptorProto.FromString(each) for each in answer.file_descriptor_response.file_descriptor_proto]
        # grpcurl needs the annotations too, to know the files.
        assert "google/api/annotations.proto" in {file.name for file in files}
        checked = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=CALL_SECONDS)
        assert checked.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.asyncio(loop_scope="module")
async def test_calls_are_measured_by_method_and_code(shared: RunningServer) -> None:
    def counted(told: dict[str, float], transport: str, code: str) -> float:
        labels = f'{{code="{code}",method="GetServerInfo",transport="{transport}"}}'
        return told.get(f"kusciajob_calls_total{labels}", 0)

    before = await metrics_of(shared)
    await info_of(shared)
    await fetch(shared, "GET", "/v1/server")
    await fetch(shared, "GET", "/v1/server?no=1")
    after = await metrics_of(shared)
    for transport, code in (("grpc", "OK"), ("http", "OK"), ("http", "INVALID_ARGUMENT")):
        assert counted(after, transport, code) == counted(before, transport, code) + 1, (transport, code)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ('{"request": {"task_policies": {"a": {"rety": {}}}}}', 'request.task_policies["a"]', '"rety" is unknown here'),
        ('{"request": {"deadline": 90}}', "request.deadline", "expected a duration in seconds"),
        ('{"request": [', "", "this is not JSON"),
    ],
)
async def test_a_body_that_cannot_be_read_names_the_field(
    shared: RunningServer, body: str, field: str, words: str
) -> None:
    status, text, _ = await fetch(shared, "POST", "/v1/jobs:validate", data=body)
    refusal = refusal_in(text, 400)
    assert (status, refusal.code) == (400, "INVALID_ARGUMENT")
    ((named, description),) = refusal.violations
    assert named == field
    assert words in description


@pytest.mark.asyncio(loop_scope="module")
async def test_a_body_above_the_limit_is_refused_in_the_form_of_the_package(shared: RunningServer) -> None:
    status, text, headers = await fetch(shared, "POST", "/v1/jobs", data=io.BytesIO(b" " * ((1 << 20) + 1)))
    assert (status, refusal_in(text, 413).code) == (413, "RESOURCE_EXHAUSTED")
    assert headers["Connection"] == "close"
