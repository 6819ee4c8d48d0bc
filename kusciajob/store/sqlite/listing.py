"""The tables that lists look into: what is written there of each job, and how they are filled from the jobs."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from kusciajob.model.job import NO_TRAITS, Traits
from kusciajob.model.status import Job, JobPhase, Unknown
from kusciajob.store import kept
from kusciajob.store.sqlite import packing

FACETS_AT_ONCE = 100_000
"""When the tables are filled so many are sorted and written together: else each could be a page of its own."""
_MOST_SECONDS = 1e15
_NOT_DECODED = (MsgspecError, ValueError, TypeError, RecursionError)

_encode = Encoder().encode
_decode_phase = Decoder(JobPhase).decode
_decode_traits = Decoder(Traits).decode

Progress = Callable[[int, int], None]
"""Is told how many jobs of how many are done."""


class Listing(NamedTuple):
    """What a list looks for in a job, in the order of the table's columns, but the number, `created` and `lag`."""

    state: str
    ended: float | None
    deadline: float | None
    expires: float | None
    phase: str
    traits: str


class Listed(NamedTuple):
    """A job as it is to be listed."""

    row: Listing
    facets: list[int]
    created_at: float
    """Its own time."""


@lru_cache(4096)
def facet(kind: str, *texts: str) -> int:
    """The number that stands for a property. Two can share one by chance: a job that is found is looked at."""
    data = "\0".join((kind, *texts)).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), signed=True)


def facets(domains: Iterable[str], traits: Traits) -> list[int]:
    """All of a job, sorted; each domain is to be named once."""
    found = [facet("party", domain) for domain in domains]
    found += [facet("image", image) for image in traits.app_images]
    found += [facet("field", *field) for field in traits.custom_fields.items()]
    found += [facet("label", *label) for label in traits.labels.items()]
    found.sort()
    return found


def listed(job: Job) -> Listed:
    """A job as it is to be listed."""
    status, traits = job.status, job.spec.traits
    spec = job.spec
    row = Listing(
        str(status.phase.state),
        status.phase.ended_at,
        kept.deadline(status.phase, status.began_at, spec.deadline_seconds),
        kept.expiry(status.phase, spec.ttl_seconds),
        phase_json(status.phase),
        traits_json(traits),
    )
    return Listed(row, facets(status.domains, traits), status.created_at)


def phase_json(phase: JobPhase) -> str:
    """As it is stored."""
    return _encode(phase).decode()


def traits_json(traits: Traits) -> str:
    """As they are stored."""
    return _encode(traits).decode()


def phase_of(data: Any) -> JobPhase | None:
    """A stored phase; None where there is none. ValueError, TypeError, MsgspecError: it is damaged."""
    return None if data is None else _decode_phase(data)


def traits_of(data: Any) -> Traits:
    """Stored traits, none where there are none. ValueError, TypeError, MsgspecError: they are damaged."""
    return NO_TRAITS if data is None else _decode_traits(data)


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
