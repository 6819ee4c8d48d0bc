"""What the store's reads mean in SQL: functions on a connection."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Literal, TypeVar

from asyncpg import Connection, Record
from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from kusciajob.contracts import Census
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, TaskNotFound
from kusciajob.model.history import Attempt, AuditEntry, HistoryEntry
from kusciajob.model.status import Job, JobEvent, JobSummary
from kusciajob.store import common, kept, rows
from kusciajob.store.postgres.changes import writable

READ_BYTES = 4 << 20
"""A list of jobs or events ends early when it takes more, stored."""
JOBS_AT_ONCE = 1000
"""So many jobs are counted at once."""
_MOST_ID = (1 << 63) - 1

SUMMARIES = "SELECT job_id, initiator, number, revision, traits, status FROM job LEFT JOIN listing USING (number)"
"""Rows for `rows.summary`."""
_WHOLE_JOBS = (
    "SELECT job_id, initiator, number, revision, status, spec, tasks, configs FROM job LEFT JOIN spec USING (number)"
    " LEFT JOIN LATERAL (SELECT array_agg(task) AS tasks, array_agg(config) AS configs"
    " FROM input WHERE input.number = job.number) AS inputs ON true"
)
"""Rows for `_whole_job`, with the large inputs, by their tasks."""

T = TypeVar("T", bound=Struct)


def within(query: str, size: str, *, most: int, order: str) -> str:
    """That query, cut where its rows take more than so many bytes by their `size`, but for the first one.

    `in_all` is how many there would be without the cut.
    """
    return (
        f"SELECT * FROM (SELECT *, sum({size}) OVER (ORDER BY {order}) AS taken,"  # noqa: S608  # our own texts
        f" row_number() OVER (ORDER BY {order}) AS rank, count(*) OVER () AS in_all FROM ({query}) AS found) AS f"
        f" WHERE taken <= {most} OR rank = 1 ORDER BY {order}"
    )


async def get(connection: Connection, job_id: str, note: rows.Note) -> Job:
    """The whole job. JobNotFound, JobDamaged."""
    row = await connection.fetchrow(f"{_WHOLE_JOBS} WHERE job_id = $1", writable(job_id))
    if row is None:
        raise JobNotFound(job_id)
    return _whole_job(row, note)


async def unfinished(connection: Connection, note: rows.Note) -> list[Job]:
    """All jobs that are not finished, oldest first, but damaged ones."""
    jobs = []
    for row in await connection.fetch(f"{_WHOLE_JOBS} WHERE unfinished ORDER BY number"):
        with suppress(JobDamaged):
            jobs.append(_whole_job(row, note))
    return jobs


async def summaries(connection: Connection, job_ids: Sequence[str], note: rows.Note) -> list[JobSummary]:
    """The jobs asked for, in that order. JobNotFound names all that are missing, JobDamaged all that are damaged."""
    read = await connection.fetch(f"{SUMMARIES} WHERE job_id = ANY ($1)", list(map(writable, job_ids)))
    found = {job.job_id: job for job in (_summary(row, note) for row in read)}
    missing_ids = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in found]
    if missing_ids:
        raise JobNotFound(*missing_ids)
    if damaged := [job for job in found.values() if job.status.is_damaged]:
        raise JobDamaged(*damaged)
    return [found[job_id] for job_id in job_ids]


_PAGE = within(
    f"{SUMMARIES} WHERE number > $1 ORDER BY number LIMIT $2",
    "octet_length(status)",
    most=READ_BYTES,
    order="number",
)


async def page(connection: Connection, after: int, limit: int, note: rows.Note) -> list[JobSummary]:
    """Up to `limit` jobs with a number above `after`, oldest first; at most READ_BYTES, but one."""
    return [_summary(row, note) for row in await connection.fetch(_PAGE, after, limit)]


async def due(
    connection: Connection, column: Literal["deadline", "expires"], now: float, limit: int, note: rows.Note
) -> list[JobSummary]:
    """Up to `limit` jobs whose time of that kind has come."""
    query = f"{SUMMARIES} WHERE {column} <= $1 ORDER BY {column} LIMIT $2"
    found = [_summary(row, note) for row in await connection.fetch(query, now, limit)]
    return [job for job in found if not job.status.is_damaged]


async def missing(connection: Connection, numbers: Collection[int]) -> set[int]:
    """Those of the numbers that no stored job has."""
    found = await connection.fetch("SELECT number FROM job WHERE number = ANY ($1)", list(numbers))
    return set(numbers).difference(row["number"] for row in found)


async def job_of_task(connection: Connection, task_id: str) -> str:
    """The id of the job that has this task. TaskNotFound."""
    query = "SELECT job_id FROM task JOIN job USING (number) WHERE task_id = $1"
    job_id: str | None = await connection.fetchval(query, writable(task_id))
    if job_id is None:
        raise TaskNotFound(task_id)
    return job_id


async def size(connection: Connection) -> int:
    """How many jobs are stored."""
    return int(await connection.fetchval("SELECT coalesce(sum(jobs), 0) FROM tally"))


async def initiated_by(connection: Connection, domain: str) -> int:
    """How many stored jobs have that initiator."""
    return await connection.fetchval("SELECT jobs FROM tally WHERE initiator = $1", writable(domain)) or 0


async def head(connection: Connection) -> int:
    """The newest revision."""
    return int(await connection.fetchval("SELECT revision FROM store"))


_LOG = within(
    "SELECT log.revision, type, job_id, initiator, log.number, before,"
    " coalesce(listing.traits, departed.traits) AS traits, status FROM log"
    " LEFT JOIN listing ON listing.number = log.number LEFT JOIN departed ON departed.number = log.number"
    " WHERE log.revision > $1 ORDER BY log.revision LIMIT $2",
    "octet_length(status)",
    most=READ_BYTES,
    order="revision",
)


async def read_log(connection: Connection, after: int, limit: int, note: rows.Note) -> list[JobEvent]:
    """Up to `limit` events with a revision above `after`, in order; at most READ_BYTES, but one. LogTruncated."""
    read = await connection.fetch(_LOG, after, limit)
    if not read:
        return []
    if (oldest := read[0]["revision"]) > after + 1:
        raise common.log_truncated(after, oldest)
    return [_event(tuple(row)[:8], note) for row in read]


async def log_excess(connection: Connection, max_bytes: int) -> int:
    """The last revision to forget so that the log takes no more than that; 0 where it does not."""
    totals = await connection.fetchrow(
        "SELECT (SELECT total FROM log ORDER BY revision DESC LIMIT 1) AS newest, min(revision), max(revision) FROM log"
    )
    newest, first, last = totals
    if newest is None or newest <= max_bytes:
        return 0
    most = newest - max_bytes
    low, high = first, last
    while low < high:  # the first whose total is above `most`, but not the newest
        middle = (low + high) // 2
        total = await connection.fetchval("SELECT total FROM log WHERE revision = $1", middle)
        if total is not None and total > most:
            high = middle
        else:
            low = middle + 1
    return low - 1 if low > first else 0


async def history(
    connection: Connection, number: int, after: int, limit: int, note: rows.Note
) -> list[tuple[int, HistoryEntry]]:
    """Up to `limit` entries above a position, at most READ_BYTES, but one; damaged ones are left out."""
    found = await connection.fetch(_HISTORY, number, after, limit)
    read = [
        (row["id"], row["revision"], decoded(HistoryEntry, "history", row["id"], row["entry"], note)) for row in found
    ]
    return [(position, kept.stamped(entry, revision)) for position, revision, entry in read if entry is not None]


_HISTORY = within(
    "SELECT id, revision, entry FROM history WHERE number = $1 AND id > $2 ORDER BY id LIMIT $3",
    "octet_length(entry)",
    most=READ_BYTES,
    order="id",
)


async def attempts(connection: Connection, number: int, note: rows.Note) -> list[Attempt]:
    """All of a job; damaged ones are left out."""
    found = await connection.fetch("SELECT id, attempt FROM attempt WHERE number = $1 ORDER BY id", number)
    read = [decoded(Attempt, "attempt", row["id"], row["attempt"], note) for row in found]
    return [attempt for attempt in read if attempt is not None]


async def audit(
    connection: Connection,
    *,
    limit: int,
    before: int,
    caller: str,
    subject: str,
    since: float | None,
    until: float | None,
    note: rows.Note,
) -> list[AuditEntry]:
    """See JobStore.audit."""
    wanted: dict[str, Any] = {"id <": before or _MOST_ID}
    if caller:
        wanted["caller ="] = writable(caller)
    if subject:
        wanted["subject ="] = writable(subject)
    if since is not None:
        wanted["at >="] = since
    if until is not None:
        wanted["at <"] = until
    conditions = " AND ".join(f"{condition} ${place}" for condition, place in zip(wanted, count(1), strict=False))
    found = await connection.fetch(
        f"SELECT id, entry FROM audit WHERE {conditions} ORDER BY id DESC LIMIT {limit:d}",  # noqa: S608  # our own texts
        *wanted.values(),
    )
    entries = []
    for row in found:
        if (entry := decoded(AuditEntry, "audit", row["id"], row["entry"], note)) is not None:
            entries.append(replace(entry, id=row["id"]))
    return entries


async def app_images(connection: Connection) -> Mapping[str, bytes]:
    """The stored AppImages by name."""
    found = await connection.fetch("SELECT name, definition FROM app_image ORDER BY name")
    return {row["name"]: row["definition"] for row in found}


async def take_census(connection: Connection) -> Census:
    """Look at every job, all at one moment."""
    jobs: dict[str, int] = {}
    parties: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for row in await connection.fetch("SELECT state, count(*) FROM listing GROUP BY state"):
            jobs[row["state"]] = row["count"]
        after = 0
        while read := await connection.fetch(_UNFINISHED, after, JOBS_AT_ONCE):
            after = read[-1]["number"]
            for row in read:
                with suppress(rows.Unreadable):
                    for task in rows.status_of(row["status"]).tasks:
                        for party in task.parties:
                            parties[str(party.state)] = parties.get(str(party.state), 0) + 1
    return common.census(jobs, parties)


_UNFINISHED = within(
    "SELECT number, status FROM job WHERE unfinished AND number > $1 ORDER BY number LIMIT $2",
    "octet_length(status)",
    most=READ_BYTES,
    order="number",
)

_DECODERS: dict[type[Struct], Any] = {kind: Decoder(kind).decode for kind in (HistoryEntry, Attempt, AuditEntry)}


def decoded(kind: type[T], table: str, position: int, data: Any, note: rows.Note) -> T | None:
    """What is stored in JSON; None where it cannot be read, and who is to know of that is told."""
    try:
        value: T = _DECODERS[kind](data)
    except (MsgspecError, ValueError, TypeError, RecursionError) as error:
        note(rows.Damage(table, position, "", f"it cannot be read: {error}"))
        return None
    return value


def _whole_job(row: Record, note: rows.Note) -> Job:
    *job, tasks, configs = row
    return rows.job(job, note, list(zip(tasks or (), configs or (), strict=True)))


def _summary(row: Record, note: rows.Note) -> JobSummary:
    return rows.summary(tuple(row)[:6], note)


def _event(row: tuple[Any, ...], note: rows.Note) -> JobEvent:
    try:
        return rows.event(row)
    except rows.Unreadable as error:
        note(rows.Damage("log", row[0], rows.text_of(row[2]), str(error)))
        return rows.damaged_event(row, str(error))


async def notify(connection: Connection, channel: str, told: str) -> None:
    """Tell all servers something."""
    await connection.execute("SELECT pg_notify($1, $2)", channel, told)


async def images_version(connection: Connection) -> int:
    """How many changes of AppImages there were."""
    version: int = await connection.fetchval("SELECT images FROM store")
    return version
