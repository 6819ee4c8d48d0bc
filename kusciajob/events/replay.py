"""Replays the jobs that exist when a stream begins, and tells which events that makes superfluous."""

from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator

from kusciajob.events.source import Source
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobEvent, JobSummary


class Replay:
    """The jobs that existed at revision `start`, page by page, each as it is when its page is read.

    Replayed jobs, followed by the log after `start` without the events that the replay `covers`, give the present jobs.
    Later jobs come from the log alone, so a replay ends however many are created meanwhile. It remembers a pair of
    numbers per page, or fewer while nothing changes, plus the events committed while a page was read.
    """

    def __init__(self, source: Source, *, start: int, limit: int) -> None:
        self.is_complete = False
        self._source = source
        self._start = start
        self._limit = limit
        # Every event up to seen_at[i] on a job above last_numbers[i - 1] and up to last_numbers[i] is covered.
        self._last_numbers = array("q")
        self._seen_at = array("q")
        self._covered: set[int] = set()
        self._covered_through = start

    async def next_page(self) -> list[JobSummary]:
        """More jobs, oldest first; none once the replay is complete. Cancelling loses nothing. Raises LogTruncated."""
        first_number = self._last_numbers[-1] + 1 if self._last_numbers else 1
        before = await self._source.head()
        page = await self._source.page(first_number - 1, self._limit)
        after = await self._source.head()
        jobs = [job for job in page if job.number <= self._start]
        is_last = len(jobs) < len(page) or not page
        last_number = self._start if is_last else jobs[-1].number
        # The page shows the jobs at some moment between the two heads.
        revisions = {job.number: job.revision for job in jobs}
        covered = {
            event.revision
            async for event in self._log(before, through=after)
            if first_number <= event.job.number <= last_number
            # A job of these numbers that is not on the page has been deleted since `before`.
            and event.revision <= revisions.get(event.job.number, event.revision)
        }
        self._remember(last_number, seen_at=before)
        self._covered |= covered
        self._covered_through = after
        self.is_complete = is_last
        return jobs

    def covers(self, event: JobEvent) -> bool:
        """Whether the replay makes the event superfluous: the job was replayed after it, or was deleted first.

        Only for a complete replay.
        """
        if event.job.number > self._start:
            return False
        page = bisect_left(self._last_numbers, event.job.number)
        return event.revision <= self._seen_at[page] or event.revision in self._covered

    def covers_nothing_after(self, revision: int) -> bool:
        """Whether a complete replay covers no event after that revision."""
        return revision >= self._covered_through

    def _remember(self, last_number: int, *, seen_at: int) -> None:
        if self._seen_at and self._seen_at[-1] == seen_at:
            self._last_numbers[-1] = last_number
        else:
            self._last_numbers.append(last_number)
            self._seen_at.append(seen_at)

    async def _log(self, after: int, *, through: int) -> AsyncIterator[JobEvent]:
        while after < through:
            # The log may be read a moment after the head.
            await self._source.wait_log(after)
            for event in await self._source.read_log(after, min(self._limit, through - after)):
                yield event
                after = event.revision


class FilteredReplay(Replay):
    """The jobs that exist and pass a filter. The store tells of which moment each page is: no log has to be read."""

    def __init__(self, source: Source, *, chosen: JobFilter, start: int, limit: int) -> None:
        super().__init__(source, start=start, limit=limit)
        self._chosen = chosen

    async def next_page(self) -> list[JobSummary]:
        """More jobs, oldest first; maybe none before the replay is complete. Cancelling loses nothing."""
        last_number = self._last_numbers[-1] if self._last_numbers else 0
        page = await self._source.select(self._chosen, after=last_number, limit=self._limit)
        is_last = page.is_last or page.through >= self._start
        self._remember(self._start if is_last else page.through, seen_at=page.revision)
        self._covered_through = max(self._covered_through, page.revision)
        self.is_complete = is_last
        return [job for job in page.jobs if job.number <= self._start]
