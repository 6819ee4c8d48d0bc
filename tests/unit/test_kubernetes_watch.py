"""A watch tells each object, each change and each end, whatever the API server and the network do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from kusciajob.runtime.kubernetes.api import Api
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import PAGE, Timing, Watch
from tests.support.api_server import STATUS, HostileApiServer, hostile_api_server, pod, refusal
from tests.support.cut_line import CutLine
from tests.support.kubeconfigs import credentials_for
from tests.support.polling import eventually

QUICK = Timing(first_pause=0.01, longest_pause=0.05)


class Watched:
    def __init__(self, watch: Watch[Pod], told: list[str], errors: list[str]) -> None:
        self.watch = watch
        self.told = told
        self.errors = errors


@pytest.fixture
async def server() -> AsyncIterator[HostileApiServer]:
    async with hostile_api_server() as server:
        yield server


@asynccontextmanager
async def watching(url: str, timing: Timing = QUICK, **options: bool) -> AsyncIterator[Watched]:
    told: list[str] = []
    errors: list[str] = []
    api = Api(credentials_for(url))
    await api.open()
    watch = Watch(
        api,
        "/api/v1/pods",
        Pod,
        seen=lambda found: told.append(f"{found.metadata.name}@{found.metadata.resource_version}"),
        gone=lambda found: told.append(f"-{found.metadata.name}"),
        reachable=errors.append,
        timing=timing,
        **options,  # type: ignore[arg-type]
    )
    running = asyncio.create_task(watch.run())
    try:
        yield Watched(watch, told, errors)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.close()


async def test_what_exists_is_told_and_then_each_change(server: HostileApiServer) -> None:
    server.put("a")
    async with watching(server.url) as watched:
        await watched.watch.listed.wait()
        assert watched.told == ["a@2"]
        server.tell("ADDED", pod("b", 3))
        server.tell("MODIFIED", pod("a", 4))
        server.tell("DELETED", pod("b", 5))
        await eventually(lambda: watched.told == ["a@2", "b@3", "a@4", "-b"])


async def test_a_watch_goes_on_from_where_it_was(server: HostileApiServer) -> None:
    async with watching(server.url) as watched:
        server.tell("ADDED", pod("a", 7))
        server.changes.put_nowait(None)
        await eventually(lambda: server.asked("resourceVersion", "7"))
        assert watched.told == ["a@7"]


async def test_a_bookmark_moves_the_place_and_tells_nothing(server: HostileApiServer) -> None:
    async with watching(server.url) as watched:
        server.tell("BOOKMARK", {"metadata": {"resourceVersion": "90"}})
        server.changes.put_nowait(None)
        await eventually(lambda: server.asked("resourceVersion", "90"))
        assert watched.told == []
        assert all(request.query["allowWatchBookmarks"] for request in server.asked("watch"))


@pytest.mark.parametrize("is_event", [True, False])
async def test_after_a_410_what_vanished_is_told(server: HostileApiServer, is_event: bool) -> None:
    """As an event of a watch, and as an answer to its request."""
    for name in ("stays", "changes", "vanishes"):
        server.put(name)
    async with watching(server.url) as watched:
        await watched.watch.listed.wait()
        await eventually(lambda: server.asked("watch"))
        del server.pods["vanishes"]
        server.put("changes")
        server.put("comes")
        if is_event:
            server.tell("ERROR", {**STATUS, "code": 410, "reason": "Expired", "message": "too old"})
        else:

            async def too_old(_: web.Request) -> web.Response:
                return refusal(410, "Expired", "too old")

            server.answers.append(too_old)
            server.changes.put_nowait(None)
        await eventually(lambda: len(watched.told) == 6)
        assert watched.told[3:] == ["changes@5", "comes@6", "-vanishes"]


async def test_an_api_server_that_answers_nothing_but_410_is_not_asked_without_a_pause(
    server: HostileApiServer,
) -> None:
    async def too_old(request: web.Request) -> web.StreamResponse:
        server.answers.append(too_old)
        if request.query.get("watch"):
            return refusal(410, "Expired", "too old")
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    server.answers.append(too_old)
    loop = asyncio.get_running_loop()
    pauses: list[float] = []
    async with watching(server.url, Timing(first_pause=0.05, longest_pause=0.4)):
        began = loop.time()
        await eventually(lambda: len(server.requests) >= 10)
        pauses.append(loop.time() - began)
    assert pauses[0] > 0.2


async def test_a_half_open_connection_is_noticed_and_made_anew(server: HostileApiServer) -> None:
    line = CutLine("127.0.0.1", urlsplit(server.url).port or 0)
    await line.open()
    try:
        async with watching(f"http://127.0.0.1:{line.port}", Timing(quiet=0.3, first_pause=0.01)) as watched:
            await eventually(lambda: server.asked("watch"))
            before = line.connections
            line.silence()
            server.tell("ADDED", pod("unheard", 3))
            server.put("unheard")
            await eventually(lambda: line.connections > before)
            line.speak()
            server.tell("ADDED", pod("heard", 9))
            await eventually(lambda: "heard@9" in watched.told)
    finally:
        await line.close()


async def test_a_server_that_is_away_is_told_until_it_answers_again(server: HostileApiServer) -> None:
    line = CutLine("127.0.0.1", urlsplit(server.url).port or 0)
    await line.open()
    try:
        async with watching(f"http://127.0.0.1:{line.port}") as watched:
            await eventually(lambda: server.asked("watch"))
            assert set(watched.errors) <= {""}
            await line.cut()
            await eventually(lambda: watched.errors and watched.errors[-1] != "")
            assert "cannot be reached" in watched.errors[-1]
            await line.mend()
            await eventually(lambda: watched.errors[-1] == "")
    finally:
        await line.close()


async def test_a_connection_that_is_cut_and_made_at_once_is_no_outage(server: HostileApiServer) -> None:
    async with watching(server.url) as watched:
        for _ in range(3):
            server.changes.put_nowait(None)
        await eventually(lambda: len(server.asked("watch")) >= 4)
        assert set(watched.errors) == {""}


async def test_a_long_list_comes_in_pages(server: HostileApiServer) -> None:
    count = 2 * int(PAGE) + 1
    for at in range(count):
        server.put(f"pod-{at}")
    async with watching(server.url) as watched:
        await watched.watch.listed.wait()
        assert len(watched.told) == count
        assert len(server.asked("continue")) == 2


async def test_one_object_that_cannot_be_understood_keeps_no_other_from_being_told(server: HostileApiServer) -> None:
    server.put("before")
    server.pods["damaged"] = {"metadata": {"name": 5}}
    async with watching(server.url) as watched:
        server.tell("ADDED", {"metadata": {"name": 5}})
        server.tell("ADDED", pod("after", 3))
        await eventually(lambda: watched.told == ["before@2", "after@3"])


async def test_after_what_is_no_event_the_watch_goes_on(server: HostileApiServer) -> None:
    async with watching(server.url) as watched:
        server.changes.put_nowait({"no": "event"})
        await eventually(lambda: len(server.asked("watch")) > 1)
        server.tell("ADDED", pod("after", 3))
        await eventually(lambda: watched.told == ["after@3"])


async def test_who_wants_no_history_is_told_only_what_comes(server: HostileApiServer) -> None:
    server.put("before")
    async with watching(server.url, is_history_wanted=False) as watched:
        await watched.watch.listed.wait()
        server.tell("ADDED", pod("after", 3))
        await eventually(lambda: watched.told == ["after@3"])
