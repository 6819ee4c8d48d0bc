"""Looking at processes, from /proc."""

from pathlib import Path

from kusciajob.runtime.process.shim_client import ShimClient


def state_of(pid: int) -> str | None:
    """The letter of a process's state, None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_alive(pid: int) -> bool:
    return state_of(pid) not in (None, "Z", "X")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(client: ShimClient) -> int:
    """Of the shim that the client is connected to."""
    assert client.shim_pid is not None
    return client.shim_pid
