"""Opens regular files only, where programs and other users can put something else in their place.

It needs the standard library only: the shim uses it, too.
"""

import errno
import os
import stat


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. OSError: there is none; EINVAL, ELOOP, ENXIO: there is something else.

    A FIFO would hang the caller, a link would lead it to a file of somebody else.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """The same for a file that is only ours: what else has its name is removed, directories stay. OSError."""
    try:
        return open_regular(path, flags)
    except OSError:
        if stat.S_ISREG(os.lstat(path).st_mode):
            raise
        os.unlink(path)
        return open_regular(path, flags)


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """What the file begins with, up to so many bytes. OSError, as of `open_regular`."""
    descriptor = open_regular(path)
    try:
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)
