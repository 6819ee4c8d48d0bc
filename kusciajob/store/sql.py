"""What the store's operations mean in SQL: synchronous functions on a connection, free of threads and files."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from kusciajob.model.errors import JobError, JobNotFound, TaskNotFound
from kusciajob.model.job import JobSpec
from kusciajob.model.status import EventType, Job, JobEvent, JobStatus, JobSummary
from kusciajob.store import entries

_encode = Encoder().encode
_decode_spec = Decoder(JobSpec).decode
_decode_status = Decoder(JobStatus).decode


class Transaction:
    """The changes of one transaction, which the caller begins and commits. `events` is what they add to the log.

    A change that raises anything but sqlite3.Error has written nothing, so that its neighbours can be committed: it
    encodes its values before the first write.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._head = head(connection)
        self.events: list[JobEvent] = []

    def create(self, job: Job) -> Job:
        """JobExists."""
        spec, status = _encode(job.spec), _encode(job.status)
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
        created = replace(job, number=number, revision=number)
        self._log(EventType.ADDED, created, job.status, status)
        return created

    def replace(self, job: Job, *, fault: str) -> Job:
        """StaleJob, JobNotFound."""
        shown = [(EventType.MODIFIED, job.status)]
        if fault:
            shown.append((EventType.ERROR, entries.with_fault(job.status, fault)))
        encoded = [_encode(status) for _, status in shown]
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
        status = _encode(job.status)
        task_ids = _json([task.task_id for task in job.status.tasks])
        deleted = self._connection.execute(
            "DELETE FROM job WHERE number = ? AND revision = ?", (job.number, job.revision)
        )
        if not deleted.rowcount:
            raise self._refusal(job)
        self._connection.execute("DELETE FROM spec WHERE number = ?", (job.number,))
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
        self._connection.execute(
            "INSERT INTO log (revision, type, job_id, number, initiator, status) VALUES (?, ?, ?, ?, ?, ?)",
            (self._head, kind.value, job.job_id, job.number, job.spec.initiator, encoded_status),
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


def get(connection: sqlite3.Connection, job_id: str) -> Job:
    """The whole job. JobNotFound."""
    row = connection.execute(
        "SELECT spec, status, number, revision FROM job JOIN spec USING (number) WHERE job_id = ?", (job_id,)
    ).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return _job(row)


def unfinished(connection: sqlite3.Connection) -> list[Job]:
    """All jobs that are not finished, oldest first."""
    rows = connection.execute(
        "SELECT spec, status, number, revision FROM job JOIN spec USING (number) WHERE unfinished = 1 ORDER BY number"
    )
    return [_job(row) for row in rows]


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
    """Up to `limit` jobs with a number above `after`, oldest first."""
    rows = connection.execute(
        "SELECT job_id, initiator, number, revision, status FROM job WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    ).fetchall()
    return [_summary(row) for row in rows]


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
    """Up to `limit` events with a revision above `after`, in order. LogTruncated."""
    rows = connection.execute(
        "SELECT revision, type, job_id, initiator, number, status FROM log"
        " WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, limit),
    ).fetchall()
    if rows and rows[0][0] > after + 1:
        raise entries.log_truncated(after, rows[0][0])
    return [_event(row) for row in rows]


def _json(values: Sequence[Any]) -> str:
    # As text: json_each takes a BLOB for SQLite's own binary JSON, or refuses it.
    return _encode(values).decode()


def _job(row: tuple[bytes, bytes, int, int]) -> Job:
    spec, status, number, revision = row
    return Job(_decode_spec(spec), _decode_status(status), number, revision)


def _summary(row: tuple[str, str, int, int, bytes]) -> JobSummary:
    job_id, initiator, number, revision, status = row
    return JobSummary(job_id, initiator, number, revision, _decode_status(status))


def _event(row: tuple[int, str, str, str, int, bytes]) -> JobEvent:
    revision, kind, job_id, initiator, number, status = row
    return JobEvent(revision, EventType(kind), _summary((job_id, initiator, number, revision, status)))
