"""Requests to an API server are bounded, and its refusals are told as what they are."""

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kusciajob.runtime.hosted.engine import EngineUnavailable
from kusciajob.runtime.kubernetes import api as api_module
from kusciajob.runtime.kubernetes.api import Api, ApiError, Conflict, Expired, NotFound
from kusciajob.runtime.kubernetes.credentials import Credentials, InvalidKubeconfig, load
from tests.support.api_server import HostileApiServer, hostile_api_server, refusal
from tests.support.kubeconfigs import credentials_for, write_kubeconfig

PATH = "/api/v1/pods"
Anything = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[HostileApiServer]:
    async with hostile_api_server() as server:
        yield server


@asynccontextmanager
async def opened(credentials: Credentials, **options: float) -> AsyncIterator[Api]:
    api = Api(credentials, **options)
    await api.open()
    try:
        yield api
    finally:
        await api.close()


def answers(server: HostileApiServer, *responses: web.Response) -> None:
    for response in responses:

        async def answer(_: web.Request, response: web.Response = response) -> web.Response:
            return response

        server.answers.append(answer)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, NotFound), (409, Conflict), (410, Expired), (403, ApiError), (422, ApiError), (400, ApiError)],
)
async def test_a_refusal_keeps_its_kind_and_its_words(
    server: HostileApiServer, code: int, kind: type[ApiError]
) -> None:
    answers(server, refusal(code, "Reason", "the words"))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(kind, match="the words") as raised:
            await api.get(PATH, Anything)
    assert (raised.value.status, raised.value.reason) == (code, "Reason")


async def test_a_quota_is_told_from_missing_rights(server: HostileApiServer) -> None:
    answers(
        server,
        refusal(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1'),
        refusal(403, "Forbidden", 'User "me" cannot create resource "pods"'),
    )
    async with opened(credentials_for(server.url)) as api:
        for is_quota in (True, False):
            with pytest.raises(ApiError) as raised:
                await api.create(PATH, {}, Anything)
            assert raised.value.is_quota is is_quota


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_server_that_fails_may_be_asked_again(server: HostileApiServer, code: int) -> None:
    answers(server, refusal(code, "", "overloaded"))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(EngineUnavailable, match="overloaded"):
            await api.get(PATH, Anything)


async def test_too_many_requests_are_asked_again_after_the_time_that_is_told(
    server: HostileApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("asyncio.sleep", note)
    answers(server, refusal(429, **{"Retry-After": "3"}), refusal(429, **{"Retry-After": "99999"}))
    async with opened(credentials_for(server.url)) as api:
        assert await api.get(PATH, Anything)
    first, second = pauses
    assert 3 <= first < 4
    assert second <= api_module.MAX_BUSY_SECONDS + 1


async def test_too_many_requests_for_ever_are_given_up(
    server: HostileApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_pause", lambda *_: 0.0)
    answers(server, *(refusal(429) for _ in range(10)))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(EngineUnavailable, match="429"):
            await api.get(PATH, Anything)
    assert len(server.requests) == api_module.BUSY_TRIES


async def test_an_answer_that_does_not_come_is_not_waited_for_without_end(server: HostileApiServer) -> None:
    server.changes.put_nowait({})  # an answer that begins and does not end
    async with opened(credentials_for(server.url), request_seconds=0.1) as api:
        with pytest.raises(EngineUnavailable, match="did not answer in time"):
            await api.get(PATH, Anything, watch="1")


async def test_an_answer_without_end_is_cut_off(server: HostileApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "MAX_ANSWER_BYTES", 1000)
    answers(server, web.Response(body=b"x" * 5000))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(EngineUnavailable, match="longer than 1,000 bytes"):
            await api.get(PATH, Anything)


async def test_what_is_no_json_is_no_answer(server: HostileApiServer) -> None:
    answers(server, web.Response(text="<html>"), web.Response(text="<html>", status=404))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(EngineUnavailable):
            await api.get(PATH, Anything)
        with pytest.raises(NotFound, match="<html>"):
            await api.get(PATH, Anything)


async def test_what_is_gone_or_another_one_by_now_is_deleted(server: HostileApiServer) -> None:
    answers(server, refusal(404), refusal(409))
    async with opened(credentials_for(server.url)) as api:
        await api.delete(f"{PATH}/a", uid="u")
        await api.delete(f"{PATH}/a", uid="u")


async def test_a_redirect_is_not_followed(server: HostileApiServer) -> None:
    answers(server, web.Response(status=302, headers={"Location": f"{server.url}/elsewhere"}))
    async with opened(credentials_for(server.url)) as api:
        with pytest.raises(EngineUnavailable):
            await api.get(PATH, Anything)
    assert len(server.requests) == 1


async def test_a_token_that_was_changed_in_its_file_is_read_again(server: HostileApiServer, tmp_path: Path) -> None:
    """The kubelet does so with the tokens of service accounts."""
    token = tmp_path / "token"
    token.write_text("old")
    config = write_kubeconfig(tmp_path / "config", server.url, tokenFile=str(token))
    async with opened(load(str(config))) as api:
        await api.get(PATH, Anything)
        token.write_text("new")
        answers(server, refusal(401))
        await api.get(PATH, Anything)
    assert [request.headers["Authorization"] for request in server.requests] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
    ]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_plugin_is_asked_again_when_its_token_is_refused(
    server: HostileApiServer, tmp_path: Path, version: str
) -> None:
    plugin = tmp_path / "plugin"
    count = tmp_path / "count"
    plugin.write_text(
        f"#!/bin/sh\nn=$(cat {count} 2>/dev/null || echo 0)\necho $((n + 1)) > {count}\n"
        'echo "$KUBERNETES_EXEC_INFO" | grep -q ExecCredential || exit 9\n'
        'echo \'{"status": {"token": "token-\'$n\'"}}\'\n'
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command = {"apiVersion": f"client.authentication.k8s.io/{version}", "command": str(plugin)}
    config = write_kubeconfig(tmp_path / "config", server.url, exec=command)
    async with opened(load(str(config))) as api:
        await api.get(PATH, Anything)
        await api.get(PATH, Anything)
        answers(server, refusal(401))
        await api.get(PATH, Anything)
    assert [request.headers["Authorization"] for request in server.requests] == [
        "Bearer token-0",
        "Bearer token-0",
        "Bearer token-0",
        "Bearer token-1",
    ]


async def test_a_plugin_that_fails_is_told(server: HostileApiServer, tmp_path: Path) -> None:
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}
    config = write_kubeconfig(tmp_path / "config", server.url, exec=command)
    async with opened(load(str(config))) as api:
        with pytest.raises(EngineUnavailable, match="/bin/false returned 1"):
            await api.get(PATH, Anything)


async def test_credentials_that_are_refused_for_good_are_no_loop(server: HostileApiServer, tmp_path: Path) -> None:
    answers(server, *(refusal(401, "Unauthorized", "who are you") for _ in range(5)))
    config = write_kubeconfig(tmp_path / "config", server.url, token="wrong")  # noqa: S106
    async with opened(load(str(config))) as api:
        with pytest.raises(EngineUnavailable, match="who are you"):
            await api.get(PATH, Anything)
    assert len(server.requests) <= 2


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    with pytest.raises(InvalidKubeconfig, match="nowhere"):
        load(str(config), "nowhere")
    with pytest.raises(InvalidKubeconfig, match="missing"):
        load(str(tmp_path / "missing"))
