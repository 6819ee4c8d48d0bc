"""Notices that the shim no longer answers, and kills it, so that another one takes its place."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

ANSWER_SECONDS = 10.0
BEATS = 4
"""So often the shim is asked in that time. It is given up after as many questions without an answer, not by the clock:
a server that was suspended for a while must not take the pause for the shim's."""


class Heartbeat:
    """Sends requests over one connection until `stop`. Any message from the shim counts as an answer.

    Without an answer it calls `on_doubt` after half of the time, and `on_silence` at its end.
    """

    def __init__(
        self,
        *,
        ask: Callable[[], None],
        on_doubt: Callable[[], None],
        on_silence: Callable[[], None],
        answer_seconds: float,
    ) -> None:
        self._ask = ask
        self._on_doubt = on_doubt
        self._on_silence = on_silence
        self._pause_seconds = answer_seconds / BEATS
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._beat()

    def hear(self) -> None:
        """The shim has sent something."""
        self._unanswered = 0

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        if self._unanswered == BEATS:
            self._on_silence()
            return
        if self._unanswered == BEATS // 2:
            self._on_doubt()
        self._unanswered += 1
        self._ask()
        self._timer = asyncio.get_running_loop().call_later(self._pause_seconds, self._beat)


def kill_shim(directory: Path) -> list[int]:
    """Send SIGKILL to the shim of this data directory, which may hang; return its pids. They hold its lock."""
    lock = f"{os.path.realpath(directory)}/shim.lock"  # not where a link leads that a program has put there
    killed = []
    for pid in list(_lock_holders(lock)):
        with suppress(OSError):  # it has ended meanwhile
            process = os.pidfd_open(pid)
            try:
                # Again: until the descriptor was there the number could go to another process.
                if pid in _lock_holders(lock, [str(pid)]):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    killed.append(pid)
            finally:
                os.close(process)
    return killed


def _lock_holders(lock: str, pids: list[str] | None = None) -> Iterator[int]:
    """The processes that have the file open and locked."""
    # A program can have removed the file: then the system names it so.
    names = (lock, f"{lock} (deleted)")
    for pid in pids if pids is not None else filter(str.isdecimal, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in names and _is_locked(pid, fd):
                    yield int(pid)
                    break
        except OSError:  # gone, or another user's
            continue


def _is_locked(pid: str, fd: str) -> bool:
    return any(line.startswith("lock:") for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines())
