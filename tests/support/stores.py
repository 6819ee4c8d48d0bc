"""The stores that tests use, and stores that misbehave: they stand in front of one and decide when a call passes."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from kusciajob.contracts import Census, JobPage, JobStore, StoreHealth
from kusciajob.model.errors import StoreFailed
from kusciajob.model.history import NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobEvent, JobStatus, JobSummary
from kusciajob.store.memory import MemoryStore
from kusciajob.store.postgres.store import PostgresStore
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.polling import give_way
from tests.support.postgres import postgres_server

STORES = ("memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
"""Every kind there is."""
RECORDINGS = [
    *((kind, seed) for kind in ("memory", "sqlite") for seed in (1, 2, 3)),
    pytest.param(("postgres", 1), marks=pytest.mark.postgres),
]
"""The runs that suites of the hub record, by store and seed. They take long where each read is a round trip."""


async def open_store(kind: str, directory: Path) -> JobStore:
    """A store of that kind; one that needs a file has it in the directory."""
    match kind:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return await SqliteStore.open(directory / "jobs.db")
        case _:
            return await PostgresStore.open(await postgres_server().new_database())


class GuardedStore:
    """Passes every call on once `_admit` let it through."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def _admit(self, method: str) -> None:
        """Return to let the call through, raise to fail it, wait to hold it."""

    @property
    def id(self) -> str:
        return self._store.id

    @property
    def failing(self) -> asyncio.Event:
        return self._store.failing

    @property
    def health(self) -> StoreHealth:
        return self._store.health

    async def probe(self) -> None:
        await self._admit("probe")
        await self._store.probe()

    async def census(self) -> Census:
        await self._admit("census")
        return await self._store.census()

    @property
    def phases_told_after(self) -> int:
        return self._store.phases_told_after

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        await self._admit("create")
        return await self._store.create(job, notes=notes)

    async def get(self, job_id: str) -> Job:
        await self._admit("get")
        return await self._store.get(job_id)

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        await self._admit("summaries")
        return await self._store.summaries(job_ids)

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        await self._admit("page")
        return await self._store.page(after, limit)

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        await self._admit("select")
        return await self._store.select(chosen, limit=limit, after=after, newest_first=newest_first)

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        await self._admit("history")
        return await self._store.history(number, after=after, limit=limit)

    async def attempts(self, number: int) -> Sequence[Attempt]:
        await self._admit("attempts")
        return await self._store.attempts(number)

    async def note(self, entry: AuditEntry) -> None:
        await self._admit("note")
        await self._store.note(entry)

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
        await self._admit("audit")
        return await self._store.audit(
            limit=limit, before=before, caller=caller, subject=subject, since=since, until=until
        )

    async def forget_audit(self, *, before: float, keep: int) -> None:
        await self._admit("forget_audit")
        await self._store.forget_audit(before=before, keep=keep)

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        await self._admit("expired")
        return await self._store.expired(now, limit)

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        await self._admit("overdue")
        return await self._store.overdue(now, limit)

    async def app_images(self) -> Mapping[str, bytes]:
        await self._admit("app_images")
        return await self._store.app_images()

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        await self._admit("put_app_image")
        await self._store.put_app_image(name, definition, notes=notes)

    async def unfinished(self) -> list[Job]:
        await self._admit("unfinished")
        return await self._store.unfinished()

    async def missing(self, numbers: Collection[int]) -> set[int]:
        await self._admit("missing")
        return await self._store.missing(numbers)

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        await self._admit("replace")
        return await self._store.replace(job, passed=passed, fault=fault, notes=notes)

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        await self._admit("delete")
        return await self._store.delete(job, notes=notes)

    async def size(self) -> int:
        await self._admit("size")
        return await self._store.size()

    async def initiated_by(self, domain: str) -> int:
        await self._admit("initiated_by")
        return await self._store.initiated_by(domain)

    async def job_of_task(self, task_id: str) -> str:
        await self._admit("job_of_task")
        return await self._store.job_of_task(task_id)

    async def head(self) -> int:
        await self._admit("head")
        return await self._store.head()

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        await self._admit("read_log")
        return await self._store.read_log(after, limit)

    async def log_excess(self, max_bytes: int) -> int:
        await self._admit("log_excess")
        return await self._store.log_excess(max_bytes)

    async def wait_log(self, after: int) -> None:
        await self._admit("wait_log")
        await self._store.wait_log(after)

    async def truncate_log(self, through: int) -> None:
        await self._admit("truncate_log")
        await self._store.truncate_log(through)

    async def close(self) -> None:
        await self._store.close()


class FaultyStore(GuardedStore):
    """Fails the methods named in `fails`, and the `fail_at`-th call (1 = the next one) of any."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store)
        self.fails: set[str] = set()
        self.fail_at = 0

    async def _admit(self, method: str) -> None:
        self.fail_at -= 1
        if method in self.fails or self.fail_at == 0:
            raise StoreFailed(f"the test lets {method} fail")


class SlowStore(GuardedStore):
    """Holds calls of the methods in `held` until `release`."""

    def __init__(self, store: JobStore, *held: str) -> None:
        super().__init__(store)
        self._held = held
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def _admit(self, method: str) -> None:
        if method in self._held:
            await self._released.wait()


class IntrudedStore(GuardedStore):
    """Somebody else acts just before calls of these methods, each time or so many times."""

    def __init__(
        self, store: JobStore, intrude: Callable[[], Awaitable[object]], *methods: str, times: int | None = 1
    ) -> None:
        super().__init__(store)
        self._intrude = intrude
        self._methods = methods
        self._times = times

    async def _admit(self, method: str) -> None:
        if method in self._methods and self._times != 0:
            self._times = None if self._times is None else self._times - 1
            await self._intrude()


class HesitantStore(GuardedStore):
    """Lets others go first before each answer, so many turns of the event loop long: there is a wait in every call."""

    def __init__(self, store: JobStore, *methods: str, turns: int = 1) -> None:
        """Without any methods it is all of them."""
        super().__init__(store)
        self._methods = methods
        self._turns = turns

    async def _admit(self, method: str) -> None:
        if not self._methods or method in self._methods:
            await give_way(self._turns)


class JitteryStore(GuardedStore):
    """Takes its time before each answer, so that anything can happen in between, and gives many useless hints."""

    def __init__(self, store: JobStore, random: Random) -> None:
        super().__init__(store)
        self._random = random

    async def _admit(self, method: str) -> None:
        await give_way(self._random.randrange(4))

    async def wait_log(self, after: int) -> None:
        await self._admit("wait_log")
        if self._random.random() < 0.5:
            await self._store.wait_log(after)
