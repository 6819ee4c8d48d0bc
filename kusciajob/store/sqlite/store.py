"""Jobs in one SQLite file. One thread writes: it commits whatever calls have gathered as one transaction."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar
from weakref import WeakValueDictionary

from cachetools import LRUCache

from kusciajob.contracts import Census, JobPage, StoreHealth
from kusciajob.model import weight
from kusciajob.model.errors import StoreDamaged, StoreFailed
from kusciajob.model.history import NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.job import JobSpec
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus, JobSummary
from kusciajob.store import common
from kusciajob.store.damage import DamageLog
from kusciajob.store.sqlite import census, changes, database, landmark, reads, selection
from kusciajob.store.sqlite import notes as notes_of
from kusciajob.store.tail import Tail

logger = logging.getLogger(__name__)

LINGER_SECONDS = 0.002
"""The longest wait for more calls to share a commit: a commit costs about as much as serving ten calls."""
TAIL_EVENTS = 500
"""So many of the newest events are kept in memory."""
TAIL_BYTES = 32 << 20
"""What they may take, roughly."""
TRUNCATED_AT_ONCE = 1000
"""So many events or audit entries are forgotten in one transaction, that other calls do not wait long."""
TOLD_SECONDS = 2.0
"""How often an operator is told how far a migration is."""

_GROWTH = {EventType.ADDED: 1, EventType.DELETED: -1}

P = ParamSpec("P")
T = TypeVar("T")


CommitReport = Callable[[float, int], None]
"""Where the store tells what each commit took, in seconds, for so many changes."""


class _Call(NamedTuple):
    """A change, and the one who waits for it; when that one is cancelled, the change is committed all the same."""

    change: Callable[[changes.Transaction], Any]
    result: asyncio.Future[Any]
    job_id: str
    """Of the job that is changed; empty where no job is."""


class SqliteStore:
    """A JobStore in a file. Used on one event loop; another process must not write to the file meanwhile.

    Reads are done on the event loop's thread: they take tens of microseconds per job; those of large specifications are
    not. A job in the cache is as it is in the file, because one that is being written is not in the cache.
    """

    def __init__(self, path: Path, reading: sqlite3.Connection, on_commit: CommitReport) -> None:
        self._path = path
        self._on_commit = on_commit
        self._reading = reading
        self._damage = DamageLog()
        self.id = reads.identity(reading)
        self._landmark = landmark.LandmarkKeeper(landmark.file_of(path), self.id)
        self._losses = reads.losses(reading)  # found before, and nowhere else
        self.phases_told_after = reads.phases_told_after(reading)
        self._loop = asyncio.get_running_loop()
        # What the event loop's thread knows of the log. The file may be a moment ahead of it, never behind.
        self._head = reads.head(reading)
        self._sizes = Counter(reads.sizes(reading))
        """Jobs by initiator, counted along: asking the file would look at every job."""
        self._size = self._sizes.total()
        self._landmark.note(self._head, self._size)
        self._tail = Tail(TAIL_EVENTS, TAIL_BYTES)
        self._cache: LRUCache[str, Job] = LRUCache(weight.KEPT_BYTES, weight.job_bytes)
        self._large: WeakValueDictionary[int, JobSpec] = WeakValueDictionary()
        self._reading_large = asyncio.Semaphore(1)
        self._news = asyncio.Event()
        self.failing = asyncio.Event()
        self._closing = False
        # Calls gather here while the writer is busy or lingers.
        self._gathered: list[_Call] = []
        self._expected = 1
        self._is_writing = False
        self._linger: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[list[_Call] | None] = SimpleQueue()
        self._writer = Thread(target=self._write, name="store-writer", daemon=True)
        self._writer.start()

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(len(self._gathered), self._damage.rows, self._losses)

    @classmethod
    async def open(cls, path: Path, *, on_commit: CommitReport = lambda _seconds, _changes: None) -> Self:
        """Open the file, creating it or bringing it to the newest schema. StoreFailed names the file and the cause."""
        try:
            connection = database.connect(path)
            try:
                database.migrate(connection, database.migrations(), _Migration(path).tell)
                _reconcile(path, connection)
                return cls(path, connection, on_commit)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, database.NewerSchema) as error:
            raise _failure(f"cannot open the job store {path}", error, path) from error

    async def probe(self) -> None:
        await self._change(changes.Transaction.touch)

    async def census(self) -> Census:
        if self._closing:
            raise StoreFailed("the job store is closed")
        return await asyncio.to_thread(self._read_apart, census.count)

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        return await self._change(lambda transaction: transaction.create(job, notes), job.job_id)

    async def get(self, job_id: str) -> Job:
        job = self._cache.get(job_id)
        if job is None:
            read = self._read(reads.get, job_id, self._damage.note)
            if isinstance(read, JobSummary):
                return common.apart(Job(await self._large_spec(read), read.status, read.number, read.revision))
            job = read
            if not self._is_writing:
                self._keep(job)
        return common.apart(job)

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        known = {job_id: job.summary for job_id in job_ids if (job := self._cache.get(job_id))}
        if len(known) < len(job_ids):
            others = [job_id for job_id in job_ids if job_id not in known]
            known.update((job.job_id, job) for job in self._read(reads.summaries, others, self._damage.note))
        return [known[job_id] for job_id in job_ids]

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        return self._read(reads.page, after, limit, self._damage.note)

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        return self._read(selection.select, chosen, limit, after, newest_first=newest_first, note=self._damage.note)

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        return self._read(notes_of.history, number, after, limit, self._damage.note)

    async def attempts(self, number: int) -> Sequence[Attempt]:
        return self._read(notes_of.attempts, number, self._damage.note)

    async def note(self, entry: AuditEntry) -> None:
        await self._change(lambda transaction: transaction.note(entry))

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
        if self._closing:
            raise StoreFailed("the job store is closed")
        read = partial(
            notes_of.audit, limit=limit, before=before, caller=caller, subject=subject, since=since, until=until
        )
        return await asyncio.to_thread(self._read_apart, read, note=self._damage.note)

    async def forget_audit(self, *, before: float, keep: int) -> None:
        step = partial(changes.Transaction.forget_audit, before=before, keep=keep, limit=TRUNCATED_AT_ONCE)
        while not await self._change(step):
            pass

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        return self._read(reads.due, "expires", now, limit, self._damage.note)

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        return self._read(reads.due, "deadline", now, limit, self._damage.note)

    async def app_images(self) -> Mapping[str, bytes]:
        return self._read(notes_of.app_images)

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        await self._change(lambda transaction: transaction.put_app_image(name, definition, notes))

    async def unfinished(self) -> list[Job]:
        return self._read(reads.unfinished, self._damage.note)

    async def missing(self, numbers: Collection[int]) -> set[int]:
        return self._read(reads.missing, numbers)

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        change = partial(changes.Transaction.replace, job=job, passed=passed, fault=fault, notes=notes)
        return await self._change(change, job.job_id)

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        return await self._change(lambda transaction: transaction.delete(job, notes), job.job_id)

    async def size(self) -> int:
        return self._size

    async def initiated_by(self, domain: str) -> int:
        return self._sizes[domain]

    async def job_of_task(self, task_id: str) -> str:
        return self._read(reads.job_of_task, task_id)

    async def head(self) -> int:
        # Not what this thread knows: a read may show what was committed a moment ago.
        return self._read(reads.head)

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        if after >= self._head:
            return ()
        events = self._tail.after(after, limit)
        return self._read(reads.read_log, after, limit, self._damage.note) if events is None else events

    async def log_excess(self, max_bytes: int) -> int:
        return self._read(reads.log_excess, max_bytes)

    async def wait_log(self, after: int) -> None:
        if after >= self._head and not self._closing:
            await self._news.wait()

    async def truncate_log(self, through: int) -> None:
        step = partial(changes.Transaction.truncate_log, through=through, limit=TRUNCATED_AT_ONCE)
        done = False
        while not done:
            forgotten, done = await self._change(step)
            self._tail.forget(forgotten)

    async def close(self) -> None:
        self._closing = True
        self._hand_over()
        self._batches.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reading.close()
        await self._landmark.close()
        self._cache = LRUCache(0, weight.job_bytes)  # a closed store answers nothing
        self._wake_waiters()

    def _read(self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return query(self._reading, *args, **kwargs)
        except sqlite3.Error as error:
            raise _failure("the job store cannot be read", error, self._path) from error

    async def _large_spec(self, job: JobSummary) -> JobSpec:
        """Read off the event loop, one after the other; shared with all who have it. JobNotFound, JobDamaged."""
        async with self._reading_large:
            spec = self._large.get(job.number)
            if spec is None:
                read = partial(self._read_apart, reads.spec, job, self._damage.note)
                spec = self._large[job.number] = await asyncio.to_thread(read)
            return spec

    def _read_apart(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """On a thread of its own, with a connection of its own."""
        try:
            with contextlib.closing(database.read_only(self._path)) as connection:
                connection.execute("BEGIN")  # all of one moment
                return query(connection, *args, **kwargs)
        except sqlite3.Error as error:
            raise _failure("the job store cannot be read", error, self._path) from error

    async def _change(self, change: Callable[[changes.Transaction], T], job_id: str = "") -> T:
        if self._closing:
            raise StoreFailed("the job store is closed")
        call = _Call(change, self._loop.create_future(), job_id)
        self._gathered.append(call)
        self._hand_over_when_due()
        result: T = await call.result
        return result

    def _hand_over_when_due(self) -> None:
        if self._is_writing or not self._gathered:
            return
        if len(self._gathered) >= self._expected:
            self._hand_over()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._gathered:
            self._is_writing = True
            for call in self._gathered:
                self._cache.pop(call.job_id, None)
            self._batches.put(self._gathered)
            self._gathered = []

    def _settle(self, batch: list[_Call], results: list[Any], events: list[JobEvent], *, is_committed: bool) -> None:
        """On the event loop, once a batch is committed or has failed."""
        if is_committed:
            self.failing.clear()
        else:
            self.failing.set()
        if events:
            self._tail.extend(events)
            self._head = events[-1].revision
            for event in events:
                if growth := _GROWTH.get(event.type):
                    self._grow(event.job.initiator, growth)
            self._landmark.note(self._head, self._size)
            self._wake_waiters()
        for call, result in zip(batch, results, strict=True):
            if isinstance(result, Job):
                self._keep(common.apart(result))
            else:
                self._cache.pop(call.job_id, None)  # one batch can create a job and delete it
            if call.result.done():  # cancelled
                continue
            if isinstance(result, Exception):
                call.result.set_exception(result)
            else:
                call.result.set_result(result)
        # Those just answered are likely to call again at once. A lone caller is thus never made to wait.
        self._expected = len(batch) + len(self._gathered)
        self._is_writing = False
        self._hand_over_when_due()

    def _grow(self, initiator: str, growth: int) -> None:
        self._size += growth
        self._sizes[initiator] += growth
        if self._sizes[initiator] <= 0:  # below: a damaged row had another initiator than its job
            del self._sizes[initiator]

    def _keep(self, job: Job) -> None:
        with contextlib.suppress(ValueError):  # too large by itself; no earlier one is there, see `_hand_over`
            self._cache[job.job_id] = job

    def _wake_waiters(self) -> None:
        self._news.set()
        self._news.clear()

    def _write(self) -> None:
        """The writer's thread. After a failure the connection is given up, so that nothing of it can linger."""
        connection: sqlite3.Connection | None = None
        while (batch := self._batches.get()) is not None:
            results: list[Any]
            events: list[JobEvent] = []
            is_committed = False
            try:
                connection = connection or database.connect(self._path)
                began = time.perf_counter()
                results, events = _commit(connection, batch)
                is_committed = True
                self._on_commit(time.perf_counter() - began, len(batch))
            except Exception as error:  # whatever it is, the callers must hear of it
                results = [StoreFailed(f"the job store cannot commit: {_cause(error)}") for _ in batch]
                _let_go(connection)
                connection = None
            self._loop.call_soon_threadsafe(partial(self._settle, batch, results, events, is_committed=is_committed))
        _let_go(connection)


