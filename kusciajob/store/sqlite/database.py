"""The database file: how it is opened, and which schema it has."""

import sqlite3
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path

from kusciajob.store import packing
from kusciajob.store.sqlite import listing

CACHE_KIBIBYTES = 8192
MIGRATION_KIBIBYTES = 65_536
LISTED_SINCE = 6
"""The schema from which on there are tables that are filled from the jobs."""
WAL_LIMIT_BYTES = 64 * 1024 * 1024


# Else one text that is damaged would hide all rows of an answer.
_text = partial(str, encoding="utf-8", errors="replace")


class NewerSchema(Exception):
    """The database was written by a newer version of the program."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection on which a commit is durable once it returns. Transactions are begun and ended by SQL."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.text_factory = _text
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that can change nothing, whether a server works on the file or not.

    In SQL, `plain_status` makes JSON of a stored status.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.text_factory = _text
    connection.create_function("plain_status", 1, packing.plain, deterministic=True)
    return connection


def migrations() -> list[str]:
    """The scripts that lead from an empty database to the newest schema, in order."""
    files = (file for file in resources.files(__package__).joinpath("schema").iterdir() if file.name.endswith(".sql"))
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]


def migrate(
    connection: sqlite3.Connection, scripts: Sequence[str], progress: listing.Progress = lambda _done, _all: None
) -> None:
    """Bring the database to the newest schema, by all steps or by none. NewerSchema: it is beyond the last script.

    `progress` is told of the jobs that are looked at for that, if there is any reason to look at them.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        raise NewerSchema(
            f"its schema has version {version}, this program knows versions up to {len(scripts)}: "
            "run the newer program, or use another data directory"
        )
    if version == len(scripts):
        return
    steps = "\n".join(scripts[version:])
    try:
        connection.execute(f"PRAGMA cache_size = -{MIGRATION_KIBIBYTES}")
        connection.executescript(f"BEGIN IMMEDIATE;\n{steps}\nPRAGMA user_version = {len(scripts)};")
        if version < LISTED_SINCE <= len(scripts):
            listing.fill(connection, progress)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
