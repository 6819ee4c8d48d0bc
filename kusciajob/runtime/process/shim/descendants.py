"""Follows what programs start where there are no cgroups: by parent as long as it is seen, by session, by environment.

This process is the subreaper: whatever loses its parent becomes its child, so that nothing gets away from all parties.
But to which of them it belongs can be missed when it left session, environment and parent within LOOK_SECONDS of its
start. Then it ends with the last of the parties that ran when it appeared.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from kusciajob.runtime.process.shim.processes import (
    TICK_SECONDS,
    ProcessStat,
    children_of,
    list_children,
    read_marker,
    send_signal,
)

LOOK_SECONDS = 0.25


class Descendants:
    """Has the methods of `Cgroups`, for machines without cgroups."""

    kind = "descent (parent, session, environment)"

    def __init__(self) -> None:
        self._leaders: dict[int, str] = {}  # the running parties by their main process, which may have ended
        self._began: dict[str, float] = {}  # when they were spawned at the earliest, in seconds since boot
        self._owners: dict[int, frozenset[str]] = {}  # who a process can belong to, mostly one
        self._look_at = 0.0

    @contextlib.contextmanager
    def around(self, key: str) -> Iterator[None]:
        """Notes when a party is spawned; it is a child of this process anyway."""
        self._began[key] = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            yield
        except BaseException:
            del self._began[key]
            raise

    def add(self, key: str, pid: int) -> None:
        """This process has become a party's main one."""
        if not self._leaders:
            self._look_at = time.monotonic() + LOOK_SECONDS
        self._leaders[pid] = key

    def remove(self, key: str) -> None:
        """Nothing is left of the party."""
        del self._began[key]
        self._leaders = {pid: other for pid, other in self._leaders.items() if other != key}

    def sweep(self, keys: set[str]) -> set[str]:
        """Kills what is left of these parties. Returns those of which nothing is left."""
        others = set(self._leaders.values()) - keys
        left: set[str] = set()
        for pid in list_children():
            if pid in self._leaders:
                continue
            owners = self._owners.get(pid)
            if owners is None:
                owners = self._owners[pid] = self._find_owners(pid)
            if others.isdisjoint(owners) and send_signal(os.kill, pid, signal.SIGKILL):
                left |= owners
        return keys - left

    def next_look(self) -> float | None:
        """The monotonic time of the next `look`; None while no party runs."""
        return self._look_at if self._leaders else None

    def look(self) -> None:
        """Notes to which party each process belongs, while its parents are still alive."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        known, self._owners = self._owners, {}
        for pid in list_children():
            owners = known.get(pid) if pid not in self._leaders else None
            if owners is None:
                owners = self._find_owners(pid)
            waiting = [pid]
            while waiting:
                found = waiting.pop()
                self._owners[found] = owners
                waiting += children_of(found)

    def _find_owners(self, pid: int) -> frozenset[str]:
        if pid in self._leaders:
            return frozenset((self._leaders[pid],))
        stat = ProcessStat.of(pid)
        if stat is None:
            return frozenset()
        if stat.session in self._leaders:
            return frozenset((self._leaders[stat.session],))
        running = frozenset(
            key for key in self._leaders.values() if self._began[key] <= stat.start_seconds + TICK_SECONDS
        )
        # Any program can take another's marker: only here, where nothing better is known, it counts.
        key = (read_marker(pid) or "").partition("@")[0]
        return frozenset((key,)) if key in running else running
