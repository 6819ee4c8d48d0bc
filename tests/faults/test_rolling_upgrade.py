"""Servers behind one address are replaced one after the other under load: no call fails that is tried again once."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.faults.soak_servers import Client, Watcher
from tests.support.front_door import FrontDoor
from tests.support.next_version import LAUNCHER
from tests.support.polling import eventually, passed
from tests.support.requests import ended, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.postgres

CALLERS = 3
CALL_SECONDS = 30.0


@pytest.fixture
async def servers(tmp_path: Path, url: str) -> AsyncIterator[Sequence[RunningServer]]:
    async with AsyncExitStack() as stack:
        started = []
        for name in ("one", "other", "third"):
            (tmp_path / name).mkdir()
            opening = running_server(tmp_path / name, runtime="simulated", store=url)
            started.append(await stack.enter_async_context(opening))
        yield started


@pytest.fixture
async def door(servers: Sequence[RunningServer]) -> AsyncIterator[FrontDoor]:
    door = FrontDoor([(server.http_address, server.address) for server in servers])
    await door.open()
    await passed(1.0)  # it has seen them
    yield door
    await door.close()


@asynccontextmanager
async def called_all_the_time(door: FrontDoor) -> AsyncIterator[list[str]]:
    """Jobs are created and asked for until the end; AssertionError where a call fails twice. The jobs' ids."""
    calls: Counter[str] = Counter()
    created: list[str] = []
    is_over = False

    async def call(caller: int) -> None:
        client = Client(door.address, calls)
        number = 0
        while not is_over:
            job_id = f"job-{caller}-{number}"
            request = job_request(job_id, task_request("a", task_input_config='{"seconds": 0.1}'))
            question = pb.QueryJobRequest(job_id=job_id)
            for ask in (
                lambda stub, r=request: stub.CreateJob(r, timeout=CALL_SECONDS),
                lambda stub, q=question: stub.QueryJob(q, timeout=CALL_SECONDS),
            ):
                answer = await client.ask("call", ask) or await client.ask("second try", ask)
                assert answer is not None, calls
                assert answer.status.code == 0, answer.status.message
            created.append(job_id)
            number += 1
        await client.close()

    async with asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(call(caller))
        try:
            yield created
        finally:
            is_over = True
    assert len(created) > CALLERS


async def test_every_call_is_answered_at_the_second_try_while_servers_are_replaced(
    servers: Sequence[RunningServer], door: FrontDoor
) -> None:
    async with called_all_the_time(door) as created:
        for server in servers:
            await server.restart()
            await passed(1.0)
    for job_id in created:
        assert (await ended(servers[0].stub, job_id)).state == "Succeeded"


async def test_two_versions_serve_beside_each_other_while_one_replaces_the_other(
    servers: Sequence[RunningServer], door: FrontDoor, url: str
) -> None:
    """The lease passes from each version to the other; each reads what the other has written."""
    calls: Counter[str] = Counter()
    watcher = Watcher(door.address, calls)
    watching = asyncio.create_task(watcher.run())
    async with called_all_the_time(door) as created:
        await passed(0.5)
        migrating = await asyncio.create_subprocess_exec(
            *(*LAUNCHER, sys.executable, "-m", "kusciajob", "migrate", "--store", url), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await migrating.communicate()
        assert told == b"schema 2: it had schema 1\n"
        await servers[2].restart()  # one of the version before can also be started again
        for server in servers:
            server.launcher = LAUNCHER
            await server.restart()
            await passed(1.0)
        servers[1].launcher = ()  # and it can be gone back to
        await servers[1].restart()
        await servers[0].restart()
        await servers[2].restart()
        await passed(1.0)
    for job_id in created:
        for server in servers:
            assert (await ended(server.stub, job_id)).state == "Succeeded"
    await eventually(lambda: all(watcher.states.get(job_id) == "Succeeded" for job_id in created))
    watching.cancel()
    await asyncio.wait([watching])
    await watcher.close()
    connection = await asyncpg.connect(url)
    count, last = await connection.fetchrow("SELECT count(*), max(revision) FROM log")
    by_new = await connection.fetchval("SELECT count(*) FROM log WHERE position('later'::bytea IN status) > 0")
    await connection.close()
    assert count == last
    assert 0 < by_new < count, "both versions have written"
