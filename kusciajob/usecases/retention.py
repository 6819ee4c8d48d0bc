"""Deletes what is old: finished jobs, and the beginning of the log."""

import logging
from collections import deque

from kusciajob.contracts import Clock, JobStore
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, StaleJob, StoreFailed
from kusciajob.model.status import JobSummary
from kusciajob.scheduler.supervisor import pause
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

    0 keeps for ever. The log holds no times: an event's age is counted from when this object first saw its revision,
    so a restart of the server makes what is in the log young again.
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
        story: Story = LOG_ONLY,
    ) -> None:
        self._store = store
        self._clock = clock
        self._job_seconds = job_days * DAY_SECONDS
        self._log_events = log_events
        self._log_seconds = log_hours * HOUR_SECONDS
        self._log_bytes = log_bytes
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
        if self._job_seconds:
            await self._delete_jobs()
        await self._truncate_log()

    async def _delete_jobs(self) -> None:
        page = await self._store.page(self._after, JOBS_PER_ROUND)
        if not page and self._after:
            page = await self._store.page(0, JOBS_PER_ROUND)
        self._after = page[-1].number if page else 0
        ended_before = self._clock.now() - self._job_seconds
        for job in page:
            ended_at = job.status.phase.ended_at
            if ended_at is not None and ended_at < ended_before:
                await self._delete(job)

    async def _delete(self, summary: JobSummary) -> None:
        try:
            job = await self._store.get(summary.job_id)
            if job.revision != summary.revision:
                return  # it was restarted meanwhile, or is another job of that id
            await self._store.delete(job)
        except (JobNotFound, StaleJob, JobDamaged):
            return
        self._story.deleted(job, None, "it ended more than job_retention_days ago", now=self._clock.now())

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
