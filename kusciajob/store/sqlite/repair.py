"""Finds every damaged row of a database, and sets them aside. For a database on which no server works."""

import sqlite3
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec

from kusciajob.model.damage import JobDamaged, damaged_status
from kusciajob.model.status import EventType, Job, JobEvent
from kusciajob.model.text import shown
from kusciajob.store import common, listing, rows
from kusciajob.store.packing import pack_status
from kusciajob.store.rows import Damage
from kusciajob.store.sqlite import listing as lists
from kusciajob.store.sqlite import notes, reads

# A task's id by its bytes, which may be no text.
_SELECT = {
    "job": "SELECT * FROM job WHERE number = ?",
    "spec": "SELECT * FROM spec WHERE number = ?",
    "task": "SELECT * FROM task WHERE CAST(task_id AS BLOB) = ?",
    "input": "SELECT * FROM input WHERE rowid = ?",
    "log": "SELECT * FROM log WHERE revision = ?",
    "history": "SELECT * FROM history WHERE id = ?",
    "attempt": "SELECT * FROM attempt WHERE id = ?",
    "audit": "SELECT * FROM audit WHERE id = ?",
    "departed": "SELECT * FROM departed WHERE revision = ?",
}
_DELETE = {
    "spec": "DELETE FROM spec WHERE number = ?",
    "input": "DELETE FROM input WHERE rowid = ?",
    "task": "DELETE FROM task WHERE CAST(task_id AS BLOB) = ?",
    "history": "DELETE FROM history WHERE id = ?",
    "attempt": "DELETE FROM attempt WHERE id = ?",
    "audit": "DELETE FROM audit WHERE id = ?",
    "departed": "DELETE FROM departed WHERE revision = ?",
}
_OF_A_JOB = ("spec", "input", "history", "attempt")
"""Tables whose rows belong to a job, by its number."""


class Remedy(Enum):
    """What puts an end to a damage."""

    REMOVE_JOB = auto()
    MARK_JOB = auto()
    ADD_TASK = auto()
    REMOVE_ROW = auto()
    REWRITE_EVENT = auto()
    COUNT_AGAIN = auto()
    LIST_AGAIN = auto()


class Found(NamedTuple):
    """A damaged row, and what is to be done."""

    damage: Damage
    remedy: Remedy
    number: int
    """Of the job that it belongs to; 0: none."""
    key: int | bytes
    """Of the row."""


def find(connection: sqlite3.Connection) -> Iterator[Found]:
    """Every row of every table that cannot be read or contradicts another. sqlite3.Error."""
    tasks: int = yield from _find_in_jobs(connection)
    for table in _OF_A_JOB:
        strays = f"SELECT rowid FROM {table} WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.number = {table}.number)"  # noqa: S608  # our own names
        for (rowid,) in connection.execute(strays):
            yield Found(Damage(table, rowid, "", "it belongs to no job"), Remedy.REMOVE_ROW, 0, rowid)
    yield from _find_in_lists(connection)
    yield from _find_in_tasks(connection, expected=tasks)
    yield from _find_in_log(connection)
    for damage in notes.damaged(connection):
        yield Found(damage, Remedy.REMOVE_ROW, 0, int(damage.key))


