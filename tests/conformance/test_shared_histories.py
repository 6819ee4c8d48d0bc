"""Watching over several servers while their lines to PostgreSQL are cut: the hub's guarantees hold across them."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from urllib.parse import urlsplit

import pytest

from kusciajob.events.hub import Hub
from kusciajob.model.errors import StoreFailed
from kusciajob.model.status import JobEvent
from kusciajob.store.postgres.store import PostgresStore
from tests.conformance import test_hub as promises
from tests.support.builders import new_job
from tests.support.cut_line import CutLine
from tests.support.polling import passed
from tests.support.postgres import postgres_server
from tests.support.streams import LAST_JOB, History, Pace, Recording, opened_hub, watch, write_at_random

pytestmark = pytest.mark.postgres

AT_MOST_SECONDS = 150.0
SERVERS = 3
WATCHERS = 2
WRITERS = 4
CHANGES = 30


async def watch_on_many(hubs: Sequence[Hub], pace: Pace, random: Random, *, after: int) -> History:
    """Read until LAST_JOB is told, but leave all the time and come back to another server for what follows."""
    events: list[JobEvent] = []
    while not (events and events[-1].job.job_id == LAST_JOB):
        async with random.choice(hubs).subscribe(after=events[-1].revision if events else after) as stream:
            for _ in range(random.randrange(4)):
                events += [published.event for published in await stream.read()]
                if events[-1].job.job_id == LAST_JOB:
                    break
        await pace.pause(1, 10)
    return History(after, [], events)


async def record(seed: int) -> Recording:
    """Servers whose lines are cut, watchers that change servers, and writers that call any of them."""
    random, url = Random(seed), await postgres_server().new_database()
    pace = Pace(random)
    port = urlsplit(url).port or 0
    async with AsyncExitStack() as stack:
        steady = await PostgresStore.open(url)
        stack.push_async_callback(steady.close)
        lines = [CutLine("127.0.0.1", port) for _ in range(SERVERS)]
        stores = []
        for line in lines:
            await line.open()
            stack.push_async_callback(line.close)
            store = await PostgresStore.open(url.replace(f":{port}/", f":{line.port}/"))
            stack.push_async_callback(store.close)
            stores.append(store)
        for index in range(40):
            await steady.create(new_job(f"job-{index}"))
        hubs = [await stack.enter_async_context(opened_hub(store, ring_events=2, batch_events=3)) for store in stores]

        async def write(store: PostgresStore) -> None:
            for _ in range(CHANGES):
                with suppress(StoreFailed):  # nobody knows what became of it; the log does
                    ids = [f"job-{index}" for index in range(60)]
                    await write_at_random(store, pace, random, job_ids=ids, changes=1)
                pace.count_change()

        async def cut() -> None:
            while True:
                await passed(random.uniform(0.1, 0.5))
                line = random.choice(lines)
                line.loses_answers = random.random() < 0.3
                await passed(random.uniform(0, 0.05))
                await line.cut()
                line.loses_answers = False
                await passed(random.uniform(0, 0.2))
                await line.mend()

        cutting = asyncio.create_task(cut())
        async with asyncio.TaskGroup() as group:
            replays = [group.create_task(watch(hub, pace)) for hub in hubs for _ in range(WATCHERS)]
            resumed = [group.create_task(watch(hub, pace, after=random.randrange(41))) for hub in hubs]
            pieces = [
                group.create_task(watch_on_many(hubs, pace, random, after=random.randrange(41)))
                for _ in range(WATCHERS)
            ]
            await asyncio.gather(*(write(stores[number % SERVERS]) for number in range(WRITERS)))
            await steady.create(new_job(LAST_JOB))
            pace.finish()
        cutting.cancel()
        for line in lines:
            await line.mend()
        return Recording(
            log=await steady.read_log(0, 1_000_000),
            jobs=await steady.page(0, 1_000),
            replays=[task.result() for task in replays],
            resumed=[task.result() for task in resumed],
            pieces=[task.result() for task in pieces],
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_hubs_promises_hold_over_several_servers(seed: int) -> None:
    # Outside asyncio's debug mode, which takes ten times as long.
    recording = asyncio.run(asyncio.wait_for(record(seed), AT_MOST_SECONDS))
    assert [event.revision for event in recording.log] == list(range(1, len(recording.log) + 1))
    promises.test_ordered(recording)
    promises.test_unique(recording)
    promises.test_reliable(recording)
    promises.test_resumable(recording)
