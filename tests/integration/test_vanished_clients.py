"""A client that has vanished without a word does not hold its watch for ever, although nothing is sent to it."""

import asyncio
from pathlib import Path

from tests.support.http2 import Connection
from tests.support.impatient import LAUNCHER
from tests.support.metrics import watch_streams
from tests.support.polling import eventually_true, passed
from tests.support.raw_watch import WATCH
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher


async def has_streams(server: RunningServer, count: int) -> bool:
    return await watch_streams(server) == count


async def test_a_silent_watch_of_a_client_that_does_not_answer_ends_and_others_stay(tmp_path: Path) -> None:
    async with running_server(tmp_path, LAUNCHER, runtime="simulated") as server:
        present = Watcher(server)
        await present.connect()
        await create(server.stub, job_request("told"))
        await ended(server.stub, "told")
        vanished = await asyncio.to_thread(Connection, server.address, WATCH)
        vanished.call([b""])
        while not await asyncio.to_thread(vanished.receive):
            pass
        # From now on it reads nothing, and acknowledges no ping.
        await eventually_true(lambda: has_streams(server, 2))
        await eventually_true(lambda: has_streams(server, 1))
        await passed(4.0)  # longer than one that does not answer is waited for
        assert await has_streams(server, 1)
        vanished.close()
        await present.close()
