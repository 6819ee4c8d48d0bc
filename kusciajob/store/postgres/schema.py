"""The schema of the database: numbered scripts, each run once."""

from collections.abc import Sequence
from importlib.resources import files

from asyncpg import Connection

from kusciajob.model.errors import StoreFailed

_LOCK = 0x6B757363696A6F62
"""The number of the lock that one server at a time holds while it brings the schema up to date."""


def migrations() -> Sequence[str]:
    """The scripts, the first one first."""
    directory = files(__package__) / "schema"
    return [each.read_text() for each in sorted(directory.iterdir(), key=lambda each: each.name)]


async def migrate(connection: Connection, scripts: Sequence[str]) -> None:
    """Run the scripts that the database has not seen, all or none. StoreFailed: it has seen more than there are."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        version = await connection.fetchval("SELECT max(version) FROM schema_version") or 0
        if version > len(scripts):
            raise StoreFailed(
                f"the database has schema {version}, and this version knows schemas up to {len(scripts)}: "
                "run the version that made it, or a newer one"
            )
        for number, script in enumerate(scripts[version:], version + 1):
            await connection.execute(script)
            await connection.execute("INSERT INTO schema_version VALUES ($1)", number)
