"""The schema of the database: numbered scripts, each run once."""

import re
from collections.abc import Sequence
from importlib.resources import files

from asyncpg import Connection

from kusciajob.model.errors import StoreFailed

_LOCK = 0x6B757363696A6F62
"""The number of the lock that one server at a time holds while it brings the schema up to date."""
_USABLE = re.compile(r"\A-- Servers that know schema (\d+) or a later one can use this one\.\n")
"""How a script begins. So servers of two versions can run beside each other while one after the other is replaced."""


def migrations() -> Sequence[str]:
    """The scripts, the first one first."""
    directory = files(__package__) / "schema"
    return [each.read_text() for each in sorted(directory.iterdir(), key=lambda each: each.name)]


async def version(connection: Connection) -> int:
    """The schema that the database has; 0 for none."""
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return 0
    return await connection.fetchval("SELECT max(version) FROM schema_version") or 0


async def prepare(connection: Connection, *, may_migrate: bool) -> None:
    """See that the database has a schema that these servers can use, the newest where they may make it. StoreFailed."""
    scripts = migrations()
    if may_migrate:
        await migrate(connection, scripts)
    elif (found := await version(connection)) < len(scripts):
        raise StoreFailed(
            f"the database has schema {found}, and this version needs schema {len(scripts)}: run `kusciajob migrate` "
            "(setting migrate_at_start is off)"
        )
    else:
        await _check(connection, found, scripts)


async def migrate(connection: Connection, scripts: Sequence[str]) -> tuple[int, int]:
    """Run the scripts that the database has not seen, all or none; return the schema before and after.

    StoreFailed: it has seen more than there are, and this version cannot use what they made.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL, usable_from integer NOT NULL)"
        )
        found = await version(connection)
        await _check(connection, found, scripts)
        if 0 < found < len(scripts):
            # Each change begins with this row. Servers that are at work would wait for a table, and this for theirs.
            await connection.execute("SELECT FROM store FOR UPDATE")
        for number, script in enumerate(scripts[found:], found + 1):
            await connection.execute(script)
            usable = _USABLE.match(script)
            usable_from = int(usable[1]) if usable else number
            await connection.execute("INSERT INTO schema_version VALUES ($1, $2)", number, usable_from)
    return found, max(found, len(scripts))


async def _check(connection: Connection, found: int, scripts: Sequence[str]) -> None:
    if found <= len(scripts):
        return
    needed = await connection.fetchval("SELECT max(usable_from) FROM schema_version")
    if needed > len(scripts):
        raise StoreFailed(
            f"the database has schema {found}, and this version knows schemas up to {len(scripts)}: "
            "run the version that made it, or a newer one"
        )
