"""What becomes of tasks when an engine, an image or a registry fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from kusciajob.contracts import PartyKey
from kusciajob.model.appimage import Image
from kusciajob.runtime.container import watch
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.containers.lab import NAME, ContainerLab
from tests.support.polling import OUTAGE_SECONDS, eventually, passed
from tests.support.runtime_lab import placed, task_of

KEY = PartyKey(1, 0, 0, 0)


@asynccontextmanager
async def registry(answer: "asyncio.Event | None" = None) -> AsyncIterator[str]:
    """The address of a registry that has no image; with an event, it says so only then."""

    async def serve(request: web.Request) -> web.Response:
        if answer is not None and request.path != "/v2/":
            await answer.wait()
        if request.path == "/v2/":
            return web.json_response({})
        return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_an_image_that_no_registry_has_is_told_while_the_task_waits(lab: ContainerLab) -> None:
    async with registry() as address:
        lab.image = Image(f"{address}/nothing", "1")
        runtime = await lab.open()
        parties = await placed(runtime, task_of(lab, ["true"]))
        starting = asyncio.create_task(runtime.start(parties[0]))
        await lab.told(KEY, f"image {address}/nothing:1: not found in registry: ")
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.stop(KEY)
        assert not await lab.leftovers()


async def test_a_pull_is_told_and_a_stop_does_not_wait_for_it(lab: ContainerLab) -> None:
    answer = asyncio.Event()
    async with registry(answer) as address:
        lab.image = Image(f"{address}/slow", "1")
        runtime = await lab.open()
        parties = await placed(runtime, task_of(lab, ["true"]))
        starting = asyncio.create_task(runtime.start(parties[0]))
        await lab.told(KEY, f"pulling image {address}/slow:1 (4 s)")
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.stop(KEY)
        answer.set()


async def test_an_image_that_comes_later_is_run(lab: ContainerLab) -> None:
    async with registry() as address:
        lab.image = Image(f"{address}/late", "1")
        runtime = await lab.open()
        parties = await placed(runtime, task_of(lab, ["echo late"]))
        starting = asyncio.create_task(runtime.start(parties[0]))
        await lab.told(KEY, "not found in registry")
        await lab.docker.images.tag(f"{NAME}:1", f"{address}/late", tag="1")
        await starting
        assert (await runtime.wait(KEY)).succeeded
        await lab.docker.images.delete(f"{address}/late:1")


@pytest.mark.outage
async def test_an_engine_that_hangs_is_noticed_and_what_ended_meanwhile_is_known(lab: ContainerLab) -> None:
    engine = lab.connect()
    runtime = await lab.open(engine=engine)
    parties = await started(runtime, task_of(lab, ["echo begun; sleep 2; echo over; exit 6"]))
    await said(runtime, parties[0].key, b"begun")
    lab.own_engine.suspend()
    try:
        await asyncio.wait_for(engine.failing.wait(), 10 * watch.PING_SECONDS)
    finally:
        lab.own_engine.resume()
    assert (await runtime.wait(parties[0].key)).exit_code == 6
    assert await output(runtime, parties[0].key) == b"begun\nover\n"
    await eventually(lambda: not engine.failing.is_set())


@pytest.mark.outage
async def test_an_engine_that_is_away_for_a_minute_changes_nothing_for_what_runs(lab: ContainerLab) -> None:
    """One party ends meanwhile, the other one goes on after it."""
    engine = lab.connect()
    runtime = await lab.open(engine=engine)
    scripts = ["echo begun; sleep 20; echo over; exit 6", "echo begun; sleep 75; echo over; exit 7"]
    parties = await started(runtime, task_of(lab, scripts))
    for party in parties:
        await said(runtime, party.key, b"begun")
    await lab.take_away()
    await eventually(engine.failing.is_set)
    await passed(OUTAGE_SECONDS)
    await lab.bring_back()
    assert [(await runtime.wait(party.key)).exit_code for party in parties] == [6, 7]
    for party in parties:
        assert await output(runtime, party.key) == b"begun\nover\n"
    await eventually(lambda: not engine.failing.is_set())


@pytest.mark.outage
async def test_a_start_while_the_engine_hangs_is_one_run(lab: ContainerLab) -> None:
    """Requests that wait in the engine's socket are carried out when it goes on, long after nobody waits for them."""
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"]))
    lab.own_engine.suspend()
    starting = asyncio.create_task(runtime.start(parties[0]))
    await asyncio.wait({starting}, timeout=1)
    lab.own_engine.resume()
    await starting
    assert (await runtime.wait(parties[0].key)).succeeded
    assert await output(runtime, parties[0].key) == b"begun\n"


@pytest.mark.outage
async def test_a_run_whose_machine_was_started_again_is_lost_and_never_run_again(lab: ContainerLab) -> None:
    first = await lab.open()
    parties = await started(first, task_of(lab, [f"echo begun; {FOR_EVER}"]))
    await said(first, KEY, b"begun")
    await lab.cut(first)
    lab.own_engine.restart_machine()
    second = await lab.open()
    await second.attach(parties[0])
    await second.start(parties[0])
    result = await second.wait(KEY)
    assert not result.succeeded
    assert await output(second, KEY) == b"begun\n"


async def test_many_tasks_at_once_all_end(lab: ContainerLab) -> None:
    """A network and two containers each; nothing of them is left."""
    runtime = await lab.open()
    tasks = [task_of(lab, ["echo alice", "echo bob"], job=job) for job in range(1, 41)]
    for results in await asyncio.gather(*(run(runtime, parties) for parties in tasks)):
        assert all(result.succeeded for result in results), results
    assert not await lab.leftovers()
