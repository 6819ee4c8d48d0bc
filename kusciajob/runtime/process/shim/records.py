"""The files of a party and of the shim."""

import contextlib
import json
import os
import time
from typing import Any

from kusciajob.files.regular import open_own, open_regular
from kusciajob.runtime.process.shim import PROTOCOL_VERSION

MAX_LOG_BYTES = 1 << 20
READ_BYTES = 64 << 10
MAX_RECORD_BYTES = 64 << 10
TOO_LARGE = 10**9
"""For a version: what says so was written by a program of a party."""


def log(text: str) -> None:
    """Writes one line to stderr, the shim's log file; starts the file anew when it has grown too large."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} shim[{os.getpid()}] {' '.join(text.split())}\n"
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > MAX_LOG_BYTES:
            os.ftruncate(2, 0)
        os.write(2, line.encode(errors="backslashreplace"))


def read_bytes(path: str, limit_bytes: int | None = None) -> bytes:
    """The content of a file up to the limit, empty when it cannot be read."""
    chunks = []
    left = limit_bytes
    try:
        fd = open_regular(path, os.O_RDONLY)
        try:
            # Files below /proc give a page at a time.
            while chunk := os.read(fd, READ_BYTES if left is None else min(READ_BYTES, left)):
                chunks.append(chunk)
                if left is not None:
                    left -= len(chunk)
        finally:
            os.close(fd)
    except OSError:
        return b""
    return b"".join(chunks)


def newer_version(record: dict[str, Any]) -> int | None:
    """The version of a record that a later shim has written; None for one that this shim can read."""
    version = record.get("version", 1)
    return version if isinstance(version, int) and PROTOCOL_VERSION < version < TOO_LARGE else None


def read_record(path: str) -> dict[str, Any] | None:
    """A JSON object written by a shim; None when it is missing or was cut off."""
    try:
        record = json.loads(read_bytes(path, MAX_RECORD_BYTES))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: str, record: dict[str, Any]) -> None:
    """Raises OSError. Not synced: a power loss ends the party too."""
    fd = open_own(path, os.O_WRONLY | os.O_CREAT)
    try:
        # No O_TRUNC: ext4 would start writing to the disk when the file is closed.
        os.ftruncate(fd, os.write(fd, json.dumps(record).encode()))
    finally:
        os.close(fd)


def write_exit(directory: str, record: dict[str, Any]) -> None:
    """Raises OSError. Readers see the complete exit.json or none."""
    # party.json becomes exit.json: creating a file is the dearest thing the shim does, and a full disk forbids it.
    write_record(f"{directory}/party.json", record)
    os.rename(f"{directory}/party.json", f"{directory}/exit.json")


def describe_exit(
    key: str,
    *,
    code: int | None,
    started_at: float,
    ended_at: float,
    stopped: bool = False,
    lost: bool = False,
    restarts: int = 0,
) -> dict[str, Any]:
    """The exit record; a negative code is the number of the signal that ended the program."""
    is_signal = code is not None and code < 0
    return {
        "version": PROTOCOL_VERSION,
        "key": key,
        "code": None if is_signal else code,
        "signal": -code if code is not None and is_signal else None,
        "started_at": started_at,
        "ended_at": ended_at,
        "stopped": stopped,
        "lost": lost,
        "restarts": restarts,
    }
