"""What stores promise that several servers share, each with a connection of its own."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec.structs import replace

from kusciajob.contracts import PartyKey
from kusciajob.model import transitions
from kusciajob.model.errors import JobExists, JobNotFound, StaleJob, StoreFailed
from kusciajob.model.history import AuditEntry, HistoryEntry, HistoryEvent, Notes
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job
from kusciajob.store.postgres import schema
from kusciajob.store.postgres.store import PostgresStore
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.polling import PATIENCE_SECONDS, eventually_true, give_way

pytestmark = pytest.mark.postgres


@pytest.fixture
async def stores(url: str) -> AsyncIterator[list[PostgresStore]]:
    """Three servers' stores, opened at once: one of them makes the schema."""
    opened = await asyncio.gather(*(PostgresStore.open(url) for _ in range(3)))
    yield opened
    for store in opened:
        await store.close()


async def test_all_of_them_are_one_store(stores: list[PostgresStore]) -> None:
    one, other, third = stores
    assert one.id == other.id == third.id
    created = await one.create(new_job("job-1"))
    assert await other.get("job-1") == created
    changed = await other.replace(transitions.explain(created, 0, "waiting"))
    with pytest.raises(StaleJob):
        await one.replace(created)
    await third.delete(changed)
    with pytest.raises(JobNotFound):
        await one.get("job-1")


async def test_revisions_have_no_gaps_whoever_commits_and_all_read_the_same_log(stores: list[PostgresStore]) -> None:
    async def life(number: int) -> None:
        one, other, third = stores[number % 3 :] + stores[: number % 3]
        job = await one.create(new_job(f"job-{number}"))
        job = await other.replace(transitions.explain(job, 0, "waiting"), fault="fork failed")
        if number % 2:
            await third.delete(job)

    await asyncio.gather(*(life(number) for number in range(60)))

    logs = [await store.read_log(0, 10_000) for store in stores]
    assert [event.revision for event in logs[0]] == list(range(1, 60 * 3 + 30 + 1))
    assert logs[0] == logs[1] == logs[2]
    assert {await store.head() for store in stores} == {len(logs[0])}
    assert {await store.size() for store in stores} == {30}


async def test_of_changes_to_one_revision_on_several_servers_one_is_kept(stores: list[PostgresStore]) -> None:
    job = await stores[0].create(new_job("job-1"))
    changes = (store.replace(transitions.explain(job, 0, f"{n}")) for n, store in enumerate(stores * 5))
    results = await asyncio.gather(*changes, return_exceptions=True)
    (kept,) = [result for result in results if isinstance(result, Job)]
    assert sum(isinstance(result, StaleJob) for result in results) == len(results) - 1
    assert await stores[1].get("job-1") == kept


async def test_of_creates_of_one_job_or_task_on_several_servers_one_is_kept(stores: list[PostgresStore]) -> None:
    creates = [store.create(new_job("same")) for store in stores * 3]
    creates += [
        store.create(new_job(job_spec(f"own-{n}", tasks=[task(task_id="shared")])))
        for n, store in enumerate(stores * 3)
    ]
    results = await asyncio.gather(*creates, return_exceptions=True)
    assert sum(isinstance(result, Job) for result in results) == 2
    assert sum(isinstance(result, JobExists) for result in results) == len(results) - 2
    assert await stores[0].head() == await stores[1].size() == 2


async def test_what_a_program_reports_to_one_server_is_told_to_all(stores: list[PostgresStore]) -> None:
    key, heard = PartyKey(3, 0, 1, 2), []
    stores[0].tail.on_progress = lambda of, progress: heard.append((of, progress))

    async def told() -> bool:
        await stores[1].pass_progress(key, 0.25)
        return bool(heard)

    assert await eventually_true(told)  # once it listens
    assert heard[0] == (key, 0.25)
    assert len({store.progress_key for store in stores}) == 1
    assert len(stores[0].progress_key) == 32


