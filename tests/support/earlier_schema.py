"""The database of a store as an earlier version would have left it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from kusciajob.store.sqlite import database

TABLES = ("job", "spec", "task", "input", "log", "loss")


def as_of_schema(version: int, source: Path, target: Path) -> None:
    """Write the jobs and the log of a closed store to a new database of that earlier schema."""
    with closing(database.connect(target)) as connection:
        database.migrate(connection, database.migrations()[:version])
        connection.execute("ATTACH ? AS source", (str(source),))
        connection.execute("BEGIN")
        for table in TABLES:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM source.{table}")  # noqa: S608  # our own names
        connection.execute("COMMIT")


def rows_of(path: Path, *tables: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of those tables; none of a table that does not exist."""
    with closing(sqlite3.connect(path)) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608  # our own names
            for table in tables
            if table in known
        }
