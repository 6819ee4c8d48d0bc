"""Looking at processes, from /proc."""

import json
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


def running_below(directory: Path) -> list[str]:
    """The keys of the parties that have begun there and not ended: party.json becomes exit.json."""
    return sorted(json.loads(file.read_text())["key"] for file in directory.glob("**/party.json"))


async def end_all_below(client: ShimClient, directory: Path) -> None:
    """By force."""
    for key in running_below(directory):
        await client.stop(key, grace_seconds=0)


def pid_of(client: ShimClient) -> int:
    """Of the shim that the client is connected to."""
    assert client.shim_pid is not None
    return client.shim_pid
