"""Kuscia's AppImageService and kusciajob.v1's on both ports of a real server, and what is left of it after a kill."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf import json_format

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2_grpc, log_pb2, log_pb2_grpc
from kusciajob._gen.kusciajob.v1 import app_images_pb2 as v1
from kusciajob._gen.kusciajob.v1 import app_images_pb2_grpc
from tests.support.app_images import app_image_request, create_request, shell_request
from tests.support.images import write_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.secured import secured_server
from tests.support.server import RunningServer, running_server

SUCCESS = {"code": 0, "message": "success", "details": []}
EXISTS, NOT_FOUND, INVALID, UNREADABLE, NOT_ALLOWED = 13106, 13105, 11100, 11101, 11102


def kuscia(server: RunningServer) -> appimage_pb2_grpc.AppImageServiceStub:
    return appimage_pb2_grpc.AppImageServiceStub(server.channel)


def ours(server: RunningServer) -> app_images_pb2_grpc.AppImagesServiceStub:
    return app_images_pb2_grpc.AppImagesServiceStub(server.channel)


class Web:
    """A client of a server's HTTP port."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, path: str, body: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(f"/api/v1/appimage/{path}", data=BytesIO(data)) as response:
            assert response.status == 200
            return await response.json()

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(path) as response:
            return response.status, await response.json()


@pytest.fixture
async def web(server: RunningServer) -> AsyncIterator[Web]:
    async with aiohttp.ClientSession(f"http://{server.http_address}") as session:
        yield Web(session)


async def test_what_is_created_on_one_port_is_told_on_the_other(server: RunningServer, web: Web) -> None:
    request = app_image_request("a")
    assert await web.post("create", request) == {"status": SUCCESS}
    answer = await kuscia(server).QueryAppImage(pb.QueryAppImageRequest(name="a"))
    assert json_format.MessageToDict(answer.data, preserving_proto_field_name=True) == without_defaults(request)
    told = await web.post("query", {"name": "a"})
    assert json_format.ParseDict(told, pb.QueryAppImageResponse()) == answer
    assert (await kuscia(server).CreateAppImage(create_request("a"))).status.code == EXISTS
    assert (await web.post("create", request))["status"]["code"] == EXISTS


async def test_an_image_is_updated_and_deleted_on_both_ports(server: RunningServer, web: Web) -> None:
    for name in ("a", "b"):
        await kuscia(server).CreateAppImage(create_request(name))
    image = pb.AppImageInfo(name="other")
    answer = await kuscia(server).UpdateAppImage(pb.UpdateAppImageRequest(name="a", image=image))
    assert answer.status.code == 0
    assert await web.post("update", {"name": "b", "image": {"name": "other"}}) == {"status": SUCCESS}
    (first, second) = (await kuscia(server).BatchQueryAppImage(pb.BatchQueryAppImageRequest(names=["a", "b"]))).data
    assert first.image == second.image == image
    assert first.deploy_templates == create_request("a").deploy_templates
    assert (await kuscia(server).DeleteAppImage(pb.DeleteAppImageRequest(name="a"))).status.code == 0
    assert await web.post("delete", {"name": "b"}) == {"status": SUCCESS}
    assert (await web.post("batchQuery", {"names": ["a", "b"]}))["status"] == {
        "code": NOT_FOUND,
        "message": 'AppImages "a", "b" not found',
        "details": [],
    }


