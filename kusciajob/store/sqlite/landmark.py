"""What is known of the database outside of it: so that one that was emptied, or lost its newest part, is found out.

The landmark is a small file beside the database: which database it is, its revision and its number of jobs. It is
written within SECONDS of the start and of each change, and at the end; so the database is never behind it.
"""

import asyncio
import logging
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from kusciajob.files.regular import read_regular
from kusciajob.store.sqlite import reads

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""How far the landmark may be behind the database."""
SKIPPED_REVISIONS = 1_000_000
"""Far more than can be committed before the landmark follows: a number given then is not given again."""
MAX_BYTES = 4096
VERSION = 1
"""Of the file's format."""


class Landmark(Struct, frozen=True):
    """Which database it is, its newest revision, and how many jobs it had then."""

    database: str
    revision: int
    jobs: int
    version: int = VERSION


class Loss(NamedTuple):
    """Something is missing: what, the revision that it followed, and that above which counting goes on."""

    through: int
    after: int
    text: str


def file_of(database: Path) -> Path:
    """Where the landmark of a database is."""
    return database.with_suffix(".head")


def read(file: Path) -> Landmark | None:
    """The landmark, None where there is none. OSError, ValueError: there is something else."""
    try:
        return msgspec.json.decode(read_regular(file, MAX_BYTES), type=Landmark)
    except FileNotFoundError:
        return None


def write(file: Path, landmark: Landmark) -> None:
    """Put the landmark there, as a whole or not at all, and onto the disk. OSError."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(landmark))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(new, file)


def reconcile(connection: sqlite3.Connection, known: Landmark | None, *, now: float) -> str:
    """Compare the database with what is known of it. What is missing is noted in the database, and told.

    Counting goes on above all that was ever given: a job's number names what is kept of it, for good.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        loss = find_loss(connection, known)
        if loss is not None:
            row = (loss.through, loss.after, now, loss.text)
            connection.execute("INSERT OR REPLACE INTO loss (through, after, found_at, text) VALUES (?, ?, ?, ?)", row)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return "" if loss is None else loss.text


def find_loss(connection: sqlite3.Connection, known: Landmark | None) -> Loss | None:
    """What is missing from the database, if anything is."""
    head, jobs = reads.head(connection), reads.size(connection)
    if known is not None and known.database != reads.identity(connection):
        had = f"revision {known.revision} and {known.jobs} jobs"
        text = f"it is another database than the one that was here, which had {had}; this one has {jobs} jobs"
        return Loss(max(head, known.revision, _newest(connection)) + SKIPPED_REVISIONS, 0, text)
    if known is not None and known.revision > head:
        newest = _newest(connection)
        text = f"its log ends at revision {head}, it ended at {known.revision} or later; "
        text += f"it has {jobs} jobs, it had {known.jobs}"
        return Loss(max(known.revision, newest) + SKIPPED_REVISIONS, head, text)
    (last_number,) = connection.execute("SELECT ifnull(max(number), 0) FROM job").fetchone()
    newest = max(last_number, _newest(connection)) if known is None or last_number > head else 0
    if newest > head:
        text = f"its log ends at revision {head}, though jobs were changed later, up to revision {newest}"
        return Loss(newest + SKIPPED_REVISIONS, head, text)
    if known is not None and (missing := known.jobs + _growth(connection, known.revision) - jobs) > 0:
        return Loss(head, 0, f"{missing} jobs are missing without having been deleted; it has {jobs}")
    return None


def _newest(connection: sqlite3.Connection) -> int:
    """The newest revision that a job has. All jobs are looked at."""
    (revision,) = connection.execute("SELECT max(revision) FROM job WHERE typeof(revision) = 'integer'").fetchone()
    return int(revision or 0)


def _growth(connection: sqlite3.Connection, after: int) -> int:
    """How many jobs there are more since that revision, according to the log; at least, where it begins later."""
    (oldest,) = connection.execute("SELECT min(revision) FROM log").fetchone()
    if oldest is None or oldest > after + 1:
        return -reads.head(connection)
    (growth,) = connection.execute(
        "SELECT ifnull(sum((type = 'ADDED') - (type = 'DELETED')), 0) FROM log WHERE revision > ?", (after,)
    ).fetchone()
    return int(growth)


class LandmarkKeeper:
    """Writes the landmark of an open database, without keeping anybody waiting. Used on one event loop."""

    def __init__(self, file: Path, database: str) -> None:
        self._file = file
        self._database = database
        self._latest: Landmark | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_failing = False

    def note(self, revision: int, jobs: int) -> None:
        """The database has come that far."""
        self._latest = Landmark(self._database, revision, jobs)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._begin)

    async def close(self) -> None:
        """Write what was noted last."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.to_thread(self._write)

    def _begin(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write)

    def _write(self) -> None:
        if self._latest is None:
            return
        try:
            write(self._file, self._latest)
        except OSError as error:
            if not self._is_failing:
                logger.warning("%s cannot be written: a loss of jobs would not be noticed: %s", self._file, error)
            self._is_failing = True
        else:
            self._is_failing = False
