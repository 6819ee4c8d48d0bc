"""What the store reads, in SQL: synchronous functions on a connection, free of threads and files."""

import sqlite3
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from msgspec.json import Encoder

from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, TaskNotFound
from kusciajob.model.job import JobSpec
from kusciajob.model.status import EventType, Job, JobEvent, JobSummary
from kusciajob.store import common, rows
from kusciajob.store.packing import plain

SMALL_SPEC_BYTES = 256 << 10
"""A larger specification, or one with large inputs, is not read on the event loop."""
READ_BYTES = 4 << 20
"""A list of jobs or events ends early when it takes more, stored."""

MOST_LOG_BYTES = 1 << 60
"""A total beyond it is damaged: nothing could be added to it for long."""

WHOLE_JOBS = (
    "SELECT job_id, initiator, number, revision, status, spec,"
    " EXISTS (SELECT 1 FROM input WHERE input.number = job.number), unfinished FROM job LEFT JOIN spec USING (number)"
)
"""Rows for `whole_job`."""

SUMMARIES = (
    "SELECT job_id, initiator, job.number, revision, traits, status"
    " FROM job LEFT JOIN listing ON listing.number = job.number"
)
"""Rows for `rows.summary`."""
EVENTS = (
    "SELECT log.revision, type, job_id, initiator, log.number, before,"
    " coalesce(listing.traits, departed.traits), status FROM log"
    " LEFT JOIN listing ON listing.number = log.number LEFT JOIN departed ON departed.number = log.number"
)
"""Rows for `rows.event`."""

_encode = Encoder().encode


def get(connection: sqlite3.Connection, job_id: str, note: rows.Note = rows.ignore) -> Job | JobSummary:
    """The whole job; where its specification takes long to read, all but that. JobNotFound, JobDamaged."""
    row = connection.execute(
        "SELECT job_id, initiator, number, revision, status, CASE WHEN is_large THEN NULL ELSE spec END, is_large FROM"
        " (SELECT job.*, spec, length(spec) > ? OR EXISTS (SELECT 1 FROM input WHERE input.number = job.number)"
        " AS is_large FROM job LEFT JOIN spec USING (number) WHERE job_id = ?)",
        (SMALL_SPEC_BYTES, job_id),
    ).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    *row, is_large = row
    return rows.sound_summary((*row[:-2], None, row[-2]), note) if is_large else rows.job(row, note)


def spec(connection: sqlite3.Connection, job: JobSummary, note: rows.Note = rows.ignore) -> JobSpec:
    """A job's specification, however large. It never changes. JobNotFound: deleted meanwhile; JobDamaged."""
    row = connection.execute(
        "SELECT spec FROM job LEFT JOIN spec USING (number) WHERE number = ?", (job.number,)
    ).fetchone()
    if row is None:
        raise JobNotFound(job.job_id)
    return rows.spec(row[0], _inputs(connection, job.number), job, note)


def whole_job(connection: sqlite3.Connection, row: Sequence[Any], note: rows.Note = rows.ignore) -> Job:
    """The job of a row of WHOLE_JOBS. JobDamaged."""
    return rows.job(row[:6], note, _inputs(connection, row[2]) if row[6] else ())


def unfinished(connection: sqlite3.Connection, note: rows.Note = rows.ignore) -> list[Job]:
    """All jobs that are not finished, oldest first, but damaged ones."""
    jobs = []
    for row in connection.execute(f"{WHOLE_JOBS} WHERE unfinished = 1 ORDER BY number").fetchall():
        with suppress(JobDamaged):
            jobs.append(whole_job(connection, row, note))
    return jobs


