"""A store in memory, for tests and trials. It is gone with the process."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from msgspec.json import encode
from msgspec.structs import replace

from kusciajob.contracts import Census, JobPage, StoreHealth
from kusciajob.model import weight
from kusciajob.model.errors import JobNotFound, StoreFailed, TaskNotFound
from kusciajob.model.history import MAX_ATTEMPTS_KEPT, NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, Job, JobEvent, JobPhase, JobStatus, JobSummary
from kusciajob.store import common, kept

LOOKED_AT = 10_000
"""So many jobs are looked at for one page of a list."""


class MemoryStore:
    """A JobStore in memory. Only `census` yields to the event loop."""

    def __init__(self, *, after: int = 0) -> None:
        """Its first revision follows `after`."""
        self._start = after
        self.id = uuid.uuid4().hex
        self.health = StoreHealth()
        self.phases_told_after = 0
        self._jobs: dict[str, Job] = {}
        """By job id, oldest first."""
        self._task_holders: dict[str, str] = {}
        self._log: list[JobEvent] = []
        self._history: dict[int, list[tuple[int, HistoryEntry]]] = {}
        """By the number of the job, each entry with its position."""
        self._attempts: dict[int, list[Attempt]] = {}
        self._positions = 0
        self._audit: list[AuditEntry] = []
        self._app_images: dict[str, bytes] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        """Each of the event loop that waits: a later server, which goes on with the jobs, has another."""
        self._closed = False

    @property
    def failing(self) -> asyncio.Event:
        """Never set."""
        return asyncio.Event()

    async def probe(self) -> None:
        self._check_open()

    async def census(self) -> Census:
        self._check_open()
        return await asyncio.to_thread(_count, [job.status for job in self._jobs.values()])

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
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
        self._keep(created, notes)
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

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        self._check_open()
        ordered = reversed(self._jobs.values()) if newest_first else self._jobs.values()
        rest = (job for job in ordered if (not after or job.number < after if newest_first else job.number > after))
        looked_at = list(islice(rest, LOOKED_AT + 1))
        found: list[JobSummary] = []
        done = 0
        while done < min(len(looked_at), LOOKED_AT) and len(found) < limit:
            if chosen.matches(job := looked_at[done].summary):
                found.append(job)
            done += 1
        through = looked_at[done - 1].number if done else after
        return JobPage(tuple(found), through, self._head, is_last=done == len(looked_at))

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        self._check_open()
        return [entry for entry in self._history.get(number, ()) if entry[0] > after][:limit]

    async def attempts(self, number: int) -> Sequence[Attempt]:
        self._check_open()
        return list(self._attempts.get(number, ()))

    async def note(self, entry: AuditEntry) -> None:
        self._check_open()
        self._audit.append(replace(entry, id=self._audit[-1].id + 1 if self._audit else 1))

    async def audit(
        self,
        *,
        limit: int,
        before: int = 0,
        caller: str = "",
        subject: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> Sequence[AuditEntry]:
        self._check_open()
        wanted = (
            entry
            for entry in reversed(self._audit)
            if kept.is_wanted(entry, before=before, caller=caller, subject=subject, since=since, until=until)
        )
        return list(islice(wanted, limit))

    async def forget_audit(self, *, before: float, keep: int) -> None:
        self._check_open()
        above = self._audit[-1].id - keep if self._audit and keep else 0
        self._audit = [entry for entry in self._audit if entry.id > above and not entry.at < before]

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        self._check_open()
        due = ((kept.expiry(job.status.phase, job.spec.ttl_seconds), job) for job in self._jobs.values())
        return [job.summary for at, job in due if at is not None and at <= now][:limit]

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        self._check_open()
        due = (
            (kept.deadline(job.status.phase, job.status.began_at, job.spec.deadline_seconds), job)
            for job in self._jobs.values()
        )
        return [job.summary for at, job in due if at is not None and at <= now][:limit]

    async def app_images(self) -> Mapping[str, bytes]:
        self._check_open()
        return dict(self._app_images)

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        self._check_open()
        if definition is None:
            self._app_images.pop(name, None)
        else:
            self._app_images[name] = definition
        if notes.audit is not None:
            await self.note(notes.audit)

    async def unfinished(self) -> list[Job]:
        self._check_open()
        return [common.apart(job) for job in self._jobs.values() if job.status.is_unfinished]

    async def missing(self, numbers: Collection[int]) -> set[int]:
        self._check_open()
        return set(numbers).difference(job.number for job in self._jobs.values())

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        stored = self._stored(job)
        before = stored.status.phase
        for status in (*passed, job.status):
            self._append(EventType.MODIFIED, job, status, None if before == status.phase else before)
            before = status.phase
        if fault:
            self._append(EventType.ERROR, job, common.with_fault(job.status, fault))
        self._jobs[job.job_id] = replace(stored, status=job.status, revision=self._head)
        self._keep(replaced := replace(job, revision=self._head), notes)
        return replaced

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        traits = self._stored(job).summary.traits
        del self._jobs[job.job_id]
        for task in job.status.tasks:
            del self._task_holders[task.task_id]
        gone = job.summary if isinstance(job, Job) else replace(job, traits=traits)
        self._append(EventType.DELETED, gone, job.status)
        self._history.pop(job.number, None)
        self._attempts.pop(job.number, None)
        if notes.audit is not None:
            await self.note(notes.audit)
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
        if after < self._start:
            raise common.log_truncated(after, self._start + 1)
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
            news = asyncio.get_running_loop().create_future()
            self._waiting.add(news)
            try:
                await news
            finally:
                self._waiting.discard(news)

    async def truncate_log(self, through: int) -> None:
        self._check_open()
        self._log = [event for event in self._log if event.revision > min(through, self._head - 1)]

    async def close(self) -> None:
        self._closed = True
        self._wake_waiters()

    @property
    def _head(self) -> int:
        return self._log[-1].revision if self._log else self._start

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
            raise common.stale_job(job.job_id, job.revision, stored.revision)
        return stored

    def _append(
        self, kind: EventType, job: Job | JobSummary, status: JobStatus, before: JobPhase | None = None
    ) -> None:
        told = job if isinstance(job, JobSummary) else common.apart(job).summary
        event = common.entry(kind, told, revision=self._head + 1, status=status, traits=told.traits, before=before)
        self._log.append(event)
        self._wake_waiters()

    def _keep(self, job: Job, notes: Notes) -> None:
        """What is to be known of a change, once it is made."""
        history = self._history.setdefault(job.number, [])
        for entry in notes.history:
            self._positions += 1
            history.append((self._positions, kept.stamped(entry, job.revision)))
        for index in reversed(kept.surplus([entry for _, entry in history])):
            del history[index]
        for attempt in notes.attempts:
            attempts = self._attempts.setdefault(job.number, [])
            attempts.append(attempt)
            of_task = [index for index, other in enumerate(attempts) if other.task == attempt.task]
            if len(of_task) > MAX_ATTEMPTS_KEPT:
                del attempts[of_task[0]]
            while len(attempts) > 1 and sum(len(encode(other)) for other in attempts) > kept.MAX_ATTEMPTS_BYTES:
                del attempts[0]
        if notes.audit is not None:
            self._audit.append(replace(notes.audit, id=self._audit[-1].id + 1 if self._audit else 1))

    def _wake_waiters(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)


def _count(statuses: Sequence[JobStatus]) -> Census:
    unfinished = [status for status in statuses if status.is_unfinished]
    parties = (party for status in unfinished for task in status.tasks for party in task.parties)
    jobs = Counter(str(status.state) for status in statuses)
    return common.census(jobs, Counter(str(party.state) for party in parties))
