"""What the store's operations mean in SQL: synchronous functions on a connection, free of threads and files."""

import sqlite3
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from msgspec.json import Encoder
from msgspec.structs import replace

from kusciajob.model.errors import JobError, JobNotFound, TaskNotFound
from kusciajob.model.job import JobSpec
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus, JobSummary
from kusciajob.store import entries
from kusciajob.store.packing import pack_spec, pack_status, plain, unpack_spec, unpack_status

SMALL_SPEC_BYTES = 256 << 10
"""A larger specification, or one with large inputs, is not read on the event loop."""
READ_BYTES = 4 << 20
"""A list of jobs or events ends early when it takes more, stored."""

LOG_ROW_BYTES = 64
"""What an entry of the log takes beside its status, roughly."""

_encode = Encoder().encode


class Transaction:
    """The changes of one transaction, which the caller begins and commits. `events` is what they add to the log.

    A change that raises anything but sqlite3.Error has written nothing, so that its neighbours can be committed: it
    encodes its values before the first write.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        newest = connection.execute("SELECT revision, total FROM log ORDER BY revision DESC LIMIT 1").fetchone()
        self._head: int = newest[0] if newest else 0
        self._log_bytes: int = newest[1] if newest else 0
        self.events: list[JobEvent] = []

    def create(self, job: Job) -> Job:
        """JobExists, TaskExists."""
        (spec, inputs), status = pack_spec(job.spec), pack_status(job.status)
        task_ids = [task.task_id for task in job.status.tasks]
        encoded_task_ids = _json(task_ids)
        number = self._head + 1
        try:
            self._connection.execute(
                "INSERT INTO job (number, job_id, revision, unfinished, initiator, status) VALUES (?, ?, ?, ?, ?, ?)",
                (number, job.job_id, number, job.status.is_unfinished, job.spec.initiator, status),
            )
        except sqlite3.IntegrityError:
            raise entries.job_exists(job.job_id) from None
        try:
            self._connection.execute(
                "INSERT INTO task (task_id, number) SELECT value, ? FROM json_each(?)", (number, encoded_task_ids)
            )
        except sqlite3.IntegrityError:
            self._connection.execute("DELETE FROM job WHERE number = ?", (number,))
            raise self._task_exists(job.job_id, task_ids) from None
        self._connection.execute("INSERT INTO spec (number, spec) VALUES (?, ?)", (number, spec))
        for index, config in inputs.items():
            self._connection.execute(
                "INSERT INTO input (number, task, config) VALUES (?, ?, ?)", (number, index, config)
            )
        created = replace(job, number=number, revision=number)
        self._log(EventType.ADDED, created, job.status, status)
        return created

    def replace(self, job: Job, *, fault: str) -> Job:
        """StaleJob, JobNotFound."""
        shown = [(EventType.MODIFIED, job.status)]
        if fault:
            shown.append((EventType.ERROR, entries.with_fault(job.status, fault)))
        encoded = [pack_status(status) for _, status in shown]
        revision = self._head + len(shown)
        updated = self._connection.execute(
            "UPDATE job SET revision = ?, unfinished = ?, status = ? WHERE number = ? AND revision = ?",
            (revision, job.status.is_unfinished, encoded[0], job.number, job.revision),
        )
        if not updated.rowcount:
            raise self._refusal(job)
        for (kind, status), encoded_status in zip(shown, encoded, strict=True):
            self._log(kind, job, status, encoded_status)
        return replace(job, revision=revision)

    def delete(self, job: Job) -> int:
        """StaleJob, JobNotFound."""
        status = pack_status(job.status)
        task_ids = _json([task.task_id for task in job.status.tasks])
        deleted = self._connection.execute(
            "DELETE FROM job WHERE number = ? AND revision = ?", (job.number, job.revision)
        )
        if not deleted.rowcount:
            raise self._refusal(job)
        self._connection.execute("DELETE FROM spec WHERE number = ?", (job.number,))
        self._connection.execute("DELETE FROM input WHERE number = ?", (job.number,))
        self._connection.execute("DELETE FROM task WHERE task_id IN (SELECT value FROM json_each(?))", (task_ids,))
        self._log(EventType.DELETED, job, job.status, status)
        return self._head

    def touch(self) -> None:
        """Write a page as it is: a transaction without a write would not notice a full disk."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        self._connection.execute(f"PRAGMA user_version = {version}")

    def truncate_log(self, through: int, *, limit: int) -> tuple[int, bool]:
        """Forget up to `limit` of the oldest events; return the last revision forgotten and whether that was all."""
        (oldest,) = self._connection.execute("SELECT min(revision) FROM log").fetchone()
        last = min(through, self._head - 1)
        forgotten = min(last, (oldest or 0) + limit - 1)
        self._connection.execute("DELETE FROM log WHERE revision <= ?", (forgotten,))
        return forgotten, forgotten == last

    def _log(self, kind: EventType, job: Job, status: JobStatus, encoded_status: bytes) -> None:
        self._head += 1
        self._log_bytes += len(encoded_status) + LOG_ROW_BYTES
        self._connection.execute(
            "INSERT INTO log (revision, type, job_id, number, initiator, status, total) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._head, kind.value, job.job_id, job.number, job.spec.initiator, encoded_status, self._log_bytes),
        )
        self.events.append(entries.entry(kind, job, revision=self._head, status=status))

    def _refusal(self, job: Job) -> JobError:
        row = self._connection.execute("SELECT revision FROM job WHERE number = ?", (job.number,)).fetchone()
        return entries.stale_job(job, row[0]) if row else JobNotFound(job.job_id)

    def _task_exists(self, job_id: str, task_ids: list[str]) -> JobError:
        row = self._connection.execute(
            "SELECT task_id, job_id FROM json_each(?) JOIN task ON task_id = value JOIN job USING (number) LIMIT 1",
            (_json(task_ids),),
        ).fetchone()
        # Held by no stored job: this one has it twice.
        return entries.task_exists(*(row or (max(task_ids, key=task_ids.count), job_id)))


