"""Notes when the output of a program arrived, beside the output. It needs the standard library only, as the shim does.

One file for each stream: a header, then records of a time and of the bytes that had arrived by then. Both never
decrease. A full file loses every other record: it gets coarser, the older the coarser, and stays true.
"""

import math
import os
import struct
from collections.abc import Sequence

from kusciajob.files.regular import open_own, open_regular

VERSION = 1
HEADER = b"version 1\n     \n"
RECORD = struct.Struct("<dQ")
MAX_RECORDS = 4096


def note(path: str, records: Sequence[tuple[float, int]], *, after: int) -> None:
    """Add records, of seconds since the epoch and bytes; those beyond `after` bytes are dropped before.

    A file of another version stays as it is. Raises OSError.
    """
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        size = os.fstat(descriptor).st_size
        if size < len(HEADER):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, HEADER, 0)
        elif os.pread(descriptor, len(HEADER), 0) != HEADER:
            return
        count = max(0, size - len(HEADER)) // RECORD.size
        end = len(HEADER) + count * RECORD.size
        last_at, last_bytes = RECORD.unpack(os.pread(descriptor, RECORD.size, end - RECORD.size)) if count else (0.0, 0)
        if last_bytes <= after and count + len(records) <= MAX_RECORDS:
            os.pwrite(descriptor, _pack(records, last_at), end)  # over what a crash has left of a record
            return
        kept = [record for record in _records(descriptor) if record[1] <= after]
    finally:
        os.close(descriptor)
    _replace(path, _thinned([*kept, *records]))


def read(path: str | os.PathLike[str]) -> list[tuple[float, int]]:
    """All records in order; none of a file that is missing, of another version, or of another kind."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return []
    try:
        return _records(descriptor)
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _records(descriptor: int) -> list[tuple[float, int]]:
    content = os.pread(descriptor, len(HEADER) + MAX_RECORDS * RECORD.size, 0)
    if not content.startswith(HEADER):
        return []
    whole = (len(content) - len(HEADER)) // RECORD.size * RECORD.size
    records: list[tuple[float, int]] = []
    last_at, last_bytes = 0.0, 0
    for at, size in RECORD.iter_unpack(content[len(HEADER) : len(HEADER) + whole]):
        # A program can have written into the file.
        if not (last_at <= at < math.inf) or size < last_bytes:
            break
        last_at, last_bytes = at, size
        records.append((at, size))
    return records


def _thinned(records: list[tuple[float, int]]) -> list[tuple[float, int]]:
    while len(records) > MAX_RECORDS:
        records = records[1 - len(records) % 2 :: 2]  # the last one stays
    return records


def _pack(records: Sequence[tuple[float, int]], last_at: float = 0.0) -> bytes:
    packed = bytearray()
    for at, size in records:
        last_at = max(last_at, at)  # a clock can be set back
        packed += RECORD.pack(last_at, size)
    return bytes(packed)


def _replace(path: str, records: Sequence[tuple[float, int]]) -> None:
    """Readers see the former content or the new one."""
    descriptor = open_own(f"{path}.new", os.O_WRONLY | os.O_CREAT)
    try:
        os.ftruncate(descriptor, os.write(descriptor, HEADER + _pack(records)))
    finally:
        os.close(descriptor)
    os.rename(f"{path}.new", path)
