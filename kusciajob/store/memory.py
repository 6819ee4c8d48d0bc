"""A store in memory, for tests and trials. It is gone with the process."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from kusciajob.contracts import Census, StoreHealth
from kusciajob.model import weight
from kusciajob.model.errors import JobNotFound, StoreFailed, TaskNotFound
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus, JobSummary
from kusciajob.store import common


class MemoryStore:
    """A JobStore in memory. Only `census` yields to the event loop."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.failing = asyncio.Event()
        """Never set."""
        self.health = StoreHealth()
        self._jobs: dict[str, Job] = {}
        """By job id, oldest first."""
        self._task_holders: dict[str, str] = {}
        self._log: list[JobEvent] = []
        self._news = asyncio.Event()
        self._closed = False

    async def probe(self) -> None:
        self._check_open()

    async def census(self) -> Census:
        self._check_open()
        return await asyncio.to_thread(_count, [job.status for job in self._jobs.values()])

    async def create(self, job: Job) -> Job:
        self._check_open()
        if job.job_id in self._jobs:
            raise common.job_exists(job.job_id)
        holders: dict[str, str] = {}
        for task in job.status.tasks:
            holder = self._task_holders.get(task.task_id) or holders.get(task.task_id)
            if holder:
                raise common.task_exists(task.task_id, holder)
            holders[task.task_id] = job.job_id
        number = self._head + 1
        created = replace(job, number=number, revision=number)
        self._jobs[job.job_id] = common.apart(created)
        self._task_holders |= holders
        self._append(EventType.ADDED, created, job.status)
        return created

    async def get(self, job_id: str) -> Job:
        self._check_open()
        if job_id not in self._jobs:
            raise JobNotFound(job_id)
        return common.apart(self._jobs[job_id])

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        self._check_open()
        missing = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in self._jobs]
        if missing:
            raise JobNotFound(*missing)
        return [self._jobs[job_id].summary for job_id in job_ids]

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        self._check_open()
        return [job.summary for job in self._jobs.values() if job.number > after][:limit]

    async def unfinished(self) -> list[Job]:
        self._check_open()
        return [common.apart(job) for job in self._jobs.values() if job.status.is_unfinished]

    async def missing(self, numbers: Collection[int]) -> set[int]:
        self._check_open()
        return set(numbers).difference(job.number for job in self._jobs.values())

    async def replace(self, job: Job, *, fault: str = "") -> Job:
        stored = self._stored(job)
        self._append(EventType.MODIFIED, job, job.status)
        if fault:
            self._append(EventType.ERROR, job, common.with_fault(job.status, fault))
        self._jobs[job.job_id] = replace(stored, status=job.status, revision=self._head)
        return replace(job, revision=self._head)

    async def delete(self, job: Job | JobSummary) -> int:
        self._stored(job)
        del self._jobs[job.job_id]
        for task in job.status.tasks:
            del self._task_holders[task.task_id]
        self._append(EventType.DELETED, job, job.status)
        return self._head

    async def size(self) -> int:
        self._check_open()
        return len(self._jobs)

    async def initiated_by(self, domain: str) -> int:
        self._check_open()
        return sum(job.spec.initiator == domain for job in self._jobs.values())

    async def job_of_task(self, task_id: str) -> str:
        self._check_open()
        if task_id not in self._task_holders:
            raise TaskNotFound(task_id)
        return self._task_holders[task_id]

    async def head(self) -> int:
        return self._head

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        self._check_open()
        if after >= self._head:
            return ()
        start = after + 1 - self._log[0].revision
        if start < 0:
            raise common.log_truncated(after, self._log[0].revision)
        return self._log[start : start + limit]

    async def log_excess(self, max_bytes: int) -> int:
        kept = 0
        for event in reversed(self._log):
            kept += weight.status_bytes(event.job.status)
            if kept > max_bytes:
                return event.revision
        return 0

    async def wait_log(self, after: int) -> None:
        if after >= self._head and not self._closed:
            await self._news.wait()

    async def truncate_log(self, through: int) -> None:
        self._check_open()
        self._log = [event for event in self._log if event.revision > min(through, self._head - 1)]

    async def close(self) -> None:
        self._closed = True
        self._wake_waiters()

    @property
    def _head(self) -> int:
        return self._log[-1].revision if self._log else 0

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the job store is closed")

    def _stored(self, job: Job | JobSummary) -> Job:
        """The stored job. Raises StaleJob if the caller's is older, and JobNotFound."""
        self._check_open()
        stored = self._jobs.get(job.job_id)
        if stored is None or stored.number != job.number:
            raise JobNotFound(job.job_id)
        if stored.revision != job.revision:
            raise common.stale_job(job, stored.revision)
        return stored

    def _append(self, kind: EventType, job: Job | JobSummary, status: JobStatus) -> None:
        self._log.append(common.entry(kind, job, revision=self._head + 1, status=status))
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        self._news.set()
        self._news.clear()


def _count(statuses: Sequence[JobStatus]) -> Census:
    unfinished = [status for status in statuses if status.is_unfinished]
    parties = (party for status in unfinished for task in status.tasks for party in task.parties)
    jobs = Counter(str(status.state) for status in statuses)
    return common.census(jobs, Counter(str(party.state) for party in parties))
