"""Tells whether a file has changed since it was read."""

from pathlib import Path

Stamp = tuple[int, ...]
"""Mode (first), identity, size and times of a file. When they change, the file is read again."""


def stamp_of(path: Path) -> Stamp:
    """The stamp of the file that the path leads to. Raises OSError."""
    status = path.stat()
    return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
