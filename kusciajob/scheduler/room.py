"""Jobs that wait for the runtime to have room for a task."""

from collections.abc import Callable
from heapq import nsmallest

WAKE_PER_ROOM = 16
"""How many waiting jobs look again when a party has ended: the oldest first."""


class WaitingRoom:
    """Wakes the oldest of the waiting jobs whenever something has let go of its reservations."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[], None]] = {}

    @property
    def occupants(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def enter(self, job: int, wake: Callable[[], None]) -> None:
        """Wait from now on. To miss nothing, enter without awaiting anything after the refusal."""
        self._waiting[job] = wake

    def leave(self, job: int) -> None:
        """Wait no more; not to wait at all is fine."""
        self._waiting.pop(job, None)

    def announce(self) -> None:
        """Room may have been made."""
        if self._waiting:
            for job in nsmallest(WAKE_PER_ROOM, self._waiting):
                self._waiting[job]()
