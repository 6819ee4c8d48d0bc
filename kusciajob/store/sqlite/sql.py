"""What the store's operations mean in SQL: synchronous functions on a connection, free of threads and files."""

import sqlite3
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from msgspec import MsgspecError
from msgspec.json import Encoder
from msgspec.structs import replace

from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobError, JobNotFound, TaskNotFound
from kusciajob.model.history import NO_NOTES, AuditEntry, Notes
from kusciajob.model.job import JobSpec, Traits
from kusciajob.model.status import EventType, Job, JobEvent, JobPhase, JobStatus, JobSummary
from kusciajob.store import common, listing, rows
from kusciajob.store.packing import pack_spec, pack_status, plain
from kusciajob.store.sqlite import listing as lists
from kusciajob.store.sqlite import notes as kept_notes

SMALL_SPEC_BYTES = 256 << 10
"""A larger specification, or one with large inputs, is not read on the event loop."""
READ_BYTES = 4 << 20
"""A list of jobs or events ends early when it takes more, stored."""

LOG_ROW_BYTES = 64
"""What an entry of the log takes beside its status, roughly."""
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

_INSERT_EVENT = (
    "INSERT INTO log (revision, type, job_id, number, initiator, status, total, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

_encode = Encoder().encode


class Transaction:
    """The changes of one transaction, which the caller begins and commits. `events` is what they add to the log.

    A change that raises anything but sqlite3.Error has written nothing, so that its neighbours can be committed: it
    encodes its values before the first write.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._head = head(connection)
        newest = connection.execute("SELECT total FROM log ORDER BY revision DESC LIMIT 1").fetchone()
        self._log_bytes = _sound_total(newest[0]) if newest else 0
        # What nothing reads in between is written together: for each table that takes half as long.
        self._listed: list[tuple[int, listing.Listed]] = []
        self._logged: list[tuple[Any, ...]] = []
        self._notes: list[tuple[int, kept_notes.Encoded]] = []
        self.events: list[JobEvent] = []

    def create(self, job: Job, notes: Notes = NO_NOTES) -> Job:
        """JobExists, TaskExists."""
        (spec, inputs), status = pack_spec(job.spec), pack_status(job.status)
        listed = listing.listed(job)
        encoded_notes = kept_notes.encoded(notes, self._head + 1)
        task_ids = [task.task_id for task in job.status.tasks]
        encoded_task_ids = _json(task_ids)
        number = self._head + 1
        try:
            self._connection.execute(
                "INSERT INTO job (number, job_id, revision, unfinished, initiator, status) VALUES (?, ?, ?, ?, ?, ?)",
                (number, job.job_id, number, job.status.is_unfinished, job.spec.initiator, status),
            )
        except sqlite3.IntegrityError:
            raise common.job_exists(job.job_id) from None
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
        self._listed.append((number, listed))
        self._notes.append((number, encoded_notes))
        created = replace(job, number=number, revision=number)
        self._log(EventType.ADDED, created, job.status, status, traits=job.spec.traits)
        return created

    def replace(self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES) -> Job:
        """StaleJob, JobNotFound."""
        self._list_new()
        shown = [(EventType.MODIFIED, status, pack_status(status)) for status in (*passed, job.status)]
        encoded = shown[-1][-1]
        if fault:
            faulty = common.with_fault(job.status, fault)
            shown.append((EventType.ERROR, faulty, pack_status(faulty)))
        phase = listing.phase_json(job.status.phase)
        revision = self._head + len(shown)
        encoded_notes = kept_notes.encoded(notes, revision)
        stored = self._connection.execute(lists.STORED, (job.number,)).fetchone()
        before = self._phase_before(job, stored)
        updated = self._connection.execute(
            "UPDATE job SET revision = ?, unfinished = ?, status = ? WHERE number = ? AND revision = ?",
            (revision, job.status.is_unfinished, encoded, job.number, job.revision),
        )
        if not updated.rowcount:
            raise self._refusal(job)
        if stored is not None:
            lists.update(self._connection, job, phase, stored)
        self._notes.append((job.number, encoded_notes))
        for kind, status, encoded_status in shown:
            told = None if before == status.phase else before
            self._log(kind, job, status, encoded_status, traits=job.spec.traits, before=told)
            before = status.phase
        return replace(job, revision=revision)

    def delete(self, job: Job | JobSummary, notes: Notes = NO_NOTES) -> int:
        """StaleJob, JobNotFound."""
        self.finish()
        status = pack_status(job.status)
        encoded_notes = kept_notes.encoded(Notes(audit=notes.audit), 0)
        traits = job.traits if isinstance(job, JobSummary) else job.spec.traits
        stored = self._connection.execute("SELECT traits FROM listing WHERE number = ?", (job.number,)).fetchone()
        with suppress(MsgspecError, ValueError, TypeError):
            traits = traits if stored is None else listing.traits_of(stored[0])
        task_ids = _json([task.task_id for task in job.status.tasks])
        # The revision of a job that is damaged may be so too; nobody changes such a job.
        deleted = self._connection.execute(
            "DELETE FROM job WHERE number = ? AND (revision = ? OR ?)",
            (job.number, job.revision, job.status.is_damaged),
        )
        if not deleted.rowcount:
            raise self._refusal(job)
        self._connection.execute("DELETE FROM spec WHERE number = ?", (job.number,))
        self._connection.execute("DELETE FROM input WHERE number = ?", (job.number,))
        if job.status.is_damaged:  # all of the table is looked at
            self._connection.execute("DELETE FROM task WHERE number = ?", (job.number,))
        else:
            self._connection.execute("DELETE FROM task WHERE task_id IN (SELECT value FROM json_each(?))", (task_ids,))
        known = None if job.status.is_damaged else listing.facets(job.status.domains, traits)
        lists.remove(self._connection, job.number, known)
        kept_notes.remove(self._connection, job.number)
        self._notes.append((job.number, encoded_notes))
        self._log(EventType.DELETED, job, job.status, status, traits=traits)
        self._connection.execute(
            "INSERT INTO departed (revision, number, traits) VALUES (?, ?, ?)",
            (self._head, job.number, listing.traits_json(traits)),
        )
        return self._head

    def finish(self) -> None:
        """Write what is not yet written. Comes before the commit."""
        self._list_new()
        if self._logged:
            self._connection.executemany(_INSERT_EVENT, self._logged)
            self._logged = []
        if self._notes:
            kept_notes.write(self._connection, self._notes)
            self._notes = []

    def _list_new(self) -> None:
        if self._listed:
            lists.add(self._connection, self._listed)
            self._listed = []

    def touch(self) -> None:
        """Write a page as it is: a transaction without a write would not notice a full disk."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        self._connection.execute(f"PRAGMA user_version = {version}")

    def truncate_log(self, through: int, *, limit: int) -> tuple[int, bool]:
        """Forget up to `limit` of the oldest events; return the last revision forgotten and whether that was all."""
        self.finish()
        (oldest,) = self._connection.execute("SELECT min(revision) FROM log").fetchone()
        last = min(through, self._head - 1)
        forgotten = last if oldest is None else min(last, oldest + limit - 1)  # all is forgotten after a loss
        self._connection.execute("DELETE FROM log WHERE revision <= ?", (forgotten,))
        self._connection.execute("DELETE FROM departed WHERE revision <= ?", (forgotten,))
        return forgotten, forgotten == last

    def note(self, entry: AuditEntry) -> None:
        """Keep an audit entry."""
        self.finish()
        kept_notes.note(self._connection, entry)

    def forget_audit(self, before: float, keep: int, *, limit: int) -> bool:
        """Drop some of the audit entries; return whether those were all."""
        self.finish()
        return kept_notes.forget_audit(self._connection, before, keep, limit)

    def put_app_image(self, name: str, definition: bytes | None, notes: Notes) -> None:
        """Store or remove an AppImage."""
        self.finish()
        kept_notes.put_app_image(self._connection, name, definition, notes)

    def _phase_before(self, job: Job, stored: tuple[Any, ...] | None) -> JobPhase | None:
        """The phase before the change, None if it is lost. A damaged listing does not know it: the job does."""
        try:
            if stored is not None:
                return listing.phase_of(stored[0])
        except (MsgspecError, ValueError, TypeError):
            pass
        row = self._connection.execute("SELECT status FROM job WHERE number = ?", (job.number,)).fetchone()
        try:
            return None if row is None else rows.status_of(row[0]).phase
        except rows.Unreadable:
            return None

    def _log(
        self,
        kind: EventType,
        job: Job | JobSummary,
        status: JobStatus,
        encoded_status: bytes,
        *,
        traits: Traits,
        before: JobPhase | None = None,
    ) -> None:
        self._head += 1
        self._log_bytes += len(encoded_status) + LOG_ROW_BYTES
        event = common.entry(kind, job, revision=self._head, status=status, traits=traits, before=before)
        row = (
            self._head,
            kind.value,
            job.job_id,
            job.number,
            event.job.initiator,
            encoded_status,
            self._log_bytes,
            None if before is None else listing.phase_json(before),
        )
        self._logged.append(row)
        self.events.append(event)

    def _refusal(self, job: Job | JobSummary) -> JobError:
        row = self._connection.execute("SELECT revision FROM job WHERE number = ?", (job.number,)).fetchone()
        return common.stale_job(job.job_id, job.revision, row[0]) if row else JobNotFound(job.job_id)

    def _task_exists(self, job_id: str, task_ids: list[str]) -> JobError:
        row = self._connection.execute(
            "SELECT task_id, job_id FROM json_each(?) JOIN task ON task_id = value JOIN job USING (number) LIMIT 1",
            (_json(task_ids),),
        ).fetchone()
        # Held by no stored job: this one has it twice.
        return common.task_exists(*(row or (max(task_ids, key=task_ids.count), job_id)))


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
        (_json(list(job_ids)),),
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
        (_json(list(numbers)),),
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
        return _sound_total(row[0])

    if not last or total(last) <= max_bytes:
        return 0
    most = total(last) - max_bytes
    excess = first - 1 + bisect_right(range(first, last), most, key=total)
    return int(excess) if excess >= first else 0


def _json(values: Sequence[Any]) -> str:
    # As text: json_each takes a BLOB for SQLite's own binary JSON, or refuses it.
    return _encode(values).decode()


def is_sound_total(total: Any) -> bool:
    """Whether that can be what an entry of the log tells of the log's size."""
    return isinstance(total, int) and 0 <= total <= MOST_LOG_BYTES


def _sound_total(total: Any) -> int:
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
