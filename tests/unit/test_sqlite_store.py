"""What only the SQLite store promises: durability, failures of the medium, group commit, the schema."""

import asyncio
import contextlib
import re
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kusciajob.model.errors import JobNotFound, LogTruncated, StoreFailed, TaskNotFound
from kusciajob.model.status import Job
from kusciajob.store.sqlite import database, reads
from kusciajob.store.sqlite import store as sqlite
from kusciajob.store.sqlite.census import PARTIES_BY_STATE
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.builders import job_spec, new_job, task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """A full disk: no file of this process can grow beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def size_bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def big_job(job_id: str) -> Job:
    return new_job(job_spec(job_id, tasks=[task(input_config="x" * 20_000)]))


async def test_everything_is_there_after_reopening(path: Path) -> None:
    async with opened(path) as store:
        kept = await store.replace(await store.create(new_job("kept")), fault="fork failed")
        gone = await store.create(new_job("gone"))
        await store.delete(gone)
        log = list(await store.read_log(0, 100))

    async with opened(path) as store:
        assert await store.get("kept") == kept
        assert await store.unfinished() == [kept]
        assert list(await store.read_log(0, 100)) == log
        assert await store.head() == 5
        assert (await store.create(new_job("gone"))).number == 6


async def test_revisions_go_on_after_truncating_and_reopening(path: Path) -> None:
    async with opened(path) as store:
        await store.delete(await store.create(new_job()))
        await store.truncate_log(2)

    async with opened(path) as store:
        assert (await store.create(new_job())).number == 3
        with pytest.raises(LogTruncated):
            await store.read_log(0, 10)


async def test_an_acknowledged_create_is_committed(path: Path) -> None:
    async with opened(path) as store:
        await store.create(new_job("job-1"))
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT job_id FROM job").fetchall() == [("job-1",)]


def test_a_commit_is_synced_to_the_disk(path: Path) -> None:
    with contextlib.closing(database.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


CREATE_FOR_EVER = """
import asyncio, itertools, sys
from pathlib import Path
from kusciajob.store.sqlite.census import PARTIES_BY_STATE
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.builders import new_job

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    numbers = itertools.count()

    async def create():
        while True:
            job = await store.create(new_job(f"job-{next(numbers)}"))
            print(job.job_id, job.number, flush=True)

    await asyncio.gather(*(create() for _ in range(16)))

asyncio.run(main())
"""


def create_until_killed(path: Path) -> list[tuple[str, int]]:
    """The id and number of each job that was acknowledged to the killed process."""
    with subprocess.Popen([sys.executable, "-c", CREATE_FOR_EVER, path], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(300)]
        program.kill()
        lines += program.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [(job_id, int(number)) for job_id, number in whole]


async def test_what_is_acknowledged_survives_kill_9(path: Path) -> None:
    acknowledged = create_until_killed(path)

    assert len(acknowledged) >= 300
    async with opened(path) as store:
        for job_id, number in acknowledged:
            assert (await store.get(job_id)).number == number
        log = await store.read_log(0, 1_000_000)
        assert [event.revision for event in log] == list(range(1, len(log) + 1))
        assert [event.job for event in log] == await store.page(0, 1_000_000)


async def create_until_refused(store: SqliteStore) -> tuple[int, StoreFailed]:
    for accepted in range(100):
        try:
            await store.create(big_job(f"job-{accepted}"))
        except StoreFailed as error:
            return accepted, error
    raise AssertionError("the limit was never met")


async def test_a_full_disk_fails_changes_only_and_is_got_over(path: Path) -> None:
    async with opened(path) as store:
        kept = await store.create(big_job("kept"))
        with files_limited_to(400_000):
            accepted, failure = await create_until_refused(store)
            assert re.fullmatch(r"the job store cannot commit: .+ \(SQLITE_\w+\)", str(failure))
            # Every call of a failed commit is told, also one that fits by itself.
            results = await asyncio.gather(
                *(store.create(big_job(f"more-{number}")) for number in range(10)), return_exceptions=True
            )
            assert any(isinstance(result, StoreFailed) for result in results)
            assert await store.get("kept") == kept
            created = accepted + sum(isinstance(result, Job) for result in results)
            assert len(await store.page(0, 1000)) == 1 + created == await store.head()

        assert accepted > 0
        after = await store.create(big_job("after"))

        assert after.number == created + 2
        with pytest.raises(JobNotFound):
            await store.get(f"job-{accepted}")
        assert [event.revision for event in await store.read_log(0, 1000)] == list(range(1, after.revision + 1))


async def test_a_failure_half_way_leaves_nothing_of_its_commit(path: Path) -> None:
    async with opened(path) as store:
        await store.create(new_job("first"))
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute(
                "CREATE TRIGGER failing BEFORE INSERT ON log WHEN NEW.job_id = 'poison'"
                " BEGIN SELECT RAISE(FAIL, 'no such luck'); END"
            )

        results = await asyncio.gather(
            *(store.create(new_job(job_id)) for job_id in ("alone", "beside", "poison", "behind")),
            return_exceptions=True,
        )

        # The first call finds the writer idle and is committed by itself.
        assert [type(result) for result in results] == [Job, StoreFailed, StoreFailed, StoreFailed]
        assert str(results[3]) == "the job store cannot commit: no such luck (SQLITE_CONSTRAINT_TRIGGER)"
        assert [summary.job_id for summary in await store.page(0, 10)] == ["first", "alone"]
        assert (await store.create(new_job("beside"))).number == 3


async def test_nothing_of_a_deleted_job_stays_in_the_file(path: Path) -> None:
    async with opened(path) as store:
        await store.delete(await store.create(new_job()))

        with contextlib.closing(sqlite3.connect(path)) as other:
            left = other.execute("SELECT number FROM job UNION SELECT number FROM spec UNION SELECT number FROM task")
            assert left.fetchall() == []


async def test_many_calls_share_a_commit_and_a_lone_one_does_not_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as store:
        with contextlib.closing(sqlite3.connect(path)) as other:

            def commits() -> int:
                """SQLite's own count of the transactions of other connections that this one has met."""
                (version,) = other.execute("PRAGMA data_version").fetchone()
                return int(version)

            seen = {commits()}

            async def create(job_id: str) -> None:
                await store.create(new_job(job_id))
                seen.add(commits())

            await asyncio.gather(*(create(f"job-{number}") for number in range(100)))
        assert len(seen) - 1 <= 10

        await store.create(new_job("settles-down"))
        monkeypatch.setattr(sqlite, "LINGER_SECONDS", 600)
        async with asyncio.timeout(60):
            for number in range(20):
                await store.create(new_job(f"alone-{number}"))


