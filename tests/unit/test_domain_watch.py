"""A domain's watch: other domains' jobs do not show, not even by when it is told nothing."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from kusciajob.contracts import WatchStream
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, JobEvent
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService
from tests.support.builders import job_spec, new_job
from tests.support.clock import ManualClock
from tests.support.polling import PATIENCE_SECONDS


class Told:
    """An event in the hub."""

    def __init__(self, event: JobEvent) -> None:
        self.event = event

    def encoded(self, encode: Callable[[JobEvent], bytes]) -> bytes:
        return encode(self.event)

    def seen_by(self, domain: str) -> "Told":
        return self


class ScriptedHub:
    """Tells the batches, one a read, and after them the last one again and again, at once."""

    def __init__(self, *batches: Sequence[str]) -> None:
        """Batches of job ids; those that begin with "carol" are of carol's, the others of alice and bob."""
        self._batches = [[Told(_added(job_id)) for job_id in batch] for batch in batches]

    head = 1
    position = None

    @asynccontextmanager
    async def subscribe(
        self, *, after: int | None = None, chosen: JobFilter | None = None
    ) -> AsyncIterator[WatchStream]:
        yield self

    async def read(self, timeout: float | None = None) -> Sequence[Told]:
        assert timeout is None or timeout > 0
        return self._batches.pop(0) if len(self._batches) > 1 else self._batches[0]


def _added(job_id: str) -> JobEvent:
    initiator = "carol" if job_id.startswith("carol") else "alice"
    return JobEvent(1, EventType.ADDED, new_job(job_spec(job_id, initiator=initiator)).summary)


async def read(hub: ScriptedHub, domain: str, timeout: float | None) -> list[str]:
    """What one read tells: the job ids."""
    service = JobService(store=MemoryStore(), hub=hub, images=AnyImage(), clock=ManualClock())
    async with service.watch(Caller(domain)) as stream:
        return [published.event.job.job_id for published in await stream.read(timeout)]


async def test_only_visible_jobs_are_told() -> None:
    assert await read(ScriptedHub(["one", "carol-1", "two", "carol-2"]), "carol", None) == ["carol-1", "carol-2"]
    assert await read(ScriptedHub(["one", "carol-1"]), "", None) == ["one", "carol-1"]


async def test_a_read_goes_on_past_what_is_invisible() -> None:
    assert await read(ScriptedHub(["one"], ["two"], ["carol-1"]), "carol", None) == ["carol-1"]
    assert await read(ScriptedHub(["one"], ["two"], []), "carol", None) == []


async def test_the_time_of_a_read_is_neither_shortened_nor_extended_by_what_is_invisible() -> None:
    begin = time.monotonic()
    assert await read(ScriptedHub(["one"]), "carol", 0.05) == []
    assert 0.05 <= time.monotonic() - begin < PATIENCE_SECONDS
