"""When retention will find something to do, so that time need not stop for each of its rounds."""

from collections.abc import AsyncIterator

from kusciajob.contracts import JobStore
from kusciajob.core import Core
from kusciajob.model.status import JobSummary
from kusciajob.store import kept
from kusciajob.usecases.retention import DAY_SECONDS, ROUND_SECONDS

PAGE = 500
LATE_SECONDS = 600.0
"""What has been due for longer is nothing that retention does."""


class Horizon:
    """Looks at the jobs, again only after they have changed."""

    def __init__(self) -> None:
        self._core: Core | None = None
        self._head = -1
        self._due: list[float] = []

    async def next_upkeep(self, core: Core, store: JobStore, now: float) -> float | None:
        """The next time at which retention has to be given a chance; None for never."""
        head = await store.head()
        if core is not self._core or head != self._head:
            self._due = await self._look(store, core.settings.job_retention_days)
            self._core, self._head = core, head
        if any(now - LATE_SECONDS < due <= now for due in self._due):
            return now + ROUND_SECONDS
        return min((due for due in self._due if due > now), default=None)

    async def _look(self, store: JobStore, days: float) -> list[float]:
        due: list[float] = []
        async for job in _jobs(store):
            due += [at for at in await _ends_of(store, job) if at is not None]
            if days and job.status.phase.ended_at is not None:
                due.append(job.status.phase.ended_at + days * DAY_SECONDS)
        return due


async def latest(store: JobStore) -> float:
    """The latest time that the jobs show; 0 without jobs."""
    now = 0.0
    async for job in _jobs(store):
        now = max(now, job.status.began_at, job.status.phase.ended_at or 0.0)
        now = max([now, *(task.since or 0.0 for task in job.status.tasks)])
    return now


async def _jobs(store: JobStore) -> AsyncIterator[JobSummary]:
    after = 0
    while page := await store.page(after, PAGE):
        after = page[-1].number
        for job in page:
            yield job


async def _ends_of(store: JobStore, summary: JobSummary) -> tuple[float | None, ...]:
    spec, status = (await store.get(summary.job_id)).spec, summary.status
    return (
        kept.expiry(status.phase, spec.ttl_seconds),
        kept.deadline(status.phase, status.began_at, spec.deadline_seconds),
    )
