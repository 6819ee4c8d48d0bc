"""A store of an earlier version is brought to the schema that lists need: with all its data, or not at all."""

import logging
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobState
from kusciajob.store.sqlite import database, listing, repair
from kusciajob.store.sqlite import store as sqlite_store
from tests.conformance.test_store_selection import listed, populate, stopped, with_traits
from tests.support.builders import NOW, new_job
from tests.support.damage import damage, opened
from tests.support.earlier_schema import TABLES, as_of_schema, rows_of

DERIVED = ("listing", "facet")
KILLED_MIDWAY = """
import os, pathlib, signal, sys
from kusciajob.store.sqlite import database, listing

listing.FACETS_AT_ONCE = 20

def progress(done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

database.migrate(database.connect(pathlib.Path(sys.argv[1])), database.migrations(), progress)
"""


@pytest.fixture
async def earlier(tmp_path: Path) -> tuple[Path, Path]:
    """A store of schema 5, and the one of today that it was made from."""
    source, target = tmp_path / "source.db", tmp_path / "jobs.db"
    async with opened(source) as store:
        await populate(store, Random(3), 100)
        await store.create(new_job(with_traits("due", deadline_seconds=10), awaited=("bob",)))
        old = await store.create(new_job(with_traits("old", ttl_seconds=10)))
        await store.replace(stopped(old, NOW + 1))
    as_of_schema(5, source, target)
    return target, source


async def test_what_lists_need_is_written_as_if_it_had_always_been(earlier: tuple[Path, Path]) -> None:
    path, source = earlier
    async with opened(path) as store, opened(source) as expected:
        assert await store.page(0, 1000) == await expected.page(0, 1000)
        for chosen in (JobFilter(party="carol"), JobFilter(states=frozenset({JobState.FAILED})), JobFilter()):
            assert await listed(store, chosen) == await listed(expected, chosen) != []
        for now in (NOW, NOW + 1e9):
            assert await store.overdue(now, 10) == await expected.overdue(now, 10)
            assert await store.expired(now, 10) == await expected.expired(now, 10)
        assert await store.unfinished() == await expected.unfinished()
        assert store.id != expected.id
    migrated, written = rows_of(path, *DERIVED), rows_of(source, *DERIVED)
    assert migrated["facet"] == written["facet"]
    # Deleted jobs have left no trace in the times.
    assert [row[1:2] + row[4:] for row in migrated["listing"]] == [row[1:2] + row[4:] for row in written["listing"]]
    with closing(database.connect(path)) as connection:
        assert list(repair.find(connection)) == []


async def test_the_log_tells_from_where_on_it_knows_the_phase_before(earlier: tuple[Path, Path]) -> None:
    path, _ = earlier
    async with opened(path) as store:
        head = await store.head()
        assert store.phases_told_after == head > 100
        kept = {job.number for job in await store.page(0, 1000)}
        events = await store.read_log(0, 10_000)
        assert {event.before for event in events} == {None}
        assert all(event.job.traits.app_images for event in events if event.job.number in kept)
        job = await store.replace(stopped(await store.get("due"), NOW + 1))
        (event,) = await store.read_log(head, 10)
        assert event.before is not None
        assert event.before.state is JobState.AWAITING_APPROVAL
        assert event.job == job.summary
    async with opened(path) as store:
        assert store.phases_told_after == head


async def test_a_damaged_job_does_not_keep_the_others_from_being_listed(earlier: tuple[Path, Path]) -> None:
    path, _ = earlier
    damage(path, "UPDATE job SET status = x'00' WHERE job_id = 'due'")
    damage(path, "UPDATE spec SET spec = x'00' WHERE number = (SELECT number FROM job WHERE job_id = 'old')")
    async with opened(path) as store:
        jobs = await store.page(0, 1000)
        assert await listed(store, JobFilter()) == jobs
        assert (await listed(store, JobFilter(party="alice")))[-1].job_id == "old"
        (bad,) = [job for job in jobs if job.status.is_damaged]
        await store.delete(bad)


async def test_progress_is_told(
    earlier: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = earlier
    monkeypatch.setattr(sqlite_store, "TOLD_SECONDS", 0)
    monkeypatch.setattr(listing, "FACETS_AT_ONCE", 20)
    with caplog.at_level(logging.INFO, "kusciajob"):
        async with opened(path):
            pass
    texts = [record.getMessage() for record in caplog.records if "new schema" in record.getMessage()]
    assert len(texts) > 5
    assert all(str(path) in text for text in texts)
    assert " is brought to the new schema: " in texts[0]
    assert "; it stays as it is until all are read" in texts[0]
    assert " has the new schema: " in texts[-1]


async def test_a_kill_in_the_middle_leaves_the_earlier_schema_with_all_its_data(earlier: tuple[Path, Path]) -> None:
    path, source = earlier
    before = rows_of(path, *TABLES)
    killed = subprocess.run([sys.executable, "-c", KILLED_MIDWAY, str(path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL

    assert rows_of(path, *TABLES, *DERIVED) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)
    async with opened(path) as store, opened(source) as expected:
        assert await listed(store, JobFilter()) == await expected.page(0, 1000)


def test_a_failure_in_the_middle_leaves_the_earlier_schema(
    earlier: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = earlier
    before = rows_of(path, *TABLES)
    monkeypatch.setattr(listing, "FACETS_AT_ONCE", 20)

    def fail(done: int, _total: int) -> None:
        if done > 50:
            raise sqlite3.OperationalError("database or disk is full")

    with closing(database.connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            database.migrate(connection, database.migrations(), fail)
        assert not connection.in_transaction
    assert rows_of(path, *TABLES, *DERIVED) == before