async def test_a_waiter_on_another_server_wakes_without_being_polled(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Polls come later than the test is patient.
    monkeypatch.setattr("kusciajob.store.postgres.tail.POLL_SECONDS", PATIENCE_SECONDS * 10)
    one, other = [await PostgresStore.open(url) for _ in range(2)]

    async def told() -> bool:
        """Once it listens; that begins a moment after the store is opened, and with a look at the log."""
        head = await one.head()
        waiter = asyncio.create_task(other.wait_log(head))
        await give_way(1)
        await one.create(new_job(f"job-{head}"))
        done, _ = await asyncio.wait([waiter], timeout=1)
        waiter.cancel()
        return bool(done)

    assert await eventually_true(told)
    await one.close()
    await other.close()


async def test_a_waiter_wakes_also_if_no_notification_comes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("kusciajob.store.postgres.tail.listen", never)
    one, other = [await PostgresStore.open(url) for _ in range(2)]
    await one.create(new_job())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await other.wait_log(0)
    await one.close()
    await other.close()


async def test_cut_connections_fail_calls_in_flight_and_are_opened_anew(stores: list[PostgresStore], url: str) -> None:
    one, other, _ = stores
    await one.create(new_job("before"))
    cutter = await asyncpg.connect(url)
    await cutter.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    async def goes_on() -> bool:
        try:
            await one.probe()
            await one.get("before")
        except StoreFailed:
            return False
        return True

    assert await eventually_true(goes_on)
    assert not one.failing.is_set()
    assert (await one.create(new_job("after"))).revision == 2
    async with asyncio.timeout(PATIENCE_SECONDS):
        await other.wait_log(1)
    await cutter.close()


async def test_a_commit_that_fails_leaves_nothing_and_is_told(stores: list[PostgresStore], url: str) -> None:
    store = stores[0]
    other = await asyncpg.connect(url)
    await other.execute("ALTER TABLE log ADD CONSTRAINT no_such_luck CHECK (job_id <> 'bad')")
    with pytest.raises(StoreFailed, match="no_such_luck"):
        await store.create(new_job("bad"))
    assert store.failing.is_set()
    assert await store.size() == await store.head() == 0
    assert (await store.create(new_job("good"))).revision == 1
    assert not store.failing.is_set()
    await other.close()


async def test_a_database_of_a_newer_version_is_refused(stores: list[PostgresStore], url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO schema_version VALUES ($1, $1)", len(schema.migrations()) + 1)
    await connection.close()
    with pytest.raises(StoreFailed, match=r"the database has schema 2, and this version knows schemas up to 1"):
        await PostgresStore.open(url)


async def test_what_postgresql_cannot_hold_finds_nothing_and_is_kept_in_notes(stores: list[PostgresStore]) -> None:
    store = stores[0]
    odd = "job\0\ud800"
    call = AuditEntry(NOW, "alice", "10.0.0.1", "CreateJob", "job\0", 11202, "not\0 that")
    entry = HistoryEntry(HistoryEvent.CREATED, NOW, reason="because\0")
    created = await store.create(new_job("job-1"), notes=Notes((entry,), audit=call))
    with pytest.raises(JobNotFound):
        await store.get(odd)
    assert (await store.select(JobFilter(job_ids=frozenset({odd})), limit=1)).jobs == ()
    assert (await store.select(JobFilter(party=odd, labels=((odd, odd),)), limit=1)).jobs == ()
    assert [replace(each, id=0) for each in await store.audit(limit=1, subject="job\0")] == [call]
    assert [each for _, each in await store.history(1, after=0, limit=1)] == [replace(entry, revision=created.revision)]


async def test_a_schema_that_is_too_new_is_refused_and_one_that_is_usable_is_used(url: str) -> None:
    connection = await asyncpg.connect(url)
    usable = "-- Servers that know schema 1 or a later one can use this one.\nSELECT 1"
    assert await schema.migrate(connection, [*schema.migrations(), usable]) == (0, 2)
    store = await PostgresStore.open(url)
    await store.create(new_job())
    await store.close()
    assert await schema.migrate(connection, [*schema.migrations(), usable, "SELECT 1"]) == (2, 3)
    await connection.close()
    for may_migrate in (True, False):
        with pytest.raises(StoreFailed, match=r"has schema 3, .* knows schemas up to 1: run the version that made it"):
            await PostgresStore.open(url, may_migrate=may_migrate)
