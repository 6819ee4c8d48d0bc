"""A database in PostgreSQL that is full of finished jobs: copies of the one that it has."""

import asyncpg


async def fill(url: str, count: int) -> None:
    """As it is after so many jobs more, `job-0000001` and on, of which the log remembers the last event.

    No server may use it meanwhile.
    """
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        head, original, initiator = await connection.fetchrow("SELECT revision, job_id, initiator FROM job")
        copies = (
            f"(SELECT n + {head} AS number, 'job-' || to_char(n, 'FM0000000') AS job_id"  # noqa: S608  # our own numbers
            f" FROM generate_series(1, {count}) AS n) AS copy"
        )
        changed = {"number": "copy.number", "revision": "copy.number", "job_id": "copy.job_id"}
        renamed = f"convert_to(replace(convert_from(spec, 'UTF8'), '{original}', copy.job_id), 'UTF8')"
        task_id = "copy.job_id || '-' || substr(md5(copy.job_id), 1, 12)"
        for table, more in {
            "job": {},
            "spec": {"spec": renamed},
            "task": {"task_id": task_id},
            "listing": {},
            "facet": {},
        }.items():
            await _copy(connection, table, copies, changed | more)
        await _copy(connection, "log", copies, changed, f"copy.number = {head + count} AND log.revision = {head}")
        await connection.execute("DELETE FROM log WHERE revision <= $1", head)
        await connection.execute("UPDATE store SET revision = $1", head + count)
        await connection.execute("UPDATE tally SET jobs = jobs + $1 WHERE initiator = $2", count, initiator)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _copy(
    connection: asyncpg.Connection, table: str, copies: str, changed: dict[str, str], only: str = "true"
) -> None:
    """Each row of a table once per copy, with some columns changed, whatever other columns it has."""
    described = await connection.prepare(f"SELECT * FROM {table}")  # noqa: S608  # our own names
    columns = [attribute.name for attribute in described.get_attributes()]
    values = ", ".join(changed.get(column, f"{table}.{column}") for column in columns)
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {copies}, {table} WHERE {only}",  # noqa: S608
        timeout=None,
    )
