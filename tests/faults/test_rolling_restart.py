"""Servers behind one address are replaced one after the other under load: no call fails that is tried again once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.faults.soak_servers import Client
from tests.support.front_door import FrontDoor
from tests.support.polling import passed
from tests.support.postgres import postgres_server
from tests.support.requests import ended, job_request, task_request
from tests.support.server import running_server

pytestmark = pytest.mark.postgres

CALLERS = 3
CALL_SECONDS = 30.0


async def test_every_call_is_answered_at_the_second_try_while_servers_are_replaced(tmp_path: Path) -> None:
    url = await postgres_server().new_database()
    calls: Counter[str] = Counter()
    created: list[str] = []
    is_over = False
    async with AsyncExitStack() as stack:
        servers = []
        for name in ("one", "other", "third"):
            (tmp_path / name).mkdir()
            opening = running_server(tmp_path / name, runtime="simulated", store=url)
            servers.append(await stack.enter_async_context(opening))
        door = FrontDoor([(server.http_address, server.address) for server in servers])
        await door.open()
        stack.push_async_callback(door.close)
        await passed(1.0)  # the door has seen them

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

        calling = [asyncio.create_task(call(caller)) for caller in range(CALLERS)]
        for server in servers:
            await server.restart()
            await passed(1.0)
        is_over = True
        await asyncio.gather(*calling)
        for job_id in created:
            assert (await ended(servers[0].stub, job_id)).state == "Succeeded"
    assert len(created) > CALLERS
