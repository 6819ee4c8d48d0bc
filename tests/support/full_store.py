"""A database that is full of finished jobs: copies of the one that it has."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path


def fill(database: Path, count: int, name: Callable[[int], str]) -> None:
    """As it is after so many jobs more, of which the log remembers the last event; `name` gives their ids, from 1 on.

    The database of a server that is stopped, and has had one job.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        (head,) = connection.execute("SELECT max(revision) FROM log").fetchone()
        (original,) = connection.execute("SELECT job_id FROM job").fetchone()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        # One row per copy; its number is also its revision.
        connection.execute("CREATE TEMP TABLE copy (id INTEGER PRIMARY KEY, job_id TEXT)")
        rows = ((head + number, name(number)) for number in range(1, count + 1))
        connection.executemany("INSERT INTO copy VALUES (?, ?)", rows)
        changed = {"number": "copy.id", "revision": "copy.id", "job_id": "copy.job_id"}
        spec = f"CAST(replace(CAST(spec AS TEXT), '{original}', copy.job_id) AS BLOB)"
        task_id = "copy.job_id || '-' || lower(hex(randomblob(6)))"
        _copy(connection, "job", changed)
        _copy(connection, "spec", changed | {"spec": spec})
        _copy(connection, "task", changed | {"task_id": task_id})
        # The copies are as old as the job.
        _copy(connection, "listing", changed)
        _copy(connection, "facet", changed)
        connection.execute("DELETE FROM log WHERE revision < ?", (head,))
        connection.execute("DELETE FROM copy WHERE id < ?", (head + count,))
        _copy(connection, "log", changed)
        connection.execute("DELETE FROM log WHERE revision = ?", (head,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(connection: sqlite3.Connection, table: str, changed: dict[str, str]) -> None:
    """Each row of a table once per copy, with some columns changed, whatever other columns it has."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, f"{table}.{column}") for column in columns)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM copy JOIN {table}"  # noqa: S608  # our own names
    )
