"""What is remembered of a database beside it, and what is found out by it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kusciajob.model.errors import LogTruncated
from kusciajob.store.sqlite import changes, database, landmark, reads
from kusciajob.store.sqlite.landmark import SKIPPED_REVISIONS, Landmark
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.builders import new_job
from tests.support.polling import eventually


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database with the jobs 1 to 4, of which the last was deleted at revision 5."""
    with contextlib.closing(database.connect(Path(":memory:"))) as connection:
        database.migrate(connection, database.migrations())
        connection.execute("BEGIN")
        transaction = changes.Transaction(connection)
        jobs = [transaction.create(new_job(f"job-{number}")) for number in range(4)]
        transaction.delete(jobs[-1])
        transaction.finish()
        connection.execute("COMMIT")
        yield connection


def known(connection: sqlite3.Connection, revision: int, jobs: int) -> Landmark:
    return Landmark(reads.identity(connection), revision, jobs)


@pytest.mark.parametrize(("revision", "jobs"), [(5, 3), (4, 4), (2, 2), (0, 0)])
def test_a_database_that_is_ahead_of_what_is_known_has_lost_nothing(
    connection: sqlite3.Connection, revision: int, jobs: int
) -> None:
    assert landmark.reconcile(connection, known(connection, revision, jobs), now=0) == ""
    assert landmark.reconcile(connection, None, now=0) == ""
    assert (reads.head(connection), reads.losses(connection)) == (5, 0)


def test_a_log_that_was_truncated_meanwhile_is_no_loss(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM log WHERE revision < 5")
    assert landmark.reconcile(connection, known(connection, 3, 3), now=0) == ""
    connection.execute("DELETE FROM job WHERE number = 3")
    connection.execute("DELETE FROM log WHERE revision < 6")
    assert landmark.reconcile(connection, known(connection, 5, 3), now=0) != "", "unless nothing has happened since"


@pytest.mark.parametrize(
    ("statement", "revision", "jobs", "text"),
    [
        ("SELECT 1", 9, 3, "its log ends at revision 5, it ended at 9 or later; it has 3 jobs, it had 3"),
        ("DELETE FROM log WHERE revision > 2", 5, 3, "its log ends at revision 2, it ended at 5 or later"),
        ("DELETE FROM job", 5, 3, "3 jobs are missing without having been deleted; it has 0"),
        ("DELETE FROM job WHERE number = 2", 2, 2, "1 jobs are missing without having been deleted; it has 2"),
        ("UPDATE store SET id = 'other'", 5, 3, "it is another database than the one that was here"),
    ],
)
def test_what_is_missing_is_told_once(
    connection: sqlite3.Connection, statement: str, revision: int, jobs: int, text: str
) -> None:
    before = known(connection, revision, jobs)
    connection.execute(statement)
    assert text in landmark.reconcile(connection, before, now=0)
    assert reads.losses(connection) == 1
    now_known = known(connection, reads.head(connection), reads.size(connection))
    assert landmark.reconcile(connection, now_known, now=1) == ""


def test_lost_rows_of_the_log_are_found_out_without_anything_known(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE job SET revision = 7 WHERE number = 1")
    assert "jobs were changed later, up to revision 7" in landmark.reconcile(connection, None, now=0)
    assert reads.head(connection) == 7 + SKIPPED_REVISIONS


def test_counting_goes_on_above_what_was_lost_and_who_resumes_there_is_told(connection: sqlite3.Connection) -> None:
    landmark.reconcile(connection, known(connection, 9, 3), now=0)
    assert reads.head(connection) == 9 + SKIPPED_REVISIONS
    with pytest.raises(LogTruncated):
        reads.read_log(connection, 7, 10)
    connection.execute("BEGIN")
    transaction = changes.Transaction(connection)
    created = transaction.create(new_job("next"))
    transaction.finish()
    connection.execute("COMMIT")
    assert created.number == 10 + SKIPPED_REVISIONS
    with pytest.raises(LogTruncated):
        reads.read_log(connection, 5, 10)
    assert [event.revision for event in reads.read_log(connection, 9 + SKIPPED_REVISIONS, 10)] == [created.number]
    assert [event.revision for event in reads.read_log(connection, 2, 10)] == [3, 4, 5], "what there was before stays"


def test_what_is_kept_of_lost_jobs_is_no_stray(connection: sqlite3.Connection) -> None:
    assert reads.missing(connection, [3, 4, 6, 9]) == {4, 6, 9}
    landmark.reconcile(connection, known(connection, 9, 3), now=0)
    assert reads.missing(connection, [3, 4, 6, 9]) == {4}, "job 4 was deleted"


async def test_the_landmark_follows_the_database(tmp_path: Path) -> None:
    file = tmp_path / "jobs.head"
    store = await SqliteStore.open(tmp_path / "jobs.db")
    for number in range(20):
        await store.create(new_job(f"job-{number}"))
    await eventually(lambda: (noted := landmark.read(file)) is not None and (noted.revision, noted.jobs) == (20, 20))
    await store.delete(await store.get("job-1"))
    await store.close()
    noted = landmark.read(file)
    assert noted is not None
    assert (noted.revision, noted.jobs) == (21, 19)
    assert file.stat().st_mode & 0o077 == 0


async def test_commits_go_on_where_the_landmark_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jobs.head.new").mkdir()
    store = await SqliteStore.open(tmp_path / "jobs.db")
    await store.create(new_job("a"))
    await eventually(lambda: "jobs.head cannot be written" in caplog.text)
    await store.create(new_job("b"))
    await store.close()
    assert caplog.text.count("jobs.head cannot be written") == 1


def test_a_landmark_is_read_from_a_regular_file_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        landmark.read(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        landmark.read(tmp_path / "link")
    landmark.write(tmp_path / "link", Landmark("id", 1, 2))
    assert not (tmp_path / "elsewhere").exists()
    assert landmark.read(tmp_path / "link") == Landmark("id", 1, 2)
