"""Jobs in PostgreSQL. What gathers while a commit is under way is committed next, by one statement."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

import asyncpg
from msgspec.structs import replace

from kusciajob.contracts import Census, JobPage, StoreHealth
from kusciajob.model.errors import StoreFailed
from kusciajob.model.history import MAX_HISTORY_ENTRIES, NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobEvent, JobSummary
from kusciajob.store.damage import DamageLog
from kusciajob.store.postgres import changes, reads, schema, selection, upkeep
from kusciajob.store.postgres.changes import Change, Kind, Outcome
from kusciajob.store.postgres.connections import FAILURES, Writer, close, failed, listen, open_pool

POLL_SECONDS = 1.0
"""How late a change by another server can be noticed when no notification comes."""
CHANGES_AT_ONCE = 256
BYTES_AT_ONCE = 16 << 20
"""One commit has no more changes, and no more bytes, but of a single change."""
FORGOTTEN_AT_ONCE = 1000
"""So many events or audit entries are forgotten in one transaction, that other changes do not wait long."""

P = ParamSpec("P")
T = TypeVar("T")

CommitReport = Callable[[float, int], None]
"""Where the store tells what each commit took, in seconds, for so many changes."""


class _Call(NamedTuple):
    """A change, and the one who waits for it; when that one is cancelled, the change is committed all the same."""

    change: Change
    outcome: "asyncio.Future[Outcome]"


class PostgresStore:
    """A JobStore in a database. Used on one event loop; other servers may change the same jobs meanwhile.

    Nothing is kept in memory but the newest revision known: every read asks the database.
    """

    def __init__(self, url: str, pool: asyncpg.Pool, store_id: str, head: int, on_commit: CommitReport) -> None:
        self.id = store_id
        self.phases_told_after = 0
        self.failing = asyncio.Event()
        self._pool = pool
        self._on_commit = on_commit
        self._channel = f"kusciajob_{store_id}"
        self._damage = DamageLog()
        self._head = head
        """The newest revision known: the database may be ahead of it, never behind."""
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        """Set to ask for the head at once."""
        self._closing = False
        self._gathered: list[_Call] = []
        self._committing = 0
        self._work = asyncio.Event()
        self._writer = Writer(url)
        self._tasks = [
            asyncio.create_task(self._write(), name="store writer"),
            asyncio.create_task(listen(url, self._channel, self._note_head, self._asked.set), name="store listener"),
            asyncio.create_task(self._poll(), name="store poll"),
        ]

    @classmethod
    async def open(cls, url: str, *, on_commit: CommitReport = lambda _seconds, _changes: None) -> Self:
        """Connect to the database, and bring it to the newest schema. StoreFailed."""
        pool = await open_pool(url)
        try:
            async with pool.acquire() as connection:
                await schema.migrate(connection, schema.migrations())
                store_id, head = await connection.fetchrow("SELECT id, revision FROM store")
        except FAILURES as error:
            pool.terminate()
            raise failed("cannot open the job store in PostgreSQL", error) from error
        except BaseException:
            pool.terminate()
            raise
        return cls(url, pool, store_id, head, on_commit)

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(len(self._gathered), self._damage.rows)

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
        while not await self._read(upkeep.forget_audit, before, keep, FORGOTTEN_AT_ONCE):
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

    async def replace(self, job: Job, *, fault: str = "", notes: Notes = NO_NOTES) -> Job:
        outcome = await self._commit(changes.replacement(job, fault, notes))
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
        if after >= self._head and not self._closing:
            await self._news.wait()

    async def truncate_log(self, through: int) -> None:
        while not await self._read(upkeep.truncate_log, through, FORGOTTEN_AT_ONCE):
            pass

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._work.set()
        for task in self._tasks[1:]:  # the writer ends by itself
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._writer.close()
        await close(self._pool)
        self._wake_waiters()

    async def _read(
        self, query: Callable[Concatenate[asyncpg.Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._closing:
            raise StoreFailed("the job store is closed")
        try:
            async with self._pool.acquire() as connection:
                return await query(connection, *args, **kwargs)
        except FAILURES as error:
            raise failed("the job store cannot be read", error) from error

    async def _commit(self, change: Change) -> Outcome:
        """What became of it. Raises why it was refused."""
        if self._closing:
            raise StoreFailed("the job store is closed")
        call = _Call(change, asyncio.get_running_loop().create_future())
        self._gathered.append(call)
        self._work.set()
        outcome = await call.outcome
        if (error := changes.refusal(change, outcome)) is not None:
            raise error
        return outcome

    async def _write(self) -> None:
        """Commit what has gathered, again and again, until the store closes and all is committed."""
        while self._gathered or not self._closing:
            self._work.clear()
            if not self._gathered:
                await self._work.wait()
                await asyncio.sleep(0)  # those who call in the same turn share the commit
                continue
            group = self._next_group()
            began = time.perf_counter()
            try:
                async with self._writer.connected() as connection:
                    arguments = changes.arguments([call.change for call in group], self._channel)
                    outcomes = [Outcome(*row) for row in await connection.fetch(changes.COMMIT, *arguments)]
            except Exception as error:  # whatever it is, the callers must hear of it
                self.failing.set()
                _settle(group, [failed("the job store cannot commit", error)] * len(group))
            else:
                self.failing.clear()
                self._on_commit(time.perf_counter() - began, len(group))
                self._note_head(max(outcome.revision or 0 for outcome in outcomes))
                _settle(group, outcomes)
                await asyncio.sleep(0)  # those just answered are likely to call again at once

    def _next_group(self) -> list[_Call]:
        """Take what is committed together. Who is about a job of an earlier call waits for the next group."""
        group: list[_Call] = []
        waiting: list[_Call] = []
        about: set[str] = set()
        size = 0
        for place, call in enumerate(self._gathered):
            if len(group) == CHANGES_AT_ONCE or size > BYTES_AT_ONCE:
                waiting += self._gathered[place:]
                break
            if about.isdisjoint(call.change.about):
                group.append(call)
                size += call.change.bytes
            else:
                waiting.append(call)
            about |= call.change.about
        self._gathered = waiting
        return group

    async def _poll(self) -> None:
        """Ask for what no notification told. It goes on while the database is away."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            with contextlib.suppress(StoreFailed):
                self._note_head(await self.head())

    def _note_head(self, revision: int) -> None:
        if revision > self._head:
            self._head = revision
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        self._news.set()
        self._news.clear()


def _settle(group: Sequence[_Call], outcomes: Sequence[Any]) -> None:
    for call, outcome in zip(group, outcomes, strict=True):
        if call.outcome.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            call.outcome.set_exception(outcome)
        else:
            call.outcome.set_result(outcome)
