"""Damaging the file of a store, and looking at it."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from click.testing import CliRunner

from kusciajob.cli.main import cli
from kusciajob.store.sqlite.store import SqliteStore


def damage(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


def doctor(path: Path, *options: str) -> tuple[int, str]:
    arguments = ["doctor", "--data-dir", str(path.parent), *options]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output