def set_aside(connection: sqlite3.Connection, *, now: float) -> Iterator[str]:
    """Put an end to all damage, in one transaction; tell of each row. What is removed is kept in the table `damaged`.

    A job that cannot be read is removed, and the log says that it was deleted: its id is free. sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        done: list[str] = []
        removed: set[int] = set()
        is_listed = True
        for found in list(find(connection)):
            if found.number not in removed:
                done.append(_apply(connection, found, now))
            if found.remedy is Remedy.REMOVE_JOB:
                removed.add(found.number)
            is_listed &= found.remedy not in {Remedy.LIST_AGAIN, Remedy.REMOVE_JOB}
        if done:
            _count_log(connection)
        if not is_listed:
            lists.fill(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    yield from done


def _find_in_jobs(connection: sqlite3.Connection) -> Generator[Found, None, int]:
    """Returns how many tasks the jobs have."""
    tasks = 0
    newest = 0.0
    for *row, unfinished in connection.execute(f"{reads.WHOLE_JOBS} ORDER BY number"):
        damages: list[Damage] = []
        try:
            job = reads.whole_job(connection, row, damages.append)
        except JobDamaged as error:
            (told,) = error.jobs
            tasks += len(told.status.tasks)
            yield from (Found(damage, Remedy.REMOVE_JOB, told.number, told.number) for damage in damages)
            continue
        tasks += len(job.status.tasks)
        if unfinished != job.status.is_unfinished:
            cause = f"it is {job.status.state} and kept as {'unfinished' if unfinished else 'finished'}"
            yield Found(Damage("job", job.number, job.job_id, cause), Remedy.MARK_JOB, job.number, job.number)
        newest, cause = _listed(connection, job, newest)
        if cause:
            yield Found(Damage("listing", job.number, job.job_id, cause), Remedy.LIST_AGAIN, job.number, job.number)
        for task in job.status.tasks:
            holder = connection.execute("SELECT number FROM task WHERE task_id = ?", (task.task_id,)).fetchone()
            if holder != (job.number,):
                cause = "it is missing" if holder is None else f"it names job number {holder[0]} as its job"
                damage = Damage("task", task.task_id, job.job_id, cause)
                yield Found(damage, Remedy.ADD_TASK, job.number, task.task_id.encode())
    return tasks


def _listed(connection: sqlite3.Connection, job: Job, newest: float) -> tuple[float, str]:
    """The largest time of creation so far, and what is wrong with how the job is listed, if anything is."""
    expected = listing.listed(job)
    row = connection.execute(
        "SELECT state, ended, deadline, expires, phase, traits, created, lag FROM listing WHERE number = ?",
        (job.number,),
    ).fetchone()
    if row is None:
        return newest, "it is missing"
    *told, created, lag = row
    if tuple(told) != tuple(expected.row):
        return newest, "it differs from its job"
    if not lists.is_time(created) or created < max(newest, expected.created_at):
        return newest, f"its time of creation is {created}"
    if lag != lists.lag(created, expected.created_at, expected.row.ended):
        return created, f"its lag is {lag}"
    is_complete = "SELECT count(*) = ? FROM facet WHERE number = ? AND facet IN (SELECT value FROM json_each(?))"
    values = (len(expected.facets), job.number, msgspec.json.encode(expected.facets).decode())
    return created, "" if connection.execute(is_complete, values).fetchone()[0] else "a facet of its job is missing"


def _find_in_lists(connection: sqlite3.Connection) -> Iterator[Found]:
    """What is listed of no job; a row too much of a job is found out by whoever reads it, and does no harm."""
    for table in ("listing", "facet"):
        strays = f"SELECT DISTINCT number FROM {table} WHERE number NOT IN (SELECT number FROM job)"  # noqa: S608  # our own names
        for (number,) in connection.execute(strays):
            yield Found(Damage(table, number, "", "it belongs to no job"), Remedy.LIST_AGAIN, 0, number)


def _find_in_tasks(connection: sqlite3.Connection, *, expected: int) -> Iterator[Found]:
    (count,) = connection.execute("SELECT count(*) FROM task").fetchone()
    # Those that belong to a job were looked for from there; only where there are others is each one looked at.
    if count == expected:
        return
    found = connection.execute(
        "SELECT CAST(task_id AS BLOB), job_id, initiator, job.number, revision, status"
        " FROM task LEFT JOIN job ON job.number = task.number"
    )
    for task_id, *row in found:
        if row[2] is None:
            damage = Damage("task", rows.text_of(task_id), "", "it belongs to no job")
            yield Found(damage, Remedy.REMOVE_ROW, 0, task_id)
            continue
        job = rows.summary((*row[:-1], None, row[-1]), rows.ignore)
        if not job.status.is_damaged and task_id not in {task.task_id.encode() for task in job.status.tasks}:
            damage = Damage("task", rows.text_of(task_id), job.job_id, "its job has no such task")
            yield Found(damage, Remedy.REMOVE_ROW, 0, task_id)


def _find_in_log(connection: sqlite3.Connection) -> Iterator[Found]:
    least = 0
    events = connection.execute(f"{reads.EVENTS} ORDER BY log.revision")
    totals = connection.execute("SELECT total FROM log ORDER BY revision")
    for row, (total,) in zip(events, totals, strict=True):
        revision, job_id = row[0], rows.text_of(row[2])
        try:
            rows.event(row)
        except rows.Unreadable as error:
            yield Found(Damage("log", revision, job_id, str(error)), Remedy.REWRITE_EVENT, 0, revision)
        if not reads.is_sound_total(total) or total < least:
            yield Found(Damage("log", revision, job_id, f"its total is {total}"), Remedy.COUNT_AGAIN, 0, revision)
        else:
            least = total


def _apply(connection: sqlite3.Connection, found: Found, now: float) -> str:
    damage, number = found.damage, found.number
    match found.remedy:
        case Remedy.REMOVE_JOB:
            _remove_job(connection, number, damage, now)
            return f"job {shown(damage.job_id)} (number {number}) is set aside, its id is free: {damage.cause}"
        case Remedy.MARK_JOB:
            connection.execute("UPDATE job SET unfinished = NOT unfinished WHERE number = ?", (number,))
            return f"mended: {damage}"
        case Remedy.ADD_TASK:
            _keep(connection, "task", found.key, damage.cause, now)
            connection.execute("INSERT OR REPLACE INTO task (task_id, number) VALUES (?, ?)", (damage.key, number))
            return f"mended: {damage}"
        case Remedy.REMOVE_ROW:
            _keep(connection, damage.table, found.key, damage.cause, now)
            connection.execute(_DELETE[damage.table], (found.key,))
            return f"set aside: {damage}"
        case Remedy.REWRITE_EVENT:
            _rewrite_event(connection, damage, now)
            return f"set aside, and replaced by what is known of it: {damage}"
        case Remedy.COUNT_AGAIN | Remedy.LIST_AGAIN:  # with all others, at the end
            return f"mended: {damage}"


def _remove_job(connection: sqlite3.Connection, number: int, damage: Damage, now: float) -> None:
    job_id, initiator = connection.execute("SELECT job_id, initiator FROM job WHERE number = ?", (number,)).fetchone()
    tasks = connection.execute("SELECT CAST(task_id AS BLOB) FROM task WHERE number = ?", (number,)).fetchall()
    _keep(connection, "job", number, damage.cause, now)
    for table in _OF_A_JOB:
        of_job = f"SELECT rowid FROM {table} WHERE number = ?"  # noqa: S608  # our own names
        for (rowid,) in connection.execute(of_job, (number,)).fetchall():
            _keep(connection, table, rowid, damage.cause, now)
    for (task_id,) in tasks:
        _keep(connection, "task", task_id, damage.cause, now)
    traits = connection.execute("SELECT traits FROM listing WHERE number = ?", (number,)).fetchone()
    connection.execute("DELETE FROM task WHERE number = ?", (number,))
    for table in ("job", *_OF_A_JOB):
        connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608  # our own names
    revision = reads.head(connection) + 1
    if traits is not None:
        row = (revision, number, *traits)
        connection.execute("INSERT INTO departed (revision, number, traits) VALUES (?, ?, ?)", row)
    connection.execute(
        "INSERT INTO log (revision, type, job_id, number, initiator, status) VALUES (?, 'DELETED', ?, ?, ?, ?)",
        (
            revision,
            _name(rows.text_of(job_id), number),
            number,
            rows.text_of(initiator),
            pack_status(damaged_status(f"{damage.cause}; it was set aside")),
        ),
    )


def _rewrite_event(connection: sqlite3.Connection, damage: Damage, now: float) -> None:
    row = connection.execute(f"{reads.EVENTS} WHERE log.revision = ?", (damage.key,)).fetchone()
    event: JobEvent = reads.event_of_job(connection, row) or rows.damaged_event(row, damage.cause)
    _keep(connection, "log", event.revision, damage.cause, now)
    connection.execute(
        "UPDATE log SET type = ?, job_id = ?, number = ?, initiator = ?, status = ?, before = ? WHERE revision = ?",
        (
            EventType(event.type).value,
            _name(event.job.job_id, event.job.number),
            event.job.number,
            event.job.initiator,
            pack_status(event.job.status),
            None if event.before is None else listing.phase_json(event.before),
            event.revision,
        ),
    )


def _count_log(connection: sqlite3.Connection) -> None:
    """What each entry tells of the size of the log, anew."""
    connection.execute(
        "UPDATE log SET total = counted.total FROM (SELECT revision,"
        " sum(length(CAST(status AS BLOB)) + ?) OVER (ORDER BY revision) AS total FROM log) AS counted"
        " WHERE counted.revision = log.revision",
        (common.LOG_ROW_BYTES,),
    )


def _name(job_id: str, number: int) -> str:
    """The job's id as far as it can be told, in a form that can be read again."""
    return job_id.replace(rows.UNDECODABLE, "?") or f"number-{number}"


def _keep(connection: sqlite3.Connection, table: str, key: int | bytes, cause: str, now: float) -> None:
    """Copy a row to the table `damaged`, byte by byte."""
    text_factory, connection.text_factory = connection.text_factory, bytes
    try:
        cursor = connection.execute(_SELECT[table], (key,))
        row = cursor.fetchone()
    finally:
        connection.text_factory = text_factory
    if row is None:
        return
    names = [column[0] for column in cursor.description]
    content = {name: _jsonable(value) for name, value in zip(names, row, strict=True)}
    connection.execute(
        "INSERT INTO damaged (set_aside_at, origin, cause, content) VALUES (?, ?, ?, ?)",
        (now, table, cause, msgspec.json.encode(content).decode()),
    )


def _jsonable(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
