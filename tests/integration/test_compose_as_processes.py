"""What deploy/compose says is started, in its order: PostgreSQL, migrate, three servers and its proxy; as processes."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from kusciajob import config
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.faults.soak_servers import Client, Watcher
from tests.support.cut_line import CutLine
from tests.support.polling import eventually, eventually_true
from tests.support.postgres import postgres_server
from tests.support.program import assert_refused, kusciajob
from tests.support.proxy import Proxy, compose_proxy, own_loopbacks
from tests.support.requests import ended, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.postgres

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose" / "compose.yaml"
SERVERS = ("one", "other", "third")
GRPC_PORT, HTTP_PORT = 8083, 8082


@pytest.fixture
async def settings(tmp_path: Path) -> dict[str, Any]:
    """Those of its servers, with places of this machine for those of the containers."""
    service = yaml.safe_load(COMPOSE.read_text())["x-server"]
    set_there = config.load({}, environment=service["environment"])
    settings = {
        setting.name: getattr(set_there, setting.name)
        for setting in config.describe()
        if setting.variable in service["environment"]
    }
    password = tmp_path / "password"
    password.write_text("secret\n")
    return settings | {
        "grpc_port": GRPC_PORT,
        "http_port": HTTP_PORT,
        "store": await postgres_server().new_database(),
        "store_password_file": password,
        "shared_dir": tmp_path / "shared",
        "allowed_hosts": ",".join(set_there.allowed_hosts),
    }


@pytest.fixture
async def lines() -> AsyncIterator[Mapping[str, CutLine]]:
    """Each server's to PostgreSQL."""
    lines = {name: CutLine("127.0.0.1", postgres_server().port) for name in SERVERS}
    for line in lines.values():
        await line.open()
    yield lines
    for line in lines.values():
        await line.close()


@pytest.fixture
async def servers(
    tmp_path: Path, settings: dict[str, Any], lines: Mapping[str, CutLine]
) -> AsyncIterator[Mapping[str, RunningServer]]:
    store = ["--store", settings["store"], "--store-password-file", settings["store_password_file"]]
    early = await asyncio.to_thread(
        kusciajob, "serve", *store, "--no-migrate-at-start", "--data-dir", tmp_path / "data"
    )
    assert_refused(early, "run `kusciajob migrate`")
    (command,) = yaml.safe_load(COMPOSE.read_text())["services"]["migrate"]["command"]
    done = await asyncio.to_thread(kusciajob, command, *store)
    assert done.returncode == 0, done
    async with AsyncExitStack() as stack:
        started = {}
        for name, address in zip(SERVERS, own_loopbacks(len(SERVERS)), strict=True):
            (tmp_path / name).mkdir()
            store = settings["store"].replace(f":{postgres_server().port}/", f":{lines[name].port}/")
            own = settings | {"host": address, "store": store}
            started[name] = await stack.enter_async_context(running_server(tmp_path / name, **own))
        yield started
        for line in lines.values():
            await line.mend()


@pytest.fixture
async def proxy(tmp_path: Path, servers: Mapping[str, RunningServer]) -> AsyncIterator[Proxy]:
    *addresses, host = own_loopbacks(len(SERVERS) + 1)
    async with compose_proxy(tmp_path, host, dict(zip(SERVERS, addresses, strict=True))) as proxy:
        await proxy.sees(**dict.fromkeys(SERVERS, "UP"))
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    client = Client(f"{proxy.host}:{GRPC_PORT}", Counter())
    yield client
    await client.close()


async def run_job(client: Client, job_id: str) -> None:
    """Create it and see it end; a call that comes to a server that has just gone is made again."""

    async def is_stored() -> bool:
        request = job_request(job_id, task_request("a"))
        answer = await client.ask("CreateJob", lambda stub: stub.CreateJob(request, timeout=10.0))
        return answer is not None and answer.status.code in (0, 11202)

    await eventually_true(is_stored)
    assert (await ended(job_pb2_grpc.JobServiceStub(client.channel), job_id)).state == "Succeeded"


async def test_one_address_takes_calls_over_grpc_and_http(
    servers: Mapping[str, RunningServer], proxy: Proxy, client: Client
) -> None:
    await run_job(client, "over-grpc")
    url = f"http://{proxy.host}:{HTTP_PORT}"
    async with aiohttp.ClientSession() as session:
        task = {"alias": "a", "app_image": "any", "parties": [{"domain_id": "alice"}]}
        job = {"job_id": "over-http", "initiator": "alice", "tasks": [task]}
        async with session.post(f"{url}/api/v1/job/create", json=job) as answer:
            assert (await answer.json())["status"]["code"] == 0
        async with session.get(f"{url}/healthZ") as answer:
            assert (await answer.json())["data"]["ready"] is True
    for job_id, server in zip(("over-grpc", "over-http"), servers.values(), strict=False):
        assert (await ended(server.stub, job_id)).state == "Succeeded"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_a_watch_goes_on_by_revision_on_another_server_once_its_own_is_gone(
    servers: Mapping[str, RunningServer], proxy: Proxy, client: Client, end: signal.Signals
) -> None:
    watcher = Watcher(f"{proxy.host}:{GRPC_PORT}", Counter())  # AssertionError where a revision is missing or doubled
    watching = asyncio.create_task(watcher.run())
    await eventually_true(lambda: _server_of_the_only_connection(proxy))
    name = await _server_of_the_only_connection(proxy)
    await run_job(client, "before")
    await eventually(lambda: watcher.states.get("before") == "Succeeded")
    if end is signal.SIGKILL:
        await servers[name].kill()
    else:
        servers[name].process.send_signal(end)
    try:
        await proxy.sees(**{name: "DOWN"})
        await run_job(client, "after")
        await eventually(lambda: watcher.states.get("after") == "Succeeded")
        assert (await proxy.seen("grpc"))[name].connections == 0
    finally:
        servers[name].process.send_signal(signal.SIGCONT) if end is signal.SIGSTOP else await servers[name].start()
    await proxy.sees(**{name: "UP"})
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await watcher.close()


async def test_a_server_that_cannot_store_gets_no_new_connections_unless_none_can(
    servers: Mapping[str, RunningServer], proxy: Proxy, client: Client, lines: Mapping[str, CutLine]
) -> None:
    await lines["one"].cut()
    await proxy.sees(one="NOLB", other="UP", third="UP")
    for number in range(len(SERVERS)):
        await run_job(client, f"job-{number}")
        await client.close()
    assert (await proxy.seen("grpc"))["one"].connections == 0
    for line in lines.values():
        await line.cut()
    await proxy.sees(**dict.fromkeys(SERVERS, "NOLB"))
    answer = await client.ask("CreateJob", lambda stub: stub.CreateJob(job_request("refused"), timeout=30.0))
    assert answer is not None
    assert answer.status.code == 11201
    for line in lines.values():
        await line.mend()
    await proxy.sees(**dict.fromkeys(SERVERS, "UP"))
    await client.close()
    await run_job(client, "afterwards")


async def _server_of_the_only_connection(proxy: Proxy) -> str:
    """ "" while there is none."""
    names = [name for name, seen in (await proxy.seen("grpc")).items() if seen.connections]
    return names[0] if names else ""
