"""Starts the shim: `python -I -S` with this file, the directory and, where it differs, the programs' limit of files.

Returns once the daemon listens: 0, or EXIT_LOCKED when another shim has the directory.
"""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys

# Isolated mode knows no package directory; appended, so that nothing there hides the standard library.
sys.path.append(os.path.abspath(f"{__file__}/../../../.."))

from kusciajob.runtime.shim import EXIT_LOCKED
from kusciajob.runtime.shim.processes import become_subreaper
from kusciajob.runtime.shim.service import Service


def listen(directory: int) -> socket.socket | None:
    """The listening socket of a directory given as descriptor; None when another shim has it."""
    lock = os.open("shim.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    with contextlib.suppress(FileNotFoundError):
        os.unlink("shim.sock", dir_fd=directory)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        # A socket's path holds 108 bytes at most; the way over the descriptor is always short.
        listener.bind(f"/proc/self/fd/{directory}/shim.sock")
    finally:
        os.umask(mask)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def main() -> None:
    directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchmod(directory, 0o700)
    listener = listen(directory)
    if listener is None:
        sys.exit(EXIT_LOCKED)
    if os.fork():
        os._exit(0)  # tells the caller that the socket is ready, and leaves it no child to wait for
    os.chdir("/")
    # Children inherit all of it from here: the server's scheduling class would slow a program that computes.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if len(sys.argv) > 2:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), most))
    become_subreaper()
    Service(listener).run()
    with contextlib.suppress(OSError):
        os.unlink("shim.sock", dir_fd=directory)


if __name__ == "__main__":
    main()
