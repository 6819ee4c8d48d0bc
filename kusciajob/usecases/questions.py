"""What one can ask about jobs: lists, everything of one, its history, and the calls that were made.

A domain is told of its own jobs only, and of other domains' parties no details.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import JobPage, JobStore
from kusciajob.model import failures
from kusciajob.model.damage import JobDamaged
from kusciajob.model.history import Attempt, AuditEntry, HistoryEntry
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobSummary
from kusciajob.model.text import shown
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.revisions import reached


class JobAccount(Struct, frozen=True):
    """All of one job. `attempts`: those that are over and kept, in the order of their ends."""

    job: Job
    attempts: Sequence[Attempt]


class Questions:
    """Answers a caller's questions. Errors are the model's."""

    def __init__(self, *, store: JobStore, jobs: JobService) -> None:
        self._store = store
        self._jobs = jobs

    async def reach(self, revision: int) -> None:
        """See revisions.reached."""
        await reached(self._store, revision)

    async def list(
        self, chosen: JobFilter, caller: Caller, *, limit: int, after: int = 0, newest_first: bool = True
    ) -> JobPage:
        """A page of the caller's jobs that pass; see JobStore.select."""
        own = replace(chosen, visible_to=caller.domain) if caller.domain else chosen
        page = await self._store.select(own, limit=limit, after=after, newest_first=newest_first)
        return replace(page, jobs=tuple([_seen(job, caller) for job in page.jobs]))

    async def summary(self, job_id: str, caller: Caller) -> JobSummary:
        """A job as lists tell it, also a damaged one. Raises what `JobService.summaries` raises."""
        try:
            (job,) = await self._jobs.summaries([job_id], caller)
        except JobDamaged as error:
            (job,) = error.jobs
        return _seen(job, caller)

    async def job(self, job_id: str, caller: Caller) -> JobAccount:
        """Everything of a job. Raises what `JobService.query` raises."""
        job = await self._jobs.query(job_id, caller)
        attempts = await self._store.attempts(job.number)
        return JobAccount(
            replace(job, status=failures.seen_by(job.status, caller.domain)),
            [_seen_attempt(attempt, caller) for attempt in attempts],
        )

    async def history(
        self, job: JobSummary, caller: Caller, *, limit: int, after: int = 0
    ) -> Sequence[tuple[int, HistoryEntry]]:
        """What happened to a job that the caller may see: entries with their positions, above `after`, oldest first."""
        caller.require(job)
        entries = await self._store.history(job.number, after=after, limit=limit)
        return [(position, _seen_entry(entry, caller)) for position, entry in entries]

    async def audit(
        self,
        caller: Caller,
        *,
        limit: int,
        before: int = 0,
        of_caller: str = "",
        job_id: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> Sequence[AuditEntry]:
        """The calls of the caller, for the master those of all; newest first. Raises NotAllowed."""
        if caller.domain and of_caller not in ("", caller.domain):
            caller.refuse(f"read the calls of {shown(of_caller)}: only its own")
        return await self._store.audit(
            limit=limit, before=before, caller=caller.domain or of_caller, subject=job_id, since=since, until=until
        )


def _seen(job: JobSummary, caller: Caller) -> JobSummary:
    """The job without what the caller may not read of it."""
    if not caller.domain or not job.status.has_details:
        return job
    return replace(job, status=failures.seen_by(job.status, caller.domain))


def _seen_attempt(attempt: Attempt, caller: Caller) -> Attempt:
    seen = failures.parties_seen_by(attempt.parties, caller.domain)
    parties, message = failures.told_parties(seen, attempt.message)
    return replace(attempt, parties=parties, message=message)


def _seen_entry(entry: HistoryEntry, caller: Caller) -> HistoryEntry:
    """Details of a party are for its domain; where a call came from is for who made it."""
    if not caller.domain:
        return entry
    detail = entry.detail if entry.domain_id == caller.domain else ""
    peer = entry.peer if entry.caller == caller.domain else ""
    return replace(entry, detail=detail, peer=peer)
