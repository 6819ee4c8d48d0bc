"""The tables that lists look into, and how they are filled from the jobs."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from kusciajob.model.job import Traits
from kusciajob.model.status import Job, JobPhase, Unknown
from kusciajob.store import kept, packing
from kusciajob.store.listing import Listed, Listing, facets, phase_json, traits_json

FACETS_AT_ONCE = 100_000
"""When the tables are filled so many are sorted and written together: else each could be a page of its own."""
_MOST_SECONDS = 1e15
_NOT_DECODED = (MsgspecError, ValueError, TypeError, RecursionError)

Progress = Callable[[int, int], None]
"""Is told how many jobs of how many are done."""


def lag(created: float, created_at: float, ended_at: float | None) -> float:
    """How far a job's own times are below the largest time of creation so far."""
    return created - min(created_at, created if ended_at is None else ended_at, created)


def is_time(value: Any) -> bool:
    """Whether that can be a time; NaN cannot."""
    return isinstance(value, float | int) and 0 <= value < _MOST_SECONDS


def newest_created(connection: sqlite3.Connection) -> float:
    """The largest time of creation so far."""
    row = connection.execute("SELECT created FROM listing ORDER BY number DESC LIMIT 1").fetchone()
    return float(row[0]) if row and is_time(row[0]) else 0.0


def add(connection: sqlite3.Connection, jobs: Iterable[tuple[int, Listed]]) -> None:
    """List new jobs, by their numbers, in order."""
    newest = newest_created(connection)
    rows: list[tuple[Any, ...]] = []
    found: list[tuple[int, int]] = []
    for number, job in jobs:
        newest = max(newest, job.created_at)
        rows.append((number, newest, lag(newest, job.created_at, job.row.ended), *job.row))
        found += [(each, number) for each in job.facets]
    connection.executemany(_INSERT, rows)
    connection.executemany(_INSERT_FACET, found)


def update(connection: sqlite3.Connection, job: Job, phase: str, stored: tuple[Any, ...]) -> None:
    """List a change, to that phase; `stored` is the row of STORED."""
    stored_phase, stored_deadline, stored_expires, created = stored
    status, spec = job.status, job.spec
    deadline = kept.deadline(status.phase, status.began_at, spec.deadline_seconds)
    expires = kept.expiry(status.phase, spec.ttl_seconds)
    if (stored_phase, stored_deadline, stored_expires) == (phase, deadline, expires):
        return
    behind = lag(created, status.created_at, status.phase.ended_at) if is_time(created) else 0.0
    connection.execute(
        "UPDATE listing SET state = ?, ended = ?, deadline = ?, expires = ?, phase = ?, lag = ? WHERE number = ?",
        (str(status.phase.state), status.phase.ended_at, deadline, expires, phase, behind, job.number),
    )


STORED = "SELECT phase, deadline, expires, created FROM listing WHERE number = ?"
"""What `update` wants to know."""
_INSERT = (
    "INSERT INTO listing (number, created, lag, state, ended, deadline, expires, phase, traits)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_FACET = "INSERT OR IGNORE INTO facet (facet, number) VALUES (?, ?)"


def remove(connection: sqlite3.Connection, number: int, known: Sequence[int] | None) -> None:
    """A job is deleted. Where its facets are not known all of the table is looked at."""
    connection.execute("DELETE FROM listing WHERE number = ?", (number,))
    if known is None:
        connection.execute("DELETE FROM facet WHERE number = ?", (number,))
    else:
        connection.executemany("DELETE FROM facet WHERE facet = ? AND number = ?", [(each, number) for each in known])


# To fill the tables only what they need is read of a job: of a million that takes half as long.
class _Party(Struct, gc=False):
    domain_id: str


class _Task(Struct, gc=False):
    parties: list[_Party]


class _Status(Struct, gc=False):
    phase: JobPhase
    created_at: float
    tasks: list[_Task]
    restarted_at: float | None = None


class _SpecTask(Struct, gc=False):
    app_image: str


class _Spec(Struct, gc=False):
    tasks: list[_SpecTask]
    custom_fields: dict[str, str] = {}
    labels: dict[str, str] = {}
    deadline_seconds: float | None = None
    ttl_seconds: float | None = None


_decode_status = Decoder(_Status).decode
_decode_spec = Decoder(_Spec).decode


def fill(connection: sqlite3.Connection, progress: Progress = lambda _done, _all: None) -> None:
    """Write the tables anew from the jobs, within the caller's transaction. A job that cannot be read is not listed."""
    connection.execute("DELETE FROM listing")
    connection.execute("DELETE FROM facet")
    (total,) = connection.execute("SELECT count(*) FROM job").fetchone()
    created = 0.0
    rows: list[tuple[Any, ...]] = []
    found: list[tuple[int, int]] = []

    def write() -> None:
        found.sort()
        connection.executemany(_INSERT, rows)
        connection.executemany(_INSERT_FACET, found)
        rows.clear()
        found.clear()

    jobs = connection.execute("SELECT job.number, status, spec FROM job LEFT JOIN spec USING (number) ORDER BY 1")
    for done, (number, status, spec) in enumerate(jobs, 1):
        if (job := _read(status, spec)) is not None:
            created = max(created, job.created_at)
            rows.append((number, created, lag(created, job.created_at, job.row.ended), *job.row))
            found += [(each, number) for each in job.facets]
        if len(found) >= FACETS_AT_ONCE or len(rows) >= FACETS_AT_ONCE:
            write()
            progress(done, total)
    write()
    progress(total, total)


def _read(packed: Any, encoded: Any) -> Listed | None:
    """As `listed` does, of which the doctor makes sure. None: the status cannot be read."""
    try:
        status = _decode_status(packing.plain(packed))
    except _NOT_DECODED:
        return None
    phase = status.phase
    if isinstance(phase, Unknown) or not is_time(status.created_at):
        return None
    try:
        spec = _decode_spec(encoded)
    except _NOT_DECODED:
        spec = _Spec([])  # it is listed by what its status tells
    traits = Traits(tuple(dict.fromkeys([task.app_image for task in spec.tasks])), spec.custom_fields, spec.labels)
    row = Listing(
        str(phase.state),
        phase.ended_at,
        kept.deadline(phase, status.restarted_at or status.created_at, spec.deadline_seconds),
        kept.expiry(phase, spec.ttl_seconds),
        phase_json(phase),
        traits_json(traits),
    )
    domains = {party.domain_id for task in status.tasks for party in task.parties}
    return Listed(row, facets(domains, traits), status.created_at)
