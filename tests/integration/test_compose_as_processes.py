"""What deploy/compose says is started, in its order: PostgreSQL, migrate, three servers and a proxy; as processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from kusciajob import config
from tests.faults.soak_servers import Client
from tests.support.front_door import FrontDoor
from tests.support.polling import passed
from tests.support.postgres import postgres_server
from tests.support.program import assert_refused, kusciajob
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.postgres

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose" / "compose.yaml"
SERVERS = ("one", "other", "third")


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
    _, *flags = service["command"]
    told = dict(zip(flags[::2], flags[1::2], strict=True))
    return settings | {
        "host": told["--host"],
        "store": await postgres_server().new_database(),
        "store_password_file": password,
        "shared_dir": tmp_path / "shared",
        "allowed_hosts": ",".join(set_there.allowed_hosts),
    }


@pytest.fixture
async def servers(tmp_path: Path, settings: dict[str, Any]) -> AsyncIterator[Sequence[RunningServer]]:
    store = ["--store", settings["store"], "--store-password-file", settings["store_password_file"]]
    early = await asyncio.to_thread(
        kusciajob, "serve", *store, "--no-migrate-at-start", "--data-dir", tmp_path / "data"
    )
    assert_refused(early, "run `kusciajob migrate`")
    (command,) = yaml.safe_load(COMPOSE.read_text())["services"]["migrate"]["command"]
    done = await asyncio.to_thread(kusciajob, command, *store)
    assert done.returncode == 0, done
    async with AsyncExitStack() as stack:
        started = []
        for name in SERVERS:
            (tmp_path / name).mkdir()
            started.append(await stack.enter_async_context(running_server(tmp_path / name, **settings)))
        yield started


async def test_three_servers_run_jobs_behind_one_address_and_one_may_go(servers: Sequence[RunningServer]) -> None:
    door = FrontDoor([(server.http_address, server.address) for server in servers])
    await door.open()
    await passed(1.0)  # it has seen them
    for number, server in enumerate(servers):
        await create(server.stub, job_request(f"job-{number}", task_request("a")))
    await servers[0].kill()
    await passed(3.0)  # the proxy's two looks
    calls: Counter[str] = Counter()
    client = Client(door.address, calls)
    request = job_request("afterwards", task_request("a"))
    answer = await client.ask("CreateJob", lambda stub: stub.CreateJob(request, timeout=30.0))
    assert answer is not None, calls
    for job_id in ("job-0", "job-1", "job-2", "afterwards"):
        assert (await ended(servers[1].stub, job_id)).state == "Succeeded"
    await client.close()
    await door.close()