def summaries(
    connection: sqlite3.Connection, job_ids: Sequence[str], note: rows.Note = rows.ignore
) -> list[JobSummary]:
    """The jobs asked for, in that order. JobNotFound names all that are missing, JobDamaged all that are damaged."""
    read = connection.execute(
        f"{SUMMARIES} WHERE job_id IN (SELECT value FROM json_each(?))",  # noqa: S608  # our own texts
        (as_json(list(job_ids)),),
    ).fetchall()
    found = {row[0]: rows.summary(row, note) for row in read}
    missing = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in found]
    if missing:
        raise JobNotFound(*missing)
    if damaged := [job for job in found.values() if job.status.is_damaged]:
        raise JobDamaged(*damaged)
    return [found[job_id] for job_id in job_ids]


def page(connection: sqlite3.Connection, after: int, limit: int, note: rows.Note = rows.ignore) -> list[JobSummary]:
    """Up to `limit` jobs with a number above `after`, oldest first; at most READ_BYTES, but one.

    A damaged one has a status that says so.
    """
    read = connection.execute(f"{SUMMARIES} WHERE job.number > ? ORDER BY job.number LIMIT ?", (after, limit))
    return [rows.summary(row, note) for row in _within(read)]


def missing(connection: sqlite3.Connection, numbers: Collection[int]) -> set[int]:
    """Those of the numbers that no stored job has, and none that was lost."""
    found = connection.execute(
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM job WHERE number = value)"
        " AND NOT EXISTS (SELECT 1 FROM loss WHERE through >= value AND after < value)",
        (as_json(list(numbers)),),
    )
    return {number for (number,) in found}


def job_of_task(connection: sqlite3.Connection, task_id: str) -> str:
    """The id of the job that has this task. TaskNotFound."""
    row = connection.execute("SELECT job_id FROM task JOIN job USING (number) WHERE task_id = ?", (task_id,)).fetchone()
    if row is None:
        raise TaskNotFound(task_id)
    job_id: str = row[0]
    return job_id


def size(connection: sqlite3.Connection) -> int:
    """How many jobs are stored."""
    (count,) = connection.execute("SELECT count(*) FROM job").fetchone()
    return int(count)


def sizes(connection: sqlite3.Connection) -> dict[str, int]:
    """How many jobs are stored, by initiator; a damaged row may have anything there."""
    counts = connection.execute("SELECT initiator, count(*) FROM job GROUP BY initiator").fetchall()
    return {str(initiator): count for initiator, count in counts}


def identity(connection: sqlite3.Connection) -> str:
    """The store's id; empty where somebody has deleted it."""
    row = connection.execute("SELECT id FROM store").fetchone()
    return str(row[0]) if row else ""


def losses(connection: sqlite3.Connection) -> int:
    """How often changes were found missing."""
    (count,) = connection.execute("SELECT count(*) FROM loss").fetchone()
    return int(count)


def phases_told_after(connection: sqlite3.Connection) -> int:
    """See JobStore.phases_told_after."""
    row = connection.execute("SELECT phases_told_after FROM store").fetchone()
    return int(row[0]) if row and isinstance(row[0], int) else 0


def due(
    connection: sqlite3.Connection, column: Literal["deadline", "expires"], now: float, limit: int, note: rows.Note
) -> list[JobSummary]:
    """Up to `limit` jobs whose time of that kind has come."""
    query = f"{SUMMARIES} WHERE listing.{column} <= ? ORDER BY listing.{column} LIMIT ?"
    return [
        job
        for row in connection.execute(query, (now, limit))
        if not (job := _plain_summary(row, note)).status.is_damaged
    ]


def head(connection: sqlite3.Connection) -> int:
    """The newest revision, be it lost; 0 in an empty log."""
    (revision,) = connection.execute(
        "SELECT max(ifnull((SELECT max(revision) FROM log), 0), ifnull((SELECT max(through) FROM loss), 0))"
    ).fetchone()
    return int(revision)


