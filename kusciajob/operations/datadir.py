"""The data directory: checks that it is a server's, locks it for one server, and keeps it private."""

import errno
import fcntl
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kusciajob.files import private
from kusciajob.files.regular import open_regular, read_regular

logger = logging.getLogger(__name__)

DATABASE = "jobs.db"
LOCK = "lock"
SERVER_ID = "server.id"
MAX_ID_BYTES = 64
_ID = re.compile(r"[0-9a-f]{32}")
MAX_LOCK_BYTES = 32
"""A lock file holds a process id; a longer one is somebody else's file."""
_BEFORE_THE_DATABASE = frozenset({LOCK, "certs", "appimages", "domains", "domains.yaml", "server.log", "lost+found"})
_BESIDE_THE_DATABASE = frozenset(
    {
        "jobs.head",
        "jobs.head.new",
        "runs",
        "progress.key",
        "progress.port",
        SERVER_ID,
        "shim.lock",
        "shim.log",
        "shim.sock",
        "shim.cgroups",
    }
)
OWN = _BEFORE_THE_DATABASE | _BESIDE_THE_DATABASE
"""What may be in a directory without a database: what is put there before the first start, and what a server leaves."""


class DataDirectoryError(Exception):
    """The directory cannot be used; the text says why and what to do."""


class DataDirectoryInUse(DataDirectoryError):
    """Another server works in the data directory."""


def claim(directory: Path, *, mode: int = 0o700) -> None:
    """Make the directory with that mode, or check that an existing one is a server's; that one stays unchanged.

    Raises DataDirectoryError if it holds something else, OSError if it cannot be made or read.
    """
    if not directory.is_dir():
        directory.mkdir(parents=True, mode=0o700)
        directory.chmod(mode)  # whatever the umask is
    names = sorted(os.listdir(directory))
    foreign = [name for name in names if name not in OWN]
    if foreign and DATABASE not in names:
        others = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise DataDirectoryError(
            f"{directory} is not a server's data directory: it is not empty and holds {foreign[0]!r}{others}; "
            "choose an empty or a new directory with --data-dir"
        )
    mode = directory.stat().st_mode
    if mode & 0o022:
        logger.warning(
            "data directory %s can be written by others (mode %o): they can replace what is in it",
            directory,
            mode & 0o777,
        )


def server_id(directory: Path) -> str:
    """The random name of the directory, by which servers that share a store tell theirs apart.

    Raises DataDirectoryError.
    """
    file = directory / SERVER_ID
    try:
        content = read_regular(file, MAX_ID_BYTES + 1) if file.exists() else b""
        found = content.decode(errors="replace").strip()
        if _ID.fullmatch(found):
            return found
        made = secrets.token_hex(16)
        private.write(file, f"{made}\n".encode())
    except OSError as error:
        raise DataDirectoryError(f"{file} cannot be read or written: {error.strerror}; remove it") from None
    return made


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Lock the directory until the block or the process ends. Raises DataDirectoryInUse, DataDirectoryError."""
    file = directory / LOCK
    try:
        descriptor = open_regular(file, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise DataDirectoryError(f"{file} cannot be the server's lock file: {error.strerror}; remove it") from None
    try:
        _lock(descriptor, directory)
        if os.fstat(descriptor).st_size > MAX_LOCK_BYTES:
            raise DataDirectoryError(f"{file} is not a server's lock file, it holds more than a process id; remove it")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, MAX_LOCK_BYTES, 0).decode(errors="replace").strip() or "unknown"
        raise DataDirectoryInUse(
            f"data directory {directory} is in use by the server with process id {pid}: "
            "stop that one or choose another with --data-dir"
        ) from None


def keep_private(directory: Path) -> None:
    """Make the database readable by its owner only, from the beginning; SQLite's other files get the same mode.

    Call it before SQLite opens the file: closing it here would drop SQLite's locks. Raises DataDirectoryError.
    """
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        file = directory / name
        try:
            descriptor = open_regular(file, os.O_RDONLY | (os.O_CREAT if name == DATABASE else 0))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                continue  # an operator made the link; the mode of its target is theirs
            raise DataDirectoryError(f"{file} cannot be the server's database: {error.strerror}") from None
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
