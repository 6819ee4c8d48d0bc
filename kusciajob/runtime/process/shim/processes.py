"""Facts about processes, from /proc."""

import ctypes
import os
from collections.abc import Callable, Iterator

from kusciajob.runtime.process.shim.records import log, read_bytes

MARKER = "KUSCIAJOB_PARTY"
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
LIBC = ctypes.CDLL(None, use_errno=True)
HAS_LISTS_OF_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class ProcessStat:
    """One reading of /proc/<pid>/stat; `ProcessStat.of` answers None for a process that is gone."""

    def __init__(self, fields: list[bytes]) -> None:
        self.is_dead = fields[0] in (b"Z", b"X")
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start_seconds = int(fields[19]) * TICK_SECONDS  # since boot

    @classmethod
    def of(cls, pid: int) -> "ProcessStat | None":
        # The program's name may hold blanks and parentheses, so the fields are counted behind the last one.
        fields = read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return cls(fields) if fields else None


def list_processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def list_children() -> list[int]:
    """The pids of this process's children."""
    return children_of(os.getpid())


def children_of(pid: int) -> list[int]:
    """The pids of a process's children; reads every process where the kernel keeps no list of children."""
    tasks = f"/proc/{pid}/task"
    try:
        # Each thread has its own.
        lists = [f"{tasks}/{thread}/children" for thread in os.listdir(tasks)]
    except OSError:
        return []
    if found := [int(child) for file in lists for child in read_bytes(file).split()]:
        return found
    if HAS_LISTS_OF_CHILDREN:
        return []
    return [other for other in list_processes() if (stat := ProcessStat.of(other)) and stat.parent == pid]


def marker_of(key: str, directory: str) -> str:
    """What the environment of a party's programs tells of it. Servers on one machine use the same keys."""
    return f"{key}@{directory}"


def read_marker(pid: int) -> str | None:
    """The marker of the party that a process was started for, by its environment."""
    found = (b"\0" + read_bytes(f"/proc/{pid}/environ")).partition(f"\0{MARKER}=".encode())[2]
    return found.partition(b"\0")[0].decode(errors="replace") or None


def send_signal(kill: Callable[[int, int], None], pid: int, number: int) -> bool:
    """True when something got the signal: not what is gone, nor what has become another user's."""
    try:
        kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def become_subreaper() -> None:
    """From now on whatever a descendant leaves behind becomes a child of this process."""
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        log(f"programs that daemonise cannot be followed: {os.strerror(ctypes.get_errno())}")


def forgo_privileges() -> None:
    """From now on this process and all it becomes get no more rights, also by set-user-ID programs. Raises OSError."""
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
