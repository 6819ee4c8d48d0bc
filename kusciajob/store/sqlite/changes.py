"""What the store changes, in SQL: synchronous, on a connection, free of threads and files."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec import MsgspecError
from msgspec.structs import replace

from kusciajob.model.errors import JobError, JobNotFound
from kusciajob.model.history import NO_NOTES, AuditEntry, Notes
from kusciajob.model.job import Traits
from kusciajob.model.status import EventType, Job, JobEvent, JobPhase, JobStatus, JobSummary
from kusciajob.store import common, listing, rows
from kusciajob.store.packing import pack_spec, pack_status
from kusciajob.store.sqlite import listing as lists
from kusciajob.store.sqlite import notes as kept_notes
from kusciajob.store.sqlite.reads import as_json, head, sound_total

_INSERT_EVENT = (
    "INSERT INTO log (revision, type, job_id, number, initiator, status, total, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class Transaction:
    """The changes of one transaction, which the caller begins and commits. `events` is what they add to the log.

    A change that raises anything but sqlite3.Error has written nothing, so that its neighbours can be committed: it
    encodes its values before the first write.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._head = head(connection)
        newest = connection.execute("SELECT total FROM log ORDER BY revision DESC LIMIT 1").fetchone()
        self._log_bytes = sound_total(newest[0]) if newest else 0
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
        encoded_task_ids = as_json(task_ids)
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
        task_ids = as_json([task.task_id for task in job.status.tasks])
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
        self._log_bytes += len(encoded_status) + common.LOG_ROW_BYTES
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
            (as_json(task_ids),),
        ).fetchone()
        # Held by no stored job: this one has it twice.
        return common.task_exists(*(row or (max(task_ids, key=task_ids.count), job_id)))
