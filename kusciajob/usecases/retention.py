"""Puts an end to what is old: finished jobs, overdue ones, the beginning of the log, audit entries."""

import logging
from collections import deque

from kusciajob.clock import pause
from kusciajob.contracts import Clock, JobStore
from kusciajob.model import history, transitions
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, StaleJob, StoreFailed
from kusciajob.model.history import Notes
from kusciajob.model.status import JobSummary
from kusciajob.telemetry.story import LOG_ONLY, Story

logger = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
JOBS_PER_ROUND = 200
"""Looked at; a large store takes many rounds, so that other calls do not wait."""
SAMPLES = 64
"""So many revisions are kept with their times: events go up to a 64th of the age too late, never too early."""
DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0


class Retention:
    """Deletes jobs so many days after their end, as a client would, and truncates the log by count, age and size.

    It also deletes jobs whose own time to live is over, stops those beyond their deadline on which the scheduler does
    not work, and drops audit entries by age and count. 0 keeps for ever. The log holds no times: an event's age is
    counted from when this object first saw its revision, so a restart of the server makes what is in the log young
    again.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        clock: Clock,
        job_days: float,
        log_events: int,
        log_hours: float,
        log_bytes: int = 0,
        audit_days: float = 0.0,
        audit_entries: int = 0,
        story: Story = LOG_ONLY,
    ) -> None:
        self._store = store
        self._clock = clock
        self._job_seconds = job_days * DAY_SECONDS
        self._log_events = log_events
        self._log_seconds = log_hours * HOUR_SECONDS
        self._log_bytes = log_bytes
        self._audit_seconds = audit_days * DAY_SECONDS
        self._audit_entries = audit_entries
        self._story = story
        self._after = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._truncated = 0

    async def run(self) -> None:
        """Work in rounds until cancelled. A store that fails is tried again in the next round."""
        while True:
            try:
                await self.round()
            except StoreFailed as error:
                logger.warning("old jobs and events are kept for now: %s", error)
            await pause(ROUND_SECONDS, clock=self._clock)

    async def round(self) -> None:
        """Look at the log and the next JOBS_PER_ROUND jobs; after the last, from the oldest. Raises StoreFailed."""
        await self._stop_overdue()
        await self._delete_expired()
        if self._job_seconds:
            await self._delete_jobs()
        await self._truncate_log()
        await self._forget_audit()

    async def _stop_overdue(self) -> None:
        while page := await self._store.overdue(self._clock.now(), JOBS_PER_ROUND):
            stopped = [await self._stop(job) for job in page]
            if len(page) < JOBS_PER_ROUND or not any(stopped):
                return

    async def _stop(self, summary: JobSummary) -> bool:
        """Whether the job was stopped; not if it has changed meanwhile, or cannot be read."""
        now = self._clock.now()
        try:
            job = await self._store.get(summary.job_id)
            stopped = transitions.stop_overdue(job, now)
            if job.number != summary.number or stopped is job:
                return False
            ended = history.attempts(job.status, stopped.status, now=now)
            told = history.entries(job.status, stopped.status, ended, now=now)
            committed = await self._store.replace(stopped, notes=Notes(told, ended))
        except (JobNotFound, StaleJob, JobDamaged):
            return False
        self._story.changed(job.status, committed)
        return True

    async def _delete_expired(self) -> None:
        while page := await self._store.expired(self._clock.now(), JOBS_PER_ROUND):
            deleted = [await self._delete(job, "its time to live after its end is over (ttl)") for job in page]
            if len(page) < JOBS_PER_ROUND or not any(deleted):
                return

    async def _forget_audit(self) -> None:
        if self._audit_seconds or self._audit_entries:
            before = self._clock.now() - self._audit_seconds if self._audit_seconds else 0.0
            await self._store.forget_audit(before=before, keep=self._audit_entries)

    async def _delete_jobs(self) -> None:
        page = await self._store.page(self._after, JOBS_PER_ROUND)
        if not page and self._after:
            page = await self._store.page(0, JOBS_PER_ROUND)
        self._after = page[-1].number if page else 0
        ended_before = self._clock.now() - self._job_seconds
        for job in page:
            ended_at = job.status.phase.ended_at
            if ended_at is not None and ended_at < ended_before:
                await self._delete(job, "it ended more than job_retention_days ago")

    async def _delete(self, summary: JobSummary, reason: str) -> bool:
        """Whether the job was deleted; not if it has changed meanwhile, or cannot be read."""
        try:
            job = await self._store.get(summary.job_id)
            if job.revision != summary.revision:
                return False  # it was restarted meanwhile, or is another job of that id
            await self._store.delete(job)
        except (JobNotFound, StaleJob, JobDamaged):
            return False
        self._story.deleted(job, None, reason, now=self._clock.now())
        return True

    async def _truncate_log(self) -> None:
        head = await self._store.head()
        through = head - self._log_events if self._log_events else 0
        if self._log_seconds:
            through = max(through, self._aged(head))
        if self._log_bytes:
            through = max(through, await self._store.log_excess(self._log_bytes))
        if through > self._truncated:
            await self._store.truncate_log(through)
            self._truncated = through

    def _aged(self, head: int) -> int:
        """The last revision that was seen longer ago than events are kept."""
        now = self._clock.now()
        if not self._samples or now - self._samples[-1][0] >= self._log_seconds / SAMPLES:
            self._samples.append((now, head))
        aged = 0
        while self._samples and self._samples[0][0] <= now - self._log_seconds:
            aged = self._samples.popleft()[1]
        return aged