async def test_the_tail_of_the_log_is_the_very_events_committed(path: Path) -> None:
    async with opened(path) as store:
        await store.create(new_job())

        (first,), (second,) = await store.read_log(0, 1), await store.read_log(0, 1)

        assert first is second


async def test_events_older_than_the_tail_come_from_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "TAIL_EVENTS", 3)
    async with opened(path) as store:
        jobs = [await store.create(new_job(f"job-{number}")) for number in range(6)]

        for after in range(6):
            assert [event.job for event in await store.read_log(after, 10)] == [job.summary for job in jobs[after:]]


async def test_a_long_log_is_truncated_in_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "TRUNCATED_AT_ONCE", 2)
    async with opened(path) as store:
        for number in range(8):
            await store.create(new_job(f"job-{number}"))

        await store.truncate_log(7)

        assert [event.revision for event in await store.read_log(7, 10)] == [8]
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT revision FROM log").fetchall() == [(8,)]


async def test_the_write_ahead_log_stays_bounded_while_the_file_is_read(path: Path) -> None:
    wal = path.with_name("jobs.db-wal")
    async with opened(path) as store:
        for number in range(40):
            await asyncio.gather(*(store.create(big_job(f"job-{number}-{part}")) for part in range(20)))
            await store.page(0, 5)
        assert size_bytes(path) > 12_000_000
        assert size_bytes(wal) < 8_000_000

    assert size_bytes(wal) == 0


# The list that is asked for, and the index that holds unfinished jobs only.
BOUNDED_SCANS = ("SCAN json_each", "SCAN job USING INDEX job_unfinished", "SCAN CONSTANT ROW")


@pytest.mark.parametrize(
    "query",
    [
        partial(reads.page, after=7, limit=10),
        reads.unfinished,
        partial(reads.summaries, job_ids=["a", "b"]),
        partial(reads.get, job_id="a"),
        partial(reads.missing, numbers=[1, 2]),
        partial(reads.job_of_task, task_id="a"),
        reads.head,
        partial(reads.read_log, after=7, limit=10),
    ],
)
def test_no_read_goes_through_a_whole_table(path: Path, query: Callable[[sqlite3.Connection], object]) -> None:
    statements: list[str] = []
    with contextlib.closing(database.connect(path)) as connection:
        database.migrate(connection, database.migrations())
        connection.set_trace_callback(statements.append)
        with contextlib.suppress(JobNotFound, TaskNotFound):
            query(connection)
        connection.set_trace_callback(None)
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall() for statement in statements]
    steps = [row[3] for plan in plans for row in plan]
    assert steps
    assert not [step for step in steps if step.startswith("SCAN") and not step.startswith(BOUNDED_SCANS)]
    assert not [step for step in steps if "ORDER BY" in step]


async def test_a_database_of_a_newer_version_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(
        StoreFailed, match=r"jobs.db: its schema has version 99, this program knows versions up to \d+:"
    ):
        await SqliteStore.open(path)


def test_migrations_are_applied_once_and_in_order(path: Path) -> None:
    scripts = ["CREATE TABLE a (x);", "ALTER TABLE a ADD COLUMN y;"]
    with contextlib.closing(database.connect(path)) as connection:
        database.migrate(connection, scripts[:1])
        connection.execute("INSERT INTO a VALUES (1)")

        database.migrate(connection, scripts)
        database.migrate(connection, scripts)

        assert connection.execute("SELECT * FROM a").fetchall() == [(1, None)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with contextlib.closing(database.connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            database.migrate(connection, ["CREATE TABLE a (x);", "CREATE TABLE b (x);\nCREATE TABLE a (x);"])

        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(StoreFailed, match=r"jobs\.db: file is not a database"):
        asyncio.run(SqliteStore.open(path))


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"nowhere/jobs\.db: unable to open database file"):
        await SqliteStore.open(tmp_path / "nowhere" / "jobs.db")


async def test_a_change_that_cannot_be_encoded_fails_alone(path: Path) -> None:
    async with opened(path) as store:
        undecodable = new_job(job_spec("job-1", tasks=[task(input_config="\udce4")]))

        results = await asyncio.gather(
            store.create(new_job("before")),
            store.create(undecodable),
            store.create(new_job("after")),
            return_exceptions=True,
        )

        assert [type(result) for result in results] == [Job, UnicodeEncodeError, Job]
        assert await store.head() == 2


async def test_no_finished_job_is_looked_at_for_its_parties(path: Path) -> None:
    async with opened(path):
        with contextlib.closing(database.read_only(path)) as connection:
            plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {PARTIES_BY_STATE}")]
    assert any("job_unfinished" in step for step in plan), plan
