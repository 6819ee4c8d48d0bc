"""What only a store in memory promises."""

import pytest

from kusciajob.model.errors import LogTruncated
from kusciajob.store.memory import MemoryStore
from tests.support.builders import new_job


async def test_its_revisions_follow_those_of_an_earlier_one() -> None:
    store = MemoryStore(after=7)
    assert await store.head() == 7
    assert await store.read_log(7, 10) == ()
    with pytest.raises(LogTruncated):
        await store.read_log(6, 10)
    job = await store.create(new_job())
    assert (job.number, job.revision) == (8, 8)
    assert [event.revision for event in await store.read_log(7, 10)] == [8]
