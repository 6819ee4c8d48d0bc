"""Who asks for a revision waits for it, and is told when it does not come."""

import asyncio

import pytest

from kusciajob.model.errors import InvalidJob, StoreFailed
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases import revisions
from kusciajob.usecases.revisions import reached
from tests.support.builders import new_job
from tests.support.polling import PATIENCE_SECONDS, give_way


async def test_it_waits_until_the_revision_is_there() -> None:
    store = MemoryStore()
    waiting = asyncio.create_task(reached(store, 2))
    await store.create(new_job("one"))
    await give_way(10)
    assert not waiting.done()
    await store.create(new_job("other"))
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)
    await reached(store, 0)


async def test_a_revision_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "PATIENCE_SECONDS", 0.01)
    store = MemoryStore()
    await store.create(new_job("one"))
    with pytest.raises(StoreFailed, match="min_revision 2 is not known here yet, the newest is 1"):
        await reached(store, 2)


async def test_what_is_no_revision_is_refused() -> None:
    with pytest.raises(InvalidJob, match="min_revision -1 is below 0"):
        await reached(MemoryStore(), -1)
