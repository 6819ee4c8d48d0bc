"""What is dropped in time: old events, old audit entries, and the surplus of long histories.

`fence` is that of the lease under which it is dropped, 0 for none. LeaseLost: another server has taken over.
"""

from asyncpg import Connection

from kusciajob.contracts import LeaseLost
from kusciajob.model.history import HistoryEntry
from kusciajob.store import kept, rows
from kusciajob.store.postgres.reads import decoded


async def truncate_log(connection: Connection, through: int, limit: int, fence: int) -> bool:
    """Forget up to `limit` of the oldest events, never the newest one; return whether that was all."""
    async with connection.transaction():
        await _check(connection, fence)
        oldest, newest = await connection.fetchrow("SELECT min(revision), max(revision) FROM log")
        if oldest is None:
            return True
        last = min(through, newest - 1)
        forgotten = min(last, oldest + limit - 1)
        await connection.execute("DELETE FROM log WHERE revision <= $1", forgotten)
        await connection.execute("DELETE FROM departed WHERE revision <= $1", forgotten)
        return bool(forgotten == last)


async def forget_audit(connection: Connection, before: float, keep: int, limit: int, fence: int) -> bool:
    """Drop up to so many of the oldest of each kind; return whether that was all."""
    async with connection.transaction():
        await _check(connection, fence)
        above = await connection.fetchval("SELECT audits - $1 FROM store", keep) if keep else 0
        beyond = await connection.fetch(_FORGET_BEYOND, above, limit)
        aged = await connection.fetch(_FORGET_AGED, before, limit)
    return len(beyond) < limit and len(aged) < limit


_FORGET_BEYOND = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= $1 ORDER BY id LIMIT $2) RETURNING id"
_FORGET_AGED = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2) RETURNING id"


async def _check(connection: Connection, fence: int) -> None:
    if fence and await connection.fetchval("SELECT fence FROM store") != fence:
        raise LeaseLost("another server schedules since")


async def shorten_history(connection: Connection, number: int) -> None:
    """Drop the surplus of a job's history (see kept.surplus), and what cannot be read of it."""
    async with connection.transaction():
        # Two servers can have this in mind at once.
        if await connection.fetchval("SELECT number FROM job WHERE number = $1 FOR UPDATE", number) is None:
            return
        found = await connection.fetch("SELECT id, entry FROM history WHERE number = $1 ORDER BY id", number)
        read = [(row["id"], decoded(HistoryEntry, "history", row["id"], row["entry"], rows.ignore)) for row in found]
        sound = [(position, entry) for position, entry in read if entry is not None]
        dropped = [position for position, entry in read if entry is None]
        dropped += [sound[index][0] for index in kept.surplus([entry for _, entry in sound])]
        await connection.execute("DELETE FROM history WHERE id = ANY ($1)", dropped)
        await connection.execute("UPDATE job SET entries = $2 WHERE number = $1", number, len(read) - len(dropped))
