"""What is kept beside jobs and their log: history, attempts, audit and AppImages."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from kusciajob.model.history import (
    MAX_ATTEMPTS_KEPT,
    MAX_HISTORY_ENTRIES,
    Attempt,
    AuditEntry,
    HistoryEntry,
    Notes,
)
from kusciajob.model.job import Traits
from kusciajob.store import kept, rows

READ_BYTES = 4 << 20
"""A part of a history ends early when it takes more."""
_AUDIT = "at, caller, peer, method, subject, code, reason"
_INSERT_AUDIT = f"INSERT INTO audit ({_AUDIT}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # our own text
_MOST_ID = (1 << 63) - 1

_encode = Encoder().encode

T = TypeVar("T", bound=Struct)


class Encoded(NamedTuple):
    """Notes as they are stored."""

    history: list[str]
    attempts: list[tuple[int, bytes]]
    audit: tuple[Any, ...] | None


def encoded(notes: Notes, revision: int) -> Encoded:
    """The notes of a commit of that revision."""
    return Encoded(
        [_encode(kept.stamped(entry, revision)).decode() for entry in notes.history],
        [(attempt.task, _encode(attempt)) for attempt in notes.attempts],
        None if notes.audit is None else _audit_row(notes.audit),
    )


def write(connection: sqlite3.Connection, jobs: Sequence[tuple[int, Encoded]]) -> None:
    """Keep notes of jobs, by their numbers, in order."""
    history = [(number, entry) for number, notes in jobs for entry in notes.history]
    if history:
        connection.executemany("INSERT INTO history (number, entry) VALUES (?, ?)", history)
    attempts = [(number, *attempt) for number, notes in jobs for attempt in notes.attempts]
    if attempts:
        connection.executemany("INSERT INTO attempt (number, task, attempt) VALUES (?, ?, ?)", attempts)
    calls = [notes.audit for _, notes in jobs if notes.audit is not None]
    if calls:
        connection.executemany(_INSERT_AUDIT, calls)
    for number in dict.fromkeys([number for number, notes in jobs if notes.history]):
        _shorten_history(connection, number)
    for number in dict.fromkeys([number for number, notes in jobs if notes.attempts]):
        _drop_attempts(connection, number)


def note(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    """Keep an audit entry."""
    connection.execute(_INSERT_AUDIT, _audit_row(entry))


def remove(connection: sqlite3.Connection, number: int) -> None:
    """The job is deleted: its history and attempts are dropped."""
    connection.execute("DELETE FROM history WHERE number = ?", (number,))
    connection.execute("DELETE FROM attempt WHERE number = ?", (number,))


def history(
    connection: sqlite3.Connection, number: int, after: int, limit: int, note: rows.Note = rows.ignore
) -> list[tuple[int, HistoryEntry]]:
    """Up to `limit` entries above a position, at most READ_BYTES, but one; damaged ones are left out."""
    found = connection.execute(
        "SELECT id, entry FROM history WHERE number = ? AND id > ? ORDER BY id LIMIT ?", (number, after, limit)
    )
    read: list[tuple[int, HistoryEntry]] = []
    size = 0
    for position, data in found:
        size += len(data) if isinstance(data, str | bytes) else 0
        if read and size > READ_BYTES:
            break
        if (entry := _decoded(HistoryEntry, "history", position, data, note)) is not None:
            read.append((position, entry))
    return read


def attempts(connection: sqlite3.Connection, number: int, note: rows.Note = rows.ignore) -> list[Attempt]:
    """All of a job; damaged ones are left out."""
    found = connection.execute("SELECT id, attempt FROM attempt WHERE number = ? ORDER BY id", (number,)).fetchall()
    read = [_decoded(Attempt, "attempt", position, data, note) for position, data in found]
    return [attempt for attempt in read if attempt is not None]


def audit(
    connection: sqlite3.Connection,
    *,
    limit: int,
    before: int,
    caller: str,
    subject: str,
    since: float | None,
    until: float | None,
    note: rows.Note = rows.ignore,
) -> list[AuditEntry]:
    """See JobStore.audit. Where a caller has many entries of other times, all of them are looked at."""
    conditions: dict[str, Any] = {"id < ?": before or _MOST_ID}
    # The one with fewer entries is to be looked up; that is a job's.
    if subject:
        conditions["subject = ?"] = subject
    if caller:
        conditions["+caller = ?" if subject else "caller = ?"] = caller
    if since is not None:
        conditions["+at >= ?"] = since
    if until is not None:
        conditions["+at < ?"] = until
    found = connection.execute(
        f"SELECT id, {_AUDIT} FROM audit WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",  # noqa: S608  # our own texts
        (*conditions.values(), limit),
    ).fetchall()
    entries = []
    for row in found:
        if (entry := audit_entry(row)) is not None:
            entries.append(entry)
        else:
            note(rows.Damage("audit", row[0], rows.text_of(row[5]), AUDIT_DAMAGE))
    return entries


AUDIT_DAMAGE = "its columns are not what they were written as"


def audit_entry(row: Sequence[Any]) -> AuditEntry | None:
    """The entry of a row of (id, …), as the columns of the table are; None where it is damaged."""
    identity, at, *texts, code, reason = row
    is_sound = (
        isinstance(at, float) and isinstance(code, int) and all(isinstance(text, str) for text in [*texts, reason])
    )
    if not is_sound:
        return None
    caller, peer, method, subject = texts
    return AuditEntry(at, caller, peer, method, subject, code, reason, identity)


def forget_audit(connection: sqlite3.Connection, before: float, keep: int, limit: int) -> bool:
    """Drop up to so many of the oldest; return whether that was all."""
    above = 0
    if keep:
        (newest,) = connection.execute("SELECT ifnull(max(id), 0) FROM audit").fetchone()
        above = newest - keep
    beyond = connection.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= ? ORDER BY id LIMIT ?)", (above, limit)
    )
    aged = connection.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?)", (before, limit)
    )
    return beyond.rowcount < limit and aged.rowcount < limit


def app_images(connection: sqlite3.Connection) -> Mapping[str, bytes]:
    """The stored AppImages by name."""
    found = connection.execute("SELECT name, CAST(definition AS BLOB) FROM app_image ORDER BY name").fetchall()
    return {rows.text_of(name): definition for name, definition in found}


def put_app_image(connection: sqlite3.Connection, name: str, definition: bytes | None, notes: Notes) -> None:
    """See JobStore.put_app_image."""
    if definition is None:
        connection.execute("DELETE FROM app_image WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO app_image (name, definition) VALUES (?, ?)", (name, definition))
    if notes.audit is not None:
        note(connection, notes.audit)


def damaged(connection: sqlite3.Connection) -> Iterator[rows.Damage]:
    """Every row that cannot be read, of these tables and of the traits of deleted jobs."""
    found: list[rows.Damage] = []
    for table, kind in (("history", HistoryEntry), ("attempt", Attempt)):
        column = "entry" if kind is HistoryEntry else "attempt"
        for position, data in connection.execute(f"SELECT id, {column} FROM {table}"):  # noqa: S608  # our own texts
            _decoded(kind, table, position, data, found.append)
    for row in connection.execute(f"SELECT id, {_AUDIT} FROM audit"):  # noqa: S608  # our own text
        if audit_entry(row) is None:
            found.append(rows.Damage("audit", row[0], rows.text_of(row[5]), AUDIT_DAMAGE))
    for revision, data in connection.execute("SELECT revision, traits FROM departed"):
        _decoded(Traits, "departed", revision, data, found.append)
    yield from found


_DECODERS: dict[type[Struct], Any] = {kind: Decoder(kind).decode for kind in (HistoryEntry, Attempt, Traits)}


def _decoded(kind: type[T], table: str, position: int, data: Any, note: rows.Note) -> T | None:
    try:
        value: T = _DECODERS[kind](data)
    except (MsgspecError, ValueError, TypeError, RecursionError) as error:
        note(rows.Damage(table, position, "", f"it cannot be read: {error}"))
        return None
    return value


def _shorten_history(connection: sqlite3.Connection, number: int) -> None:
    (count,) = connection.execute("SELECT count(*) FROM history WHERE number = ?", (number,)).fetchone()
    if count <= MAX_HISTORY_ENTRIES:
        return
    found = connection.execute("SELECT id, entry FROM history WHERE number = ? ORDER BY id", (number,)).fetchall()
    read = [(position, _decoded(HistoryEntry, "history", position, data, rows.ignore)) for position, data in found]
    dropped = [position for position, entry in read if entry is None]  # it would count for ever
    sound = [(position, entry) for position, entry in read if entry is not None]
    dropped += [sound[index][0] for index in kept.surplus([entry for _, entry in sound])]
    connection.executemany("DELETE FROM history WHERE id = ?", [(position,) for position in dropped])


def _drop_attempts(connection: sqlite3.Connection, number: int) -> None:
    of_tasks = connection.execute(
        "SELECT task, count(*), sum(length(attempt)) FROM attempt WHERE number = ? GROUP BY task", (number,)
    ).fetchall()
    for task, count, _ in of_tasks:
        if count > MAX_ATTEMPTS_KEPT:
            connection.execute(
                "DELETE FROM attempt WHERE id IN"
                " (SELECT id FROM attempt WHERE number = ? AND task = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (number, task, MAX_ATTEMPTS_KEPT),
            )
    if sum([size for _, _, size in of_tasks]) <= kept.MAX_ATTEMPTS_BYTES:
        return
    sizes = connection.execute(
        "SELECT id, length(attempt) FROM attempt WHERE number = ? ORDER BY id DESC", (number,)
    ).fetchall()
    total = 0
    for index, (_, size) in enumerate(sizes):
        total += size
        if index and total > kept.MAX_ATTEMPTS_BYTES:
            connection.execute("DELETE FROM attempt WHERE number = ? AND id <= ?", (number, sizes[index][0]))
            return


def _audit_row(entry: AuditEntry) -> tuple[Any, ...]:
    return (entry.at, entry.caller, entry.peer, entry.method, entry.subject, entry.code, entry.reason)
