"""Brings a shared store to its schema, and examines one, with servers at work or not; examining writes nothing."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import asyncpg

from kusciajob.operations.doctor import Finding, Level
from kusciajob.store.damage import DamageLog
from kusciajob.store.postgres import reads, schema
from kusciajob.store.postgres.connections import FAILURES, Database, close, failed, open_connection
from kusciajob.store.postgres.lease import forget_home

JOBS_AT_ONCE = 500

_LEASE = "SELECT leader, home, leased_until > clock_timestamp() AS is_led FROM store"
_REVISIONS = "SELECT count(*) AS events, min(revision) AS oldest, max(revision) AS newest FROM log"
_TALLY = "SELECT coalesce(sum(jobs), 0) FROM tally"
_STORE = "SELECT id, revision, current_setting('server_version') AS version FROM store"


async def migrate(url: str, password_file: Path | None) -> tuple[int, int]:
    """Bring the database to the newest schema; the one before and the one after. Raises StoreFailed."""
    try:
        connection = await open_connection(Database(url, password_file))
        try:
            return await schema.migrate(connection, schema.migrations())
        finally:
            await close(connection)
    except FAILURES as error:
        raise failed("cannot bring the database to its schema", error) from error


async def give_up_home(url: str, password_file: Path | None) -> bool:
    """Let servers on other machines schedule. False: a server schedules now. Raises StoreFailed."""
    return await forget_home(Database(url, password_file))


async def examine(url: str, password_file: Path | None) -> AsyncIterator[Finding]:
    """All findings, one by one; a database that cannot be read ends them."""
    try:
        connection = await open_connection(Database(url, password_file))
        try:
            async for finding in _examine(connection):
                yield finding
        finally:
            await close(connection)
    except FAILURES as error:
        yield Finding(Level.PROBLEM, str(failed("the database cannot be read", error)))


async def _examine(connection: asyncpg.Connection) -> AsyncIterator[Finding]:
    found, newest = await schema.version(connection), len(schema.migrations())
    if not found:
        yield Finding(
            Level.PROBLEM, "schema: there is none, no server has ever worked here: `kusciajob migrate` makes it"
        )
        return
    if found != newest:
        yield Finding(Level.NOTE, f"schema {found}: this program has {newest}, and looks at nothing else")
        return
    yield Finding(Level.OK, f"schema {found}")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        store = await connection.fetchrow(_STORE)
        yield Finding(Level.OK, f"store: {store['id']}, in PostgreSQL {store['version']}")
        yield await _lease(connection)
        yield await _revisions(connection, store["revision"])
        async for finding in _jobs(connection):
            yield finding


async def _lease(connection: asyncpg.Connection) -> Finding:
    leader, home, is_led = await connection.fetchrow(_LEASE)
    bound = "; its programs are on that machine, and no other server can take over" if home else ""
    if is_led:
        return Finding(Level.OK, f"lease: server {leader} schedules{bound}")
    last = f", the last one was {leader}{bound}" if leader else ""
    return Finding(Level.NOTE, f"lease: no server schedules{last}")


async def _revisions(connection: asyncpg.Connection, revision: int) -> Finding:
    events, oldest, newest = await connection.fetchrow(_REVISIONS)
    if events and (newest != revision or newest - oldest + 1 != events):
        return Finding(
            Level.PROBLEM,
            f"log: {events} events from {oldest} to {newest} have gaps; the newest revision is {revision}",
        )
    return Finding(Level.OK, f"log: {events} events without a gap, the newest revision is {revision}")


async def _jobs(connection: asyncpg.Connection) -> AsyncIterator[Finding]:
    damage = DamageLog()
    jobs = unfinished = after = 0
    page = partial(reads.page, connection, limit=JOBS_AT_ONCE, note=damage.note)
    while found := await page(after=after):
        after = found[-1].number
        jobs += len(found)
        unfinished += sum(job.status.is_unfinished for job in found)
        for job in found:
            if job.status.is_damaged:
                yield Finding(Level.PROBLEM, f"job {job.job_id} (number {job.number}) is damaged: {job.status.message}")
    tallied = await connection.fetchval(_TALLY)
    if tallied != jobs:
        yield Finding(Level.PROBLEM, f"jobs: there are {jobs}, but {tallied} are counted by their initiators")
    yield Finding(Level.OK, f"jobs: {jobs}, {unfinished} of them unfinished")
