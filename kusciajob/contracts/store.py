"""Where jobs and their log are kept, and who may schedule them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from kusciajob.model.history import NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobEvent, JobStatus, JobSummary


class StoreHealth(Struct, frozen=True):
    """The state of a store, known without reading its medium.

    `queue_length`: changes that wait for a commit. `damaged_rows`: those met since the store was opened. `losses`: how
    often, in its whole life, acknowledged changes were missing when it was opened.
    """

    queue_length: int = 0
    damaged_rows: int = 0
    losses: int = 0


class Census(Struct, frozen=True):
    """How many jobs have each state, and how many parties of unfinished jobs. Every state is a key.

    If there are jobs that cannot be read, they are counted under a state of their own.
    """

    jobs: Mapping[str, int]
    parties: Mapping[str, int]


class JobPage(Struct, frozen=True):
    """Part of a list of jobs. `through` is the number up to which the list has been looked through, in its direction.

    `is_last`: nothing follows. The page shows its jobs, and that no others are among them, at one moment: that of
    `revision`.
    """

    jobs: tuple[JobSummary, ...]
    through: int
    revision: int
    is_last: bool


class JobStore(Protocol):
    """Jobs and the gap-free log of their changes, always committed together: committing is publishing.

    Every method raises StoreFailed when the medium fails; nothing of the change is kept then. A damaged record
    is reported in the server's log and to its reader; all others stay usable.
    """

    @property
    def id(self) -> str:
        """A random id, made with the store, that no other store has; a copy of the store keeps it."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while the last commit failed."""

    @property
    def health(self) -> StoreHealth:
        """The state of the store, for metrics. It raises nothing and costs nothing."""

    @property
    def phases_told_after(self) -> int:
        """Events above this revision tell the phase before the change.

        Earlier ones were written by an earlier version, and a filtered watch cannot resume among them.
        """

    async def probe(self) -> None:
        """Commit without a change. Returns once a commit is possible."""

    async def census(self) -> Census:
        """Count jobs and parties, all at one moment. It reads every job, off the event loop."""

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        """Store a new job and return it with its number and revision. Raises JobExists, TaskExists."""

    async def get(self, job_id: str) -> Job:
        """The whole job. Raises JobNotFound, JobDamaged."""

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        """The jobs in that order, from one read. Raises JobNotFound, which names all missing ones, and JobDamaged."""

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        """Up to `limit` jobs with a number above `after`, oldest first; fewer if they are big, but at least one.

        A damaged job has a status that says so.
        """

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        """Up to `limit` jobs that pass, with a number above `after` (newest first: below it; 0 is the newest).

        The work for a page is bounded, whatever the filter and however many jobs there are: a page can be short, or
        empty, and yet not the last. A damaged job passes a filter that wants nothing of its status.
        """

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        """What happened to the job of that number, oldest first: each entry with its position, all above `after`."""

    async def attempts(self, number: int) -> Sequence[Attempt]:
        """The attempts of the job's tasks that are over and kept, in the order of their ends."""

    async def note(self, entry: AuditEntry) -> None:
        """Commit what a call that changes no job wants to be known of."""

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
        """Entries with an id below `before` (0: from the newest on), newest first; of times from `since` to `until`."""

    async def forget_audit(self, *, before: float, keep: int) -> None:
        """Drop audit entries of earlier times, and the oldest beyond so many; 0 means no limit of that kind."""

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        """Jobs whose time to live is over."""

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        """Jobs beyond their deadline that are not ended, and on which the scheduler does not work."""

    async def app_images(self) -> Mapping[str, bytes]:
        """The stored AppImages by name, each as it was given to `put_app_image`."""

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        """Store an AppImage, in place of an earlier one; None removes it."""

    async def unfinished(self) -> list[Job]:
        """All jobs that are not finished, oldest first; a damaged one is left out."""

    async def missing(self, numbers: Collection[int]) -> set[int]:
        """The numbers that no stored job has. The number of a job that was lost, not deleted, is not returned."""

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        """Commit a change and return the job with its new revision. A `fault` adds an ERROR event after it.

        `passed` are the statuses on the way to it, oldest first: each is told by a MODIFIED of its own, all of which
        are committed together.
        Raises StaleJob if the stored revision is not `job.revision`, and JobNotFound.
        """

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        """Remove the job and return the revision of its DELETED event. Raises JobNotFound, StaleJob.

        Its history and attempts go with it; the notes' audit entry stays.
        """

    async def size(self) -> int:
        """How many jobs are stored."""

    async def initiated_by(self, domain: str) -> int:
        """How many stored jobs have that initiator. It does not read the jobs."""

    async def job_of_task(self, task_id: str) -> str:
        """The id of the job that has this task. Raises TaskNotFound."""

    async def head(self) -> int:
        """The newest revision, at least as new as what any earlier read showed; 0 if the log is empty."""

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        """Up to `limit` events with a revision above `after`, in order; fewer if they are big, but at least one.

        Raises LogTruncated.
        """

    async def log_excess(self, max_bytes: int) -> int:
        """The last revision to truncate so that the log takes no more bytes than that; 0 if there is none."""

    async def wait_log(self, after: int) -> None:
        """Return once a revision above `after` may exist. It is a hint: it can come early, never late."""

    async def truncate_log(self, through: int) -> None:
        """Drop events up to and including that revision. The newest event is always kept."""

    async def close(self) -> None:
        """Commit what was accepted, then close the medium."""


class LeaseLost(Exception):
    """Another server has taken over: nothing that is decided under the lease can be done any more."""


class Lease(Protocol):
    """The right to schedule. One server at a time has it."""

    @property
    def store(self) -> JobStore:
        """The store. Its changes raise LeaseLost, and are not kept, once another server has taken over."""

    async def held(self) -> None:
        """Return once no other server can have taken over yet: at once, unless the lease could not be renewed."""

    async def keep(self) -> None:
        """Renew the lease, for ever. Raises LeaseLost."""

    async def release(self) -> None:
        """Let another server take over at once. It raises nothing."""


class Leases(Protocol):
    """Where leases come from."""

    async def take(self) -> Lease | None:
        """The lease, if nobody has it. Raises StoreFailed."""

    async def wait(self) -> None:
        """Return when it is time to try again."""

    async def close(self) -> None:
        """Leave nothing open; leases that were taken go on."""
