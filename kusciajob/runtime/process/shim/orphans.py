"""Kills what a killed shim left running."""

import os
import signal
import time
from typing import Any

from kusciajob.runtime.process.shim.processes import TICK_SECONDS, ProcessStat, list_processes, read_marker, send_signal
from kusciajob.runtime.process.shim.records import log, read_bytes

KILL_SECONDS = 5.0
POLL_SECONDS = 0.005


def read_boot_id() -> str:
    return read_bytes("/proc/sys/kernel/random/boot_id").decode().strip()


class Orphans:
    """Processes of parties that this shim did not spawn."""

    def __init__(self) -> None:
        self.boot_id = read_boot_id()
        self._markers: set[str] | None = None

    def kill(self, marker: str, spawned: dict[str, Any]) -> None:
        """Returns when nothing of the party described by party.json is left, or says in the log that it is."""
        if self._markers is None:
            # Once is enough: a party that has no process now gets one from this shim only.
            self._markers = {found for pid in list_processes() if (found := read_marker(pid))}
        leader = self._find_leader(spawned)
        if leader is None and marker not in self._markers:
            return
        deadline = time.monotonic() + KILL_SECONDS
        known: dict[int, float] = {}
        while time.monotonic() < deadline:
            left = self._find(marker, leader, known)
            if not left:
                return
            known |= left
            for pid in left:
                send_signal(os.kill, pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        log(f"party {marker}: processes of a killed shim are still there after {KILL_SECONDS:g} s")

    @staticmethod
    def _find(marker: str, leader: int | None, known: dict[int, float]) -> dict[int, float]:
        """The party's processes that are alive, and their start: by session, by environment, and what they started."""
        stats = {pid: stat for pid in list_processes() if (stat := ProcessStat.of(pid)) and not stat.is_dead}
        found = {
            pid: stat.start_seconds
            for pid, stat in stats.items()
            # A dying process no longer shows its environment, so the ones seen are remembered.
            if known.get(pid) == stat.start_seconds or stat.session == leader or read_marker(pid) == marker
        }
        count = 0
        while len(found) > count:
            count = len(found)
            found |= {pid: stat.start_seconds for pid, stat in stats.items() if stat.parent in found}
        return found

    def _find_leader(self, spawned: dict[str, Any]) -> int | None:
        """The recorded main process, if that very process is still there."""
        match spawned:
            case {"pid": int(pid), "boot_id": self.boot_id, "spawned_between": [float(before), float(after)]}:
                stat = ProcessStat.of(pid)
                if stat and before - TICK_SECONDS <= stat.start_seconds <= after + TICK_SECONDS:
                    return pid
        return None
