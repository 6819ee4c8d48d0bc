"""Keeps a file that grows within a limit. It needs the standard library only: the shim uses it, too."""

import ctypes
import os

from kusciajob.files.regular import open_regular

BLOCK_BYTES = 4096
FALLOC_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02


def free_oldest(path: str, limit_bytes: int) -> None:
    """Free the oldest part of a file once it holds more than the limit; the newest half of the limit stays.

    The freed part becomes a hole, so offsets stay valid: a reader starts at lseek(SEEK_DATA), or sees NULs before it.
    Where the file system has no holes the file is emptied and goes on from its beginning. Raises OSError.
    """
    fd = open_regular(path, os.O_WRONLY)
    try:
        found = os.fstat(fd)
        if found.st_blocks * 512 <= limit_bytes + BLOCK_BYTES:
            return
        freed = (found.st_size - limit_bytes // 2) // BLOCK_BYTES * BLOCK_BYTES
        hole = ctypes.c_int64(0), ctypes.c_int64(freed)
        if freed > 0 and ctypes.CDLL(None).fallocate(fd, FALLOC_KEEP_SIZE_PUNCH_HOLE, *hole) != 0:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
