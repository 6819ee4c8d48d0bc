"""Finds every damaged row of a database, and sets them aside. For a database on which no server works."""

import sqlite3
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec

from kusciajob.model.damage import JobDamaged, damaged_status
from kusciajob.model.status import EventType, JobEvent
from kusciajob.model.text import shown
from kusciajob.store.sqlite import rows, sql
from kusciajob.store.sqlite.packing import pack_status
from kusciajob.store.sqlite.rows import Damage

# A task's id by its bytes, which may be no text.
_SELECT = {
    "job": "SELECT * FROM job WHERE number = ?",
    "spec": "SELECT * FROM spec WHERE number = ?",
    "task": "SELECT * FROM task WHERE CAST(task_id AS BLOB) = ?",
    "input": "SELECT * FROM input WHERE rowid = ?",
    "log": "SELECT * FROM log WHERE revision = ?",
}
_DELETE = {
    "spec": "DELETE FROM spec WHERE number = ?",
    "input": "DELETE FROM input WHERE rowid = ?",
    "task": "DELETE FROM task WHERE CAST(task_id AS BLOB) = ?",
}


class Remedy(Enum):
    """What puts an end to a damage."""

    REMOVE_JOB = auto()
    MARK_JOB = auto()
    ADD_TASK = auto()
    REMOVE_ROW = auto()
    REWRITE_EVENT = auto()
    COUNT_AGAIN = auto()


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
    for (number,) in connection.execute("SELECT number FROM spec WHERE number NOT IN (SELECT number FROM job)"):
        yield Found(Damage("spec", number, "", "it belongs to no job"), Remedy.REMOVE_ROW, 0, number)
    inputs = "SELECT rowid FROM input WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.number = input.number)"
    for (rowid,) in connection.execute(inputs):
        yield Found(Damage("input", rowid, "", "it belongs to no job"), Remedy.REMOVE_ROW, 0, rowid)
    yield from _find_in_tasks(connection, expected=tasks)
    yield from _find_in_log(connection)


def set_aside(connection: sqlite3.Connection, *, now: float) -> Iterator[str]:
    """Put an end to all damage, in one transaction; tell of each row. What is removed is kept in the table `damaged`.

    A job that cannot be read is removed, and the log says that it was deleted: its id is free. sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        done: list[str] = []
        removed: set[int] = set()
        for found in list(find(connection)):
            if found.number not in removed:
                done.append(_apply(connection, found, now))
            if found.remedy is Remedy.REMOVE_JOB:
                removed.add(found.number)
        if done:
            _count_log(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    yield from done


def _find_in_jobs(connection: sqlite3.Connection) -> Generator[Found, None, int]:
    """Returns how many tasks the jobs have."""
    tasks = 0
    for *row, unfinished in connection.execute(sql.WHOLE_JOBS):
        damages: list[Damage] = []
        try:
            job = sql.whole_job(connection, row, damages.append)
        except JobDamaged as error:
            (told,) = error.jobs
            tasks += len(told.status.tasks)
            yield from (Found(damage, Remedy.REMOVE_JOB, told.number, told.number) for damage in damages)
            continue
        tasks += len(job.status.tasks)
        if unfinished != job.status.is_unfinished:
            cause = f"it is {job.status.state} and kept as {'unfinished' if unfinished else 'finished'}"
            yield Found(Damage("job", job.number, job.job_id, cause), Remedy.MARK_JOB, job.number, job.number)
        for task in job.status.tasks:
            holder = connection.execute("SELECT number FROM task WHERE task_id = ?", (task.task_id,)).fetchone()
            if holder != (job.number,):
                cause = "it is missing" if holder is None else f"it names job number {holder[0]} as its job"
                damage = Damage("task", task.task_id, job.job_id, cause)
                yield Found(damage, Remedy.ADD_TASK, job.number, task.task_id.encode())
    return tasks


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
        job = rows.summary(tuple(row), rows.ignore)
        if not job.status.is_damaged and task_id not in {task.task_id.encode() for task in job.status.tasks}:
            damage = Damage("task", rows.text_of(task_id), job.job_id, "its job has no such task")
            yield Found(damage, Remedy.REMOVE_ROW, 0, task_id)


def _find_in_log(connection: sqlite3.Connection) -> Iterator[Found]:
    least = 0
    cursor = connection.execute("SELECT revision, type, job_id, initiator, number, status, total FROM log")
    for *row, total in cursor:
        revision, job_id = row[0], rows.text_of(row[2])
        try:
            rows.event(row)
        except rows.Unreadable as error:
            yield Found(Damage("log", revision, job_id, str(error)), Remedy.REWRITE_EVENT, 0, revision)
        if not sql.is_sound_total(total) or total < least:
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
        case Remedy.COUNT_AGAIN:  # with all others, at the end
            return f"mended: {damage}"


def _remove_job(connection: sqlite3.Connection, number: int, damage: Damage, now: float) -> None:
    job_id, initiator = connection.execute("SELECT job_id, initiator FROM job WHERE number = ?", (number,)).fetchone()
    tasks = connection.execute("SELECT CAST(task_id AS BLOB) FROM task WHERE number = ?", (number,)).fetchall()
    _keep(connection, "job", number, damage.cause, now)
    _keep(connection, "spec", number, damage.cause, now)
    for (rowid,) in connection.execute("SELECT rowid FROM input WHERE number = ?", (number,)).fetchall():
        _keep(connection, "input", rowid, damage.cause, now)
    for (task_id,) in tasks:
        _keep(connection, "task", task_id, damage.cause, now)
    connection.execute("DELETE FROM job WHERE number = ?", (number,))
    connection.execute("DELETE FROM spec WHERE number = ?", (number,))
    connection.execute("DELETE FROM input WHERE number = ?", (number,))
    connection.execute("DELETE FROM task WHERE number = ?", (number,))
    connection.execute(
        "INSERT INTO log (revision, type, job_id, number, initiator, status) VALUES (?, 'DELETED', ?, ?, ?, ?)",
        (
            sql.head(connection) + 1,
            _name(rows.text_of(job_id), number),
            number,
            rows.text_of(initiator),
            pack_status(damaged_status(f"{damage.cause}; it was set aside")),
        ),
    )


def _rewrite_event(connection: sqlite3.Connection, damage: Damage, now: float) -> None:
    row = connection.execute(
        "SELECT revision, type, job_id, initiator, number, status FROM log WHERE revision = ?", (damage.key,)
    ).fetchone()
    event: JobEvent = sql.event_of_job(connection, row) or rows.damaged_event(row, damage.cause)
    _keep(connection, "log", event.revision, damage.cause, now)
    connection.execute(
        "UPDATE log SET type = ?, job_id = ?, number = ?, initiator = ?, status = ? WHERE revision = ?",
        (
            EventType(event.type).value,
            _name(event.job.job_id, event.job.number),
            event.job.number,
            event.job.initiator,
            pack_status(event.job.status),
            event.revision,
        ),
    )


def _count_log(connection: sqlite3.Connection) -> None:
    """What each entry tells of the size of the log, anew."""
    connection.execute(
        "UPDATE log SET total = counted.total FROM (SELECT revision,"
        " sum(length(CAST(status AS BLOB)) + ?) OVER (ORDER BY revision) AS total FROM log) AS counted"
        " WHERE counted.revision = log.revision",
        (sql.LOG_ROW_BYTES,),
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
