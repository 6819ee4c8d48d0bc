"""Jobs in PostgreSQL. What gathers while a commit is under way is committed next, by one statement."""

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

import asyncpg
from msgspec.structs import replace

from kusciajob.contracts import Census, JobPage, PartyKey, StoreHealth
from kusciajob.model.errors import StoreFailed
from kusciajob.model.history import MAX_HISTORY_ENTRIES, NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobEvent, JobStatus, JobSummary
from kusciajob.store.damage import DamageLog
from kusciajob.store.postgres import changes, reads, schema, selection, upkeep
from kusciajob.store.postgres.changes import Change, Kind, Outcome
from kusciajob.store.postgres.committer import CommitReport, Committer
from kusciajob.store.postgres.connections import ACQUIRE_SECONDS, CUT_OFF, FAILURES, Database, close, failed, open_pool
from kusciajob.store.postgres.tail import Tail

FORGOTTEN_AT_ONCE = 1000
"""So many events or audit entries are forgotten in one transaction, that other changes do not wait long."""

P = ParamSpec("P")
T = TypeVar("T")


class PostgresStore:
    """A JobStore in a database. Used on one event loop; other servers may change the same jobs meanwhile.

    Nothing is kept in memory but the newest revision known: every read asks the database.
    """

    def __init__(
        self,
        database: Database,
        pool: asyncpg.Pool,
        *,
        store_id: str,
        progress_key: bytes,
        tail: Tail,
        on_commit: CommitReport,
    ) -> None:
        self.id = store_id
        self.database = database
        self.channel = f"kusciajob_{store_id}"
        self.progress_key = progress_key
        """The secret from which all servers make those of their programs (see security/progress.py)."""
        self.tail = tail
        self.phases_told_after = 0
        self._pool = pool
        self._damage = DamageLog()
        self._committer = Committer(database, self.channel, tail, on_commit)
        self._fence = 0
        self._is_closed = asyncio.Event()
        self._writing = asyncio.create_task(self._committer.run(), name="store writer")
        self._tailing = [
            asyncio.create_task(tail.follow(database, self.channel), name="store listener"),
            asyncio.create_task(tail.poll(pool, on_away=self.failing.set), name="store poll"),
        ]

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        password_file: Path | None = None,
        on_commit: CommitReport = lambda _seconds, _changes: None,
        may_migrate: bool = True,
    ) -> Self:
        """Connect to the database, and bring it to the newest schema where that is allowed. StoreFailed."""
        database = Database(url, password_file)
        pool = await open_pool(database)
        try:
            async with pool.acquire() as connection:
                await schema.prepare(connection, may_migrate=may_migrate)
                found = await connection.fetchrow("SELECT id, revision, images, progress_key FROM store")
        except FAILURES as error:
            pool.terminate()
            raise failed("cannot open the job store in PostgreSQL", error) from error
        except BaseException:
            pool.terminate()
            raise
        return cls(
            database,
            pool,
            store_id=found["id"],
            progress_key=found["progress_key"],
            tail=Tail(found["revision"], found["images"]),
            on_commit=on_commit,
        )

    def under(self, fence: int) -> Self:
        """The same store, for whoever has the lease with that fence: its changes raise LeaseLost once it is lost."""
        leased = copy.copy(self)
        leased._fence = fence
        return leased

    async def images_version(self) -> int:
        """Counts the changes of AppImages. StoreFailed."""
        return await self._read(reads.images_version)

    async def pass_progress(self, key: PartyKey, progress: float) -> None:
        """Tell the server that schedules what a program reported to this one. StoreFailed."""
        told = f"progress {key.job} {key.task} {key.attempt} {key.party} {progress!r}"
        await self._read(reads.notify, self.channel, told)

    @property
    def failing(self) -> asyncio.Event:
        return self._committer.failing

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(self._committer.queue_length, self._damage.rows)

    async def probe(self) -> None:
        await self._commit(Change(kind=Kind.NOTE))

    async def census(self) -> Census:
        return await self._read(reads.take_census)

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        outcome = await self._commit(changes.creation(job, notes))
        return replace(job, number=outcome.revision, revision=outcome.revision)

    async def get(self, job_id: str) -> Job:
        return await self._read(reads.get, job_id, self._damage.note)

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        return await self._read(reads.summaries, job_ids, self._damage.note)

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        return await self._read(reads.page, after, limit, self._damage.note)

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        return await self._read(
            selection.select, chosen, limit, after, newest_first=newest_first, note=self._damage.note
        )

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        return await self._read(reads.history, number, after, limit, self._damage.note)

    async def attempts(self, number: int) -> Sequence[Attempt]:
        return await self._read(reads.attempts, number, self._damage.note)

    async def note(self, entry: AuditEntry) -> None:
        await self._commit(changes.note(entry))

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
        return await self._read(
            reads.audit,
            limit=limit,
            before=before,
            caller=caller,
            subject=subject,
            since=since,
            until=until,
            note=self._damage.note,
        )

    async def forget_audit(self, *, before: float, keep: int) -> None:
        while not await self._read(upkeep.forget_audit, before, keep, FORGOTTEN_AT_ONCE, self._fence):
            pass

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        return await self._read(reads.due, "expires", now, limit, self._damage.note)

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        return await self._read(reads.due, "deadline", now, limit, self._damage.note)

    async def app_images(self) -> Mapping[str, bytes]:
        return await self._read(reads.app_images)

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        await self._commit(changes.image(name, definition, notes))

    async def unfinished(self) -> list[Job]:
        return await self._read(reads.unfinished, self._damage.note)

    async def missing(self, numbers: Collection[int]) -> set[int]:
        return await self._read(reads.missing, numbers)

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        outcome = await self._commit(changes.replacement(job, passed, fault, notes))
        if (outcome.history_length or 0) > MAX_HISTORY_ENTRIES:
            with contextlib.suppress(StoreFailed):  # the change is made; the next one will shorten it
                await self._read(upkeep.shorten_history, job.number)
        return replace(job, revision=outcome.revision)

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        outcome = await self._commit(changes.deletion(job, notes))
        return outcome.revision or 0

    async def size(self) -> int:
        return await self._read(reads.size)

    async def initiated_by(self, domain: str) -> int:
        return await self._read(reads.initiated_by, domain)

    async def job_of_task(self, task_id: str) -> str:
        return await self._read(reads.job_of_task, task_id)

    async def head(self) -> int:
        # Not what this server knows: another one may have told its clients of more.
        return await self._read(reads.head)

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        return await self._read(reads.read_log, after, limit, self._damage.note)

    async def log_excess(self, max_bytes: int) -> int:
        return await self._read(reads.log_excess, max_bytes)

    async def wait_log(self, after: int) -> None:
        if not self._is_closed.is_set():
            await self.tail.wait(after)

    async def truncate_log(self, through: int) -> None:
        while not await self._read(upkeep.truncate_log, through, FORGOTTEN_AT_ONCE, self._fence):
            pass

    async def close(self) -> None:
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        self._committer.close()
        for task in self._tailing:
            task.cancel()
        await asyncio.wait([self._writing, *self._tailing])
        await close(self._pool)
        self.tail.wake()

    async def _read(
        self, query: Callable[Concatenate[asyncpg.Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._is_closed.is_set():
            raise StoreFailed("the job store is closed")
        try:
            # What a connection that was cut did not answer, another one may: a restarted database is no failure.
            with contextlib.suppress(*CUT_OFF):
                return await self._ask(query, *args, **kwargs)
            return await self._ask(query, *args, **kwargs)
        except FAILURES as error:
            raise failed("the job store cannot be read", error) from error

    async def _ask(
        self, query: Callable[Concatenate[asyncpg.Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            return await query(connection, *args, **kwargs)

    async def _commit(self, change: Change) -> Outcome:
        """What became of it. Raises why it was refused."""
        return await self._committer.commit(replace(change, fence=self._fence) if self._fence else change)
