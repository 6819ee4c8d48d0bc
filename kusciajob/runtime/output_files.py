"""Reads the output of programs, and when it arrived. A program can have replaced its output file by something else."""

import errno
import os
import stat
from pathlib import Path

from kusciajob.contracts import Arrival, OutputPiece, OutputStream
from kusciajob.files import arrivals as index
from kusciajob.files.regular import open_regular

NAMES = {OutputStream.STDOUT: "stdout.log", OutputStream.STDERR: "stderr.log"}
ARRIVALS = {OutputStream.STDOUT: "stdout.arrivals", OutputStream.STDERR: "stderr.arrivals"}
TAIL_LINES = 5
TAIL_BYTES = 2048
READ_BYTES = 64 * 1024


def read(file: Path, offset: int) -> OutputPiece:
    """The data after the offset. It skips the hole that the limit of output leaves, which would read as NULs.

    Nothing if the program has replaced the file by something else.
    """
    try:
        descriptor = open_regular(file)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO):
            return OutputPiece(offset, b"")
        raise
    try:
        if offset > os.fstat(descriptor).st_size:
            offset = 0  # where there are no holes, the file was emptied
        while True:
            start = _data_from(descriptor, offset)
            data = os.pread(descriptor, READ_BYTES, start)
            if _data_from(descriptor, start) == start:  # else the hole has grown meanwhile
                return OutputPiece(start, data)
    finally:
        os.close(descriptor)


def size(file: Path) -> int:
    """How many bytes were written, also those that are gone; 0 if the program has replaced the file."""
    try:
        found = os.lstat(file)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def arrivals(directory: Path) -> list[Arrival]:
    """See OutputSource."""
    known = {stream: index.read(directory / name) for stream, name in ARRIVALS.items()}
    sizes = dict.fromkeys(OutputStream, 0)
    found: list[Arrival] = []
    news = sorted((at, stream, written) for stream, records in known.items() for at, written in records)
    for at, stream, written in news:
        sizes[stream] = written
        if found and found[-1].at == at:
            found.pop()
        found.append(Arrival(at, sizes[OutputStream.STDOUT], sizes[OutputStream.STDERR]))
    return found


def _data_from(descriptor: int, offset: int) -> int:
    """The first offset, from this one on, that is not in a hole."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:  # at the end, or the file system knows no holes
        return offset


def tail(file: Path) -> str:
    """The last lines of a program's output, at most 2 KiB."""
    try:
        with open(open_regular(file), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