def read_log(connection: sqlite3.Connection, after: int, limit: int, note: rows.Note = rows.ignore) -> list[JobEvent]:
    """Up to `limit` events with a revision above `after`, in order and without a gap; at most READ_BYTES, but one.

    Instead of a damaged one: an ERROR that says so, or what its job tells of it. LogTruncated.
    """
    cursor = connection.execute(f"{EVENTS} WHERE log.revision > ? ORDER BY log.revision LIMIT ?", (after, limit))
    read = list(_within(cursor))
    oldest = read[0][0] if read else head(connection) + 1
    if oldest > after + 1:
        raise common.log_truncated(after, oldest)
    # What follows a gap is left: who asks for it is told of the gap.
    return [_event(connection, row, note) for revision, row in enumerate(read, oldest) if row[0] == revision]


def log_excess(connection: sqlite3.Connection, max_bytes: int) -> int:
    """The last revision to forget so that the log takes no more than that; 0 where it does not."""
    first, last = connection.execute("SELECT min(revision), max(revision) FROM log").fetchone()

    def total(revision: int) -> int:
        row = connection.execute("SELECT total FROM log WHERE revision >= ? ORDER BY revision", (revision,)).fetchone()
        return sound_total(row[0])

    if not last or total(last) <= max_bytes:
        return 0
    most = total(last) - max_bytes
    excess = first - 1 + bisect_right(range(first, last), most, key=total)
    return int(excess) if excess >= first else 0


def as_json(values: Sequence[Any]) -> str:
    """For json_each."""
    # As text: json_each takes a BLOB for SQLite's own binary JSON, or refuses it.
    return _encode(values).decode()


def is_sound_total(total: Any) -> bool:
    """Whether that can be what an entry of the log tells of the log's size."""
    return isinstance(total, int) and 0 <= total <= MOST_LOG_BYTES


def sound_total(total: Any) -> int:
    """What an entry tells of the log's size; 0 where that cannot be."""
    return int(total) if is_sound_total(total) else 0


def _inputs(connection: sqlite3.Connection, number: int) -> list[tuple[Any, Any]]:
    return connection.execute("SELECT task, config FROM input WHERE number = ?", (number,)).fetchall()


def _within(read: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, of which the last column is a packed status, up to READ_BYTES; the first in any case."""
    size = 0
    for *others, packed in read:
        if size and size + _length(packed) > READ_BYTES:
            return
        status = plain(packed)
        size += _length(status)
        yield (*others, status)


def _plain_summary(row: tuple[Any, ...], note: rows.Note) -> JobSummary:
    *others, packed = row
    return rows.summary((*others, plain(packed)), note)


def _length(status: Any) -> int:
    return len(status) if isinstance(status, bytes | str) else 0


def _event(connection: sqlite3.Connection, row: tuple[Any, ...], note: rows.Note) -> JobEvent:
    try:
        return rows.event(row)
    except rows.Unreadable as error:
        note(rows.Damage("log", row[0], rows.text_of(row[2]), str(error)))
        return event_of_job(connection, row) or rows.damaged_event(row, str(error))


def event_of_job(connection: sqlite3.Connection, row: tuple[Any, ...]) -> JobEvent | None:
    """The event of a damaged row of the log if it is the last of its job: then the job's own row tells the same."""
    revision, kind, _, _, number, before, *_ = row
    if kind in (EventType.DELETED, EventType.ERROR):
        return None
    # An ERROR may have followed in the same commit.
    job = connection.execute(
        "SELECT job_id, initiator, job.number, traits, status FROM job LEFT JOIN listing USING (number)"
        " WHERE job.number = :number AND (revision = :revision"
        " OR revision = :revision + 1 AND (SELECT type FROM log WHERE revision = :revision + 1) = 'ERROR')",
        {"number": number, "revision": revision},
    ).fetchone()
    if job is None:
        return None
    try:
        job_id, initiator, number, traits, status = job
        kind = EventType.ADDED if number == revision else EventType.MODIFIED
        return rows.event((revision, kind, job_id, initiator, number, before, traits, status))
    except rows.Unreadable:
        return None
