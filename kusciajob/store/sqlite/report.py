"""What the database tells who examines it, on a connection that only reads. Whether it is well is for others to say."""

import sqlite3
from typing import NamedTuple

from kusciajob.store.sqlite import reads

MOST_COMPLAINTS = 10


class LogExtent(NamedTuple):
    """The log from its first to its last revision, and what does not fit: revisions that are in no record of a loss,
    and jobs that were changed after the last revision."""

    first: int
    last: int
    events: int
    missing: int
    jobs_ahead: int


def schema_version(connection: sqlite3.Connection) -> int:
    """How many of the migrations the database has; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def complaints(connection: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, the first MOST_COMPLAINTS."""
    answers = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({MOST_COMPLAINTS})")]
    return [] if answers == ["ok"] else answers


def past_losses(connection: sqlite3.Connection) -> list[tuple[float, str]]:
    """When changes were found missing at a start, and what was told then."""
    return connection.execute("SELECT found_at, text FROM loss ORDER BY through").fetchall()


def rows_set_aside(connection: sqlite3.Connection) -> int:
    """How many damaged rows were set aside."""
    (kept,) = connection.execute("SELECT count(*) FROM damaged").fetchone()
    return int(kept)


def log_extent(connection: sqlite3.Connection) -> LogExtent:
    """Where the log begins and ends. Every row of it is looked at."""
    first, last, events = connection.execute("SELECT min(revision), max(revision), count(*) FROM log").fetchone()
    first, last = first or 0, last or 0
    (lost,) = connection.execute(
        "SELECT ifnull(sum(through - after), 0) FROM loss WHERE after >= ? AND through < ?", (first, last)
    ).fetchone()
    (ahead,) = connection.execute("SELECT count(*) FROM job WHERE revision > ?", (reads.head(connection),)).fetchone()
    return LogExtent(first, last, events, last - first + 1 - lost - events if events else 0, ahead)
