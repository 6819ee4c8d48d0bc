"""Parties whose program is started again when it fails, after a pause that doubles each time, as in Kubernetes.

One run follows the other: the next begins when nothing of the last is left.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from kusciajob.files.regular import open_regular
from kusciajob.runtime.process.shim.outputs import OUTPUT_NAMES

MAX_PAUSE_SECONDS = 300.0

Launch = Callable[..., int]
"""Spawns the program with `stdout` and `stderr`, and answers its pid."""


class Restart(NamedTuple):
    """How often a failed program is started again, and the seconds before the first time."""

    limit: int
    pause_seconds: float


class Restartable(Protocol):
    """What this module needs of a party."""

    key: str
    directory: str
    code: int
    is_stopped: bool
    restart: Restart | None
    restarts: int


P = TypeVar("P", bound=Restartable)


class Paused(Generic[P]):
    """Parties between two runs."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, P]] = {}

    def add(self, party: P) -> bool:
        """Whether the party that has ended is to be started again; then it waits here."""
        restart = party.restart
        if restart is None or party.code == 0 or party.is_stopped or party.restarts >= restart.limit:
            return False
        # The exponent is bounded: a large limit would lead beyond every float.
        pause_seconds = min(restart.pause_seconds * 2.0 ** min(party.restarts, 64), MAX_PAUSE_SECONDS)
        party.restarts += 1
        _tell(party, pause_seconds)
        self._due[party.key] = time.monotonic() + pause_seconds, party
        return True

    def hurry(self, party: P) -> bool:
        """Make a waiting party due at once; False when it does not wait."""
        if party.key not in self._due:
            return False
        self._due[party.key] = time.monotonic(), party
        return True

    def due_times(self) -> list[float]:
        """The monotonic times at which parties are due."""
        return [due for due, _ in self._due.values()]

    def take_due(self, now: float) -> list[P]:
        """Those whose pause is over; they wait no more."""
        taken = [party for due, party in self._due.values() if due <= now]
        for party in taken:
            del self._due[party.key]
        return taken


def spawn_again(directory: str, spawn: Callable[..., None]) -> None:
    """Let `spawn` begin the next run, which goes on writing to the party's output. Raises OSError, RequestError."""
    opened = []
    try:
        for name in OUTPUT_NAMES:
            opened.append(open_regular(f"{directory}/{name}", os.O_WRONLY | os.O_APPEND))
        spawn(stdout=opened[0], stderr=opened[1])
    finally:
        for fd in opened:
            os.close(fd)


def _tell(party: Restartable, pause_seconds: float) -> None:
    """Write a line that tells the reader of the output why it begins anew."""
    end = f"exit code {party.code}" if party.code >= 0 else f"killed by signal {-party.code}"
    limit = party.restart.limit if party.restart else 0
    text = f"kusciajob: {end}; started again in {pause_seconds:g} s ({party.restarts} of {limit})\n"
    with contextlib.suppress(OSError):
        fd = open_regular(f"{party.directory}/{OUTPUT_NAMES[1]}", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
