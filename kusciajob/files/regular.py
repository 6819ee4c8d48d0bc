"""Opens regular files only, for places where programs and other users can put something else.

It needs the standard library only: the shim uses it, too.
"""

import errno
import os
import stat


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. Raises OSError; with EINVAL, ELOOP or ENXIO it is no regular file.

    A FIFO would hang the caller, a link would lead it to a file of somebody else.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file that only we use: anything else of its name is removed, but for directories. Raises OSError."""
    try:
        return open_regular(path, flags)
    except OSError:
        if stat.S_ISREG(os.lstat(path).st_mode):
            raise
        os.unlink(path)
        return open_regular(path, flags)


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The beginning of the file, up to that many bytes. Raises OSError as `open_regular` does."""
    descriptor = open_regular(path)
    try:
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)
