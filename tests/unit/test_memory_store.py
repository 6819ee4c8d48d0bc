"""What only a store in memory promises."""

import asyncio

import pytest

from kusciajob.model.errors import LogTruncated
from kusciajob.store.memory import MemoryStore
from tests.support.builders import new_job
from tests.support.polling import give_way


async def test_its_revisions_follow_those_of_an_earlier_one() -> None:
    store = MemoryStore(after=7)
    assert await store.head() == 7
    assert await store.read_log(7, 10) == ()
    with pytest.raises(LogTruncated):
        await store.read_log(6, 10)
    job = await store.create(new_job())
    assert (job.number, job.revision) == (8, 8)
    assert [event.revision for event in await store.read_log(7, 10)] == [8]


def test_it_serves_one_event_loop_after_the_other() -> None:
    """As a server does that is started again in the process of a test: either waits for news, and hears of them."""
    store = MemoryStore()

    async def serve(number: int) -> None:
        failing = asyncio.create_task(store.failing.wait())
        waiting = asyncio.create_task(store.wait_log(await store.head()))
        idle = asyncio.create_task(store.wait_log(await store.head() + 1))
        await give_way(3)
        await store.create(new_job(f"job-{number}"))
        await waiting
        await give_way(3)
        assert not failing.done()
        for left in (failing, idle):
            left.cancel()

    for number in range(3):
        asyncio.run(serve(number))
