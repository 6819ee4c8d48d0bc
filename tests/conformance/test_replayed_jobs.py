"""Watchers that come at about the same time share what is replayed to them, and what is kept for that is bounded."""

import gc

from msgspec.structs import replace

from kusciajob.events.ring import SharedEvent
from kusciajob.store.memory import MemoryStore
from tests.support.builders import new_job
from tests.support.streams import opened_hub

JOBS = 30
HEAVY = "x" * (1 << 20)
"""One text for all of them: it weighs much and takes little."""


def kept() -> int:
    """How many events of replays there are in memory."""
    gc.collect()  # what other tests have left
    return sum(isinstance(each, SharedEvent) for each in gc.get_objects())


async def test_what_is_kept_of_replayed_jobs_is_bounded() -> None:
    store = MemoryStore()
    for number in range(JOBS):
        job = await store.create(new_job(f"job-{number}"))
        await store.replace(replace(job, status=replace(job.status, message=HEAVY)))
    before = kept()
    async with opened_hub(store) as hub:
        async with hub.subscribe() as stream:
            assert len(await stream.read()) == JOBS
        assert 0 < kept() - before < JOBS / 2


async def test_a_job_is_replayed_to_two_watchers_as_one_event() -> None:
    store = MemoryStore()
    await store.create(new_job("job-1"))
    async with opened_hub(store) as hub, hub.subscribe() as first, hub.subscribe() as second:
        (one,), (other,) = await first.read(), await second.read()
        assert one is other
