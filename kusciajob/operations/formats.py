"""What lies in a data directory: the format of each file, its version, and what becomes of an older or a newer one.

One rule for all: a file says its version, and one that says none has version 1. An older one is read or migrated. A
newer one is refused before anything is changed, so that the newer program finds everything as it has left it.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from kusciajob.files import arrivals
from kusciajob.operations.datadir import DataDirectoryError
from kusciajob.runtime.hosted import kept
from kusciajob.runtime.process.shim import PROTOCOL_VERSION
from kusciajob.runtime.process.shim.records import read_bytes
from kusciajob.runtime.process.shim_probe import ask_shim
from kusciajob.store.sqlite import database, landmark

MAX_BYTES = 4096
"""So much of a file is read to find its version."""
_VERSION_LINE = re.compile(rb"version ([0-9]{1,9})\n")
_REFUSED = "the server does not start"


class NewerFormat(DataDirectoryError):
    """Something in the data directory was written by a newer program."""


class Format(Struct, frozen=True):
    """A kind of file, or of what is sent over a socket; `name` is below the data directory."""

    name: str
    version: int
    """That of this program."""
    said_by: str
    older: str
    newer: str
    read: Callable[[Path], int] | None = None
    """The version that such a file says; 0 where there is none, or where it says nothing that can be understood."""


class _Versioned(Struct, frozen=True):
    version: int = 1


def _of_json(file: Path) -> int:
    try:
        return msgspec.json.decode(read_bytes(str(file), MAX_BYTES), type=_Versioned).version
    except msgspec.MsgspecError:
        return 0  # whoever needs it says what is wrong with it


def _of_text(file: Path) -> int:
    content = read_bytes(str(file), MAX_BYTES)
    said = _VERSION_LINE.match(content)
    return int(said[1]) if said else int(bool(content))


def _of_shim(socket: Path) -> int:
    try:
        hello = ask_shim(socket.parent)
    except (TimeoutError, msgspec.MsgspecError):
        return 0  # whoever needs it replaces it
    return hello.version if hello else 0


_LINE = "first line `version N`, from version 2 on"
FORMATS = (
    Format(
        "jobs.db",
        len(database.migrations()),
        "`PRAGMA user_version`; it counts for the JSON in the rows, too",
        "migrated at the start, all steps as one transaction",
        _REFUSED,  # by the store, which looks before it changes anything
    ),
    Format("jobs.head", landmark.VERSION, "field `version`", "read", _REFUSED, _of_json),
    Format("progress.key", 1, _LINE, "read", _REFUSED, _of_text),
    Format("progress.port", 1, _LINE, "read", _REFUSED, _of_text),
    Format("server.id", 1, _LINE, "read", _REFUSED, _of_text),
    Format("shim.cgroups", 1, _LINE, "read", _REFUSED, _of_text),
    Format(
        "shim.sock",
        PROTOCOL_VERSION,
        "the answer to `hello`",
        "spoken to; the shim is replaced by one of this version as soon as it runs nothing",
        f"{_REFUSED}; what the shim runs goes on",
        _of_shim,
    ),
    Format(
        "runs/*/*/*/party.json, exit.json",
        PROTOCOL_VERSION,
        "field `version`, that of the shim's protocol",
        "read",
        "left as it is; the party counts as lost, and its text says why",
    ),
    Format(
        "runs/*/*/*/hosted.json, ended.json, position.json",
        kept.VERSION,
        "field `version`",
        "read",
        "read: fields are only ever added",
    ),
    Format(
        "runs/*/*/*/stdout.arrivals, stderr.arrivals",
        arrivals.VERSION,
        "first line `version N`",
        "read",
        "left as it is; lines of that output are told without their times",
    ),
)


def newer(directory: Path) -> Iterator[str]:
    """A sentence for each file of a newer version in the data directory, and for a newer shim that runs there.

    What is newer in jobs.db is told by the store.
    """
    for each in FORMATS:
        found = each.read(directory / each.name) if each.read else 0
        if found > each.version:
            yield (
                f"{directory / each.name} has version {found}, this program knows versions up to {each.version}: "
                "run the newer program, or use another data directory"
            )


def check(directory: Path) -> None:
    """Raise NewerFormat if a format on disk is newer than this server's. Nothing is changed."""
    if sentence := next(newer(directory), None):
        raise NewerFormat(sentence)


def table() -> str:
    """For the page about upgrades."""
    lines = ["| what | version | says it by | an older one is | a newer one |", "|---|---|---|---|---|"]
    lines += [f"| `{each.name}` | {each.version} | {each.said_by} | {each.older} | {each.newer} |" for each in FORMATS]
    return "\n".join(lines)
