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
sys.path.append(os.path.abspath(f"{__file__}/../../../../.."))

from kusciajob.files.regular import open_own
from kusciajob.runtime.process.shim import EXIT_LOCKED
from kusciajob.runtime.process.shim.cgroups import LeftGroups, base_name, find_cgroups
from kusciajob.runtime.process.shim.descendants import Descendants
from kusciajob.runtime.process.shim.processes import become_subreaper
from kusciajob.runtime.process.shim.service import Service


def listen() -> socket.socket | None:
    """The listening socket in the working directory; None when another shim has it.

    A socket's path holds 108 bytes at most, so it is named from there.
    """
    lock = open_own("shim.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    with contextlib.suppress(FileNotFoundError):
        os.unlink("shim.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind("shim.sock")
    finally:
        os.umask(mask)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def main() -> None:
    directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(directory)
    listener = listen()
    if listener is None:
        sys.exit(EXIT_LOCKED)
    if os.fork():
        os._exit(0)  # tells the caller that the socket is ready, and leaves it no child to wait for
    place = os.getcwd()
    os.chdir("/")
    # Children inherit all of it from here: the server's scheduling class would slow a program that computes.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if len(sys.argv) > 2:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), most))
    become_subreaper()
    name = base_name(place)
    left = LeftGroups(place, name)
    cgroups = find_cgroups(name)
    if cgroups is not None:
        left.note(cgroups.base)
    Service(listener, containment=cgroups or Descendants(), left=left).run()
    left.close()
    with contextlib.suppress(OSError):
        os.unlink("shim.sock", dir_fd=directory)


if __name__ == "__main__":
    main()
