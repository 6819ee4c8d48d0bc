"""A server without edges that dies at a given commit: `python -m tests.support.crashing_server DIR WHEN N`.

It creates the job of `job()`, unless it is there, and runs it to its end, or exits with CRASHED before or after the
N-th commit of its store (0: never).
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from kusciajob.clock import SystemClock
from kusciajob.events.hub import Hub
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.job import JobSpec, Party, Retry, Task
from kusciajob.model.status import Job, JobStatus
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.scheduler.loop import Scheduler
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from tests.support.polling import eventually_true
from tests.support.ports import free_range
from tests.support.stores import GuardedStore

CRASHED = 86
JOB_ID = "crashing"

T = TypeVar("T")


class CrashingStore(GuardedStore):
    """Ends the process, as SIGKILL would, before or after its n-th commit."""

    def __init__(self, store: SqliteStore, *, when: str, at: int) -> None:
        super().__init__(store)
        self._when = when
        self._at = at
        self.commits = 0

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        return await self._commit(self._store.create(job, notes=notes))

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        return await self._commit(self._store.replace(job, passed=passed, fault=fault, notes=notes))

    async def _commit(self, commit: Awaitable[T]) -> T:
        self.commits += 1
        number = self.commits
        if (self._when, self._at) == ("before", number):
            os._exit(CRASHED)
        result = await commit
        if (self._when, self._at) == ("after", number):
            os._exit(CRASHED)
        return result


def job() -> JobSpec:
    """Two tasks of two parties each, one after the other; the first may run twice."""
    parties = (Party("alice"), Party("bob"))
    first = Task("first", "mark", parties, retry=Retry(2, first_backoff_seconds=0.05))
    tasks = (first, Task("second", "mark", parties, dependencies=("first",)))
    return JobSpec(JOB_ID, "alice", tasks, max_parallelism=1)


async def run(directory: Path, *, when: str, at: int) -> int:
    """The number of commits that the whole job took."""
    data, clock = directory / "data", SystemClock()
    data.mkdir(exist_ok=True)
    store = CrashingStore(await SqliteStore.open(data / "jobs.db"), when=when, at=at)
    runtime = ProcessRuntime(
        directory=data,
        domains=directory / "domains",
        path="",
        ports=free_range(8),
        stop_grace_seconds=0.5,
        progress_url=lambda _: "http://127.0.0.1:9/",
    )
    images = AppImageCatalog(directory / "images")
    hub = Hub(store)
    scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=images, clock=clock)
    await hub.open()
    await scheduler.open()
    scheduling = asyncio.create_task(scheduler.run())
    # Creating an identical job again is success: a client repeats what was not acknowledged.
    await JobService(store=store, hub=hub, images=images, clock=clock).create(job(), MASTER)

    async def is_over() -> bool:
        return not (await store.get(JOB_ID)).status.is_unfinished

    await eventually_true(is_over)
    scheduling.cancel()
    await asyncio.wait([scheduling])
    await hub.close()
    await runtime.close()
    await store.close()
    return store.commits


if __name__ == "__main__":
    print(asyncio.run(run(Path(sys.argv[1]), when=sys.argv[2], at=int(sys.argv[3]))))  # noqa: T201