async def test_lists_and_single_images_are_told_by_grpc_and_by_http_paths(server: RunningServer, web: Web) -> None:
    write_image(server.data_dir / "appimages", "of-file", ["x"])
    await kuscia(server).CreateAppImage(create_request("of-api"))
    page = await ours(server).ListAppImages(v1.ListAppImagesRequest(page_size=1))
    assert [(image.name, image.file) for image in page.app_images] == [("of-api", "")]
    status, told = await web.get(f"/v1/appImages?page_size=1&page_token={page.next_page_token}")
    assert status == 200
    assert [(image["name"], image["file"]) for image in told["app_images"]] == [("of-file", "of-file.yaml")]
    assert told["next_page_token"] == ""
    status, told = await web.get("/v1/appImages/of-api")
    assert (status, told["app_image"]["image"]) == (200, "engine:1.0")
    assert [role["role"] for role in told["app_image"]["roles"]] == ["client", "server"]
    status, told = await web.get("/v1/appImages/no")
    assert (status, told["error"]["status"]) == (404, "NOT_FOUND")
    status, told = await web.get("/v1/appImages?page_size=1001")
    assert (status, told["error"]["status"]) == (400, "INVALID_ARGUMENT")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ours(server).GetAppImage(v1.GetAppImageRequest(name="no"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


HOSTILE: list[tuple[Any, int]] = [
    ({}, INVALID),
    ({"name": "../etc"}, INVALID),
    ({"name": "a" * 300, "deploy_templates": [{}]}, INVALID),
    ({"name": "a", "deploy_templates": [{"containers": [{"command": ["a\0b"]}]}]}, INVALID),
    ({"name": "a", "deploy_templates": [{"replicas": -1, "containers": [{"command": ["a"]}]}]}, INVALID),
    ({"name": "a", "deploy_templates": [{"containers": [{"command": ["a"]}]}] * 300}, INVALID),
    ({"name": "a", "deploy_templates": [{"containers": [{"command": ["a"] * 300}]}]}, INVALID),
    ({"name": "a", "config_templates": {"x" * 300: ""}, "deploy_templates": [{}]}, INVALID),
    ({"name": "a", "config_templates": {"x": "y" * (3 << 20)}}, INVALID),
    ({"name": ["a"]}, UNREADABLE),
    (b'{"name": "a", "deploy_templates": ' + b"[" * 5000, UNREADABLE),
    (b"\xff\xfe", UNREADABLE),
]


async def test_hostile_images_are_refused_with_a_text_and_leave_nothing(server: RunningServer, web: Web) -> None:
    for body, code in HOSTILE:
        for verb in ("create", "update"):
            answer = await web.post(verb, body)
            assert answer["status"]["code"] == code or (verb, answer["status"]["code"]) == ("update", NOT_FOUND)
            assert 0 < len(answer["status"]["message"]) < 2000
    assert not (await ours(server).ListAppImages(v1.ListAppImagesRequest())).app_images


async def test_a_task_runs_an_image_of_the_api_and_an_update_counts_for_the_next(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="process") as server:
        script = 'echo "I am $NAME, $(cat conf/greeting.txt)"'
        request = shell_request("greeter", script)
        request.config_templates["greeting.txt"] = "task {{.TASK_ID}}"
        (container,) = request.deploy_templates[0].containers
        container.config_volume_mounts.add(mount_path="/work/conf/greeting.txt", sub_path="greeting.txt")
        container.env.add(name="NAME", value="engine")
        assert (await kuscia(server).CreateAppImage(request)).status.code == 0
        await create(server.stub, job_request("one", task_request("t", "greeter", ["alice"], task_id="first")))
        assert (await ended(server.stub, "one")).state == "Succeeded"
        assert await output(server, "first") == "I am engine, task first\n"

        container.env[0].value = "another"
        update = pb.UpdateAppImageRequest(name="greeter", deploy_templates=request.deploy_templates)
        assert (await kuscia(server).UpdateAppImage(update)).status.code == 0
        await create(server.stub, job_request("two", task_request("t", "greeter", ["alice"], task_id="second")))
        assert (await ended(server.stub, "two")).state == "Succeeded"
        assert await output(server, "second") == "I am another, task second\n"

        assert (await kuscia(server).DeleteAppImage(pb.DeleteAppImageRequest(name="greeter"))).status.code == 0
        refused = await server.stub.CreateJob(job_request("three", task_request("t", "greeter", ["alice"])))
        assert refused.status.code == INVALID
        assert 'AppImage "greeter" is unknown' in refused.status.message


async def test_an_acknowledged_image_is_there_after_a_kill_before_any_job_is_taken_up(tmp_path: Path) -> None:
    """The job's second task is started by the next server, right after it has found the first one."""
    async with running_server(tmp_path, runtime="process") as server:
        go_on = tmp_path / "go-on"
        waiting = shell_request("waiting", f"until [ -e {go_on} ]; do sleep 0.01; done")
        for request in (waiting, shell_request("after", "echo ran")):
            assert (await kuscia(server).CreateAppImage(request)).status.code == 0
        tasks = [task_request("a", "waiting", ["alice"]), task_request("b", "after", ["alice"], dependencies=["a"])]
        await create(server.stub, job_request("chain", *tasks))
        await in_state(server.stub, "chain", "Running")
        answer = await kuscia(server).CreateAppImage(shell_request("last", "true"))
        await server.kill()
        assert answer.status.code == 0
        go_on.touch()
        await server.start()
        names = [image.name for image in (await ours(server).ListAppImages(v1.ListAppImagesRequest())).app_images]
        assert names == ["after", "last", "waiting"]
        assert (await ended(server.stub, "chain")).state == "Succeeded"


async def test_many_changes_at_once_leave_what_the_last_of_each_name_said(server: RunningServer) -> None:
    service = kuscia(server)
    answers = await asyncio.gather(
        *(service.CreateAppImage(shell_request(f"a{index % 5}", str(index))) for index in range(50))
    )
    assert sorted(answer.status.code for answer in answers) == [0] * 5 + [EXISTS] * 45
    told = {name: (await service.QueryAppImage(pb.QueryAppImageRequest(name=name))).data for name in names_of(5)}
    await server.restart()
    again = {name: (await service.QueryAppImage(pb.QueryAppImageRequest(name=name))).data for name in names_of(5)}
    assert again == told


async def test_a_domain_may_query_without_values_and_change_nothing(tmp_path: Path) -> None:
    async with secured_server(tmp_path) as place, place.master.channel(place.server.address) as channel:
        service = appimage_pb2_grpc.AppImageServiceStub(channel)
        listing = app_images_pb2_grpc.AppImagesServiceStub(channel)
        request = create_request("a")
        alice = place.domain("alice").metadata
        refused = await service.CreateAppImage(request, metadata=alice)
        assert (refused.status.code, refused.status.message) == (
            NOT_ALLOWED,
            'domain "alice" may not change AppImage "a": only the master may',
        )
        assert (await service.CreateAppImage(request, metadata=place.master.metadata)).status.code == 0
        told = await service.QueryAppImage(pb.QueryAppImageRequest(name="a"), metadata=alice)
        assert told.data.image == request.image
        page = await listing.ListAppImages(v1.ListAppImagesRequest(), metadata=alice)
        assert [image.name for image in page.app_images] == ["a"]
        for answer in (told, page):
            assert "of-env" not in str(answer)
            assert "of-header" not in str(answer)


def names_of(count: int) -> list[str]:
    return [f"a{index}" for index in range(count)]


def without_defaults(value: Any) -> Any:
    """As protobuf's JSON has it, which leaves out what has its default value."""
    if isinstance(value, dict):
        return {key: without_defaults(item) for key, item in value.items() if item != ""}
    return [without_defaults(item) for item in value] if isinstance(value, list) else value


async def output(server: RunningServer, task_id: str) -> str:
    """What the task's only party has written."""
    service = log_pb2_grpc.LogServiceStub(server.channel)
    return "".join([piece.log async for piece in service.QueryLog(log_pb2.QueryLogRequest(task_id=task_id))])