def get(connection: sqlite3.Connection, job_id: str) -> tuple[JobSpec | None, JobStatus, int, int]:
    """What a job is made of; the specification is None where it takes long to read. JobNotFound."""
    row = connection.execute(
        "SELECT CASE WHEN length(spec) <= ? AND NOT EXISTS (SELECT 1 FROM input WHERE input.number = job.number)"
        " THEN spec END, status, number, revision FROM job JOIN spec USING (number) WHERE job_id = ?",
        (SMALL_SPEC_BYTES, job_id),
    ).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    spec, status, number, revision = row
    return None if spec is None else unpack_spec(spec), unpack_status(status), number, revision


def spec(connection: sqlite3.Connection, number: int) -> JobSpec | None:
    """A job's specification, however large; None where there is no such job. It never changes."""
    row = connection.execute("SELECT spec FROM spec WHERE number = ?", (number,)).fetchone()
    return unpack_spec(row[0], _inputs(connection, number)) if row else None


def unfinished(connection: sqlite3.Connection) -> list[Job]:
    """All jobs that are not finished, oldest first."""
    rows = connection.execute(
        "SELECT spec, status, number, revision, EXISTS (SELECT 1 FROM input WHERE input.number = job.number)"
        " FROM job JOIN spec USING (number) WHERE unfinished = 1 ORDER BY number"
    ).fetchall()
    return [_job(row[:4], _inputs(connection, row[2]) if row[4] else ()) for row in rows]


def summaries(connection: sqlite3.Connection, job_ids: Sequence[str]) -> list[JobSummary]:
    """The jobs asked for, in that order. JobNotFound names all that are missing."""
    rows = connection.execute(
        "SELECT job_id, initiator, number, revision, status FROM job WHERE job_id IN (SELECT value FROM json_each(?))",
        (_json(list(job_ids)),),
    ).fetchall()
    found = {row[0]: _summary(row) for row in rows}
    missing = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in found]
    if missing:
        raise JobNotFound(*missing)
    return [found[job_id] for job_id in job_ids]


def page(connection: sqlite3.Connection, after: int, limit: int) -> list[JobSummary]:
    """Up to `limit` jobs with a number above `after`, oldest first; at most READ_BYTES, but one."""
    rows = connection.execute(
        "SELECT job_id, initiator, number, revision, status FROM job WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    )
    return list(map(_summary, _within(rows)))


def missing(connection: sqlite3.Connection, numbers: Collection[int]) -> set[int]:
    """Those of the numbers that no stored job has."""
    rows = connection.execute(
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM job WHERE number = value)",
        (_json(list(numbers)),),
    )
    return {number for (number,) in rows}


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
    """How many jobs are stored, by initiator."""
    return dict(connection.execute("SELECT initiator, count(*) FROM job GROUP BY initiator").fetchall())


def head(connection: sqlite3.Connection) -> int:
    """The newest revision; 0 in an empty log."""
    (revision,) = connection.execute("SELECT max(revision) FROM log").fetchone()
    return revision or 0


def read_log(connection: sqlite3.Connection, after: int, limit: int) -> list[JobEvent]:
    """Up to `limit` events with a revision above `after`, in order; at most READ_BYTES, but one. LogTruncated."""
    rows = connection.execute(
        "SELECT revision, type, job_id, initiator, number, status FROM log"
        " WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, limit),
    )
    events = list(map(_event, _within(rows)))
    if events and events[0].revision > after + 1:
        raise entries.log_truncated(after, events[0].revision)
    return events


def log_excess(connection: sqlite3.Connection, max_bytes: int) -> int:
    """The last revision to forget so that the log takes no more than that; 0 where it does not."""
    first, last = connection.execute("SELECT min(revision), max(revision) FROM log").fetchone()

    def total(revision: int) -> int:
        row = connection.execute("SELECT total FROM log WHERE revision >= ? ORDER BY revision", (revision,)).fetchone()
        return int(row[0])

    if not last or total(last) <= max_bytes:
        return 0
    most = total(last) - max_bytes
    excess = first - 1 + bisect_right(range(first, last), most, key=total)
    return int(excess) if excess >= first else 0


def _json(values: Sequence[Any]) -> str:
    # As text: json_each takes a BLOB for SQLite's own binary JSON, or refuses it.
    return _encode(values).decode()


def _inputs(connection: sqlite3.Connection, number: int) -> list[tuple[int, bytes]]:
    return connection.execute("SELECT task, config FROM input WHERE number = ?", (number,)).fetchall()


def _within(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows, of which the last column is a packed status, up to READ_BYTES; the first in any case."""
    size = 0
    for row in rows:
        if size and size + len(row[-1]) > READ_BYTES:
            return
        *others, status = row
        status = plain(status)
        size += len(status)
        yield (*others, status)


def _job(row: tuple[bytes, bytes, int, int], inputs: Sequence[tuple[int, bytes]] = ()) -> Job:
    spec, status, number, revision = row
    return Job(unpack_spec(spec, inputs), unpack_status(status), number, revision)


def _summary(row: tuple[str, str, int, int, bytes]) -> JobSummary:
    job_id, initiator, number, revision, status = row
    return JobSummary(job_id, initiator, number, revision, unpack_status(status))


def _event(row: tuple[int, str, str, str, int, bytes]) -> JobEvent:
    revision, kind, job_id, initiator, number, status = row
    return JobEvent(revision, EventType(kind), _summary((job_id, initiator, number, revision, status)))