def _commit(connection: sqlite3.Connection, batch: list[_Call]) -> tuple[list[Any], list[JobEvent]]:
    """Each call's result or the error it is refused with, and the new events."""
    connection.execute("BEGIN IMMEDIATE")
    transaction = changes.Transaction(connection)
    results: list[Any] = []
    for call in batch:
        try:
            results.append(call.change(transaction))
        except sqlite3.Error:
            raise
        except Exception as error:
            results.append(error)
    transaction.finish()
    connection.execute("COMMIT")
    return results, transaction.events


def _let_go(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _reconcile(path: Path, connection: sqlite3.Connection) -> None:
    """Say loudly what is missing from the database; the server goes on with what there is."""
    file = landmark.file_of(path)
    try:
        known = landmark.read(file)
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read, so a loss of jobs would not be noticed: %s", file, error)
        known = None
    if loss := landmark.reconcile(connection, known, now=time.time()):
        logger.error(
            "jobs or changes were LOST from %s: %s. What runs/ keeps of lost jobs stays. Stop the server and restore"
            " the database from a copy, or go on without them",
            path,
            loss,
        )


class _Migration:
    """Tells the operator that jobs are read for the new schema, and how far that is, every TOLD_SECONDS."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = self._told = time.monotonic()

    def tell(self, done: int, total: int) -> None:
        """So many jobs of so many are read."""
        now = time.monotonic()
        is_long = self._told > self._began or now - self._began >= TOLD_SECONDS
        if done == total and is_long:
            logger.info("%s has the new schema: %s jobs in %.0f s", self._path, f"{total:,}", now - self._began)
        elif now - self._told >= TOLD_SECONDS:
            self._told = now
            logger.info(
                "%s is brought to the new schema: %d %% of %s jobs; it stays as it is until all are read",
                self._path,
                100 * done // total,
                f"{total:,}",
            )


def _failure(what: str, error: Exception, path: Path) -> StoreFailed:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreFailed(f"{what}: {_cause(error)}")
    return StoreDamaged(
        f"{what}: {_cause(error)}: the file {path.name} is damaged; `kusciajob doctor` looks at it. "
        f"Stop the server, and restore a copy, or save what can be read by `sqlite3 {path.name} .recover`"
    )


def _cause(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", "")
    return f"{error} ({name})" if name else str(error)
