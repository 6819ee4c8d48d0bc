"""Time that moves only when a test says so."""

import asyncio
import time
from collections.abc import Callable

from tests.support.builders import NOW


class ManualClock:
    """A Clock that stands still; `advance` moves it and calls whatever has come due, in order."""

    def __init__(self, now: float = NOW) -> None:
        self._now = now
        self._turned = 0.0
        self._timers: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now + self._turned

    def monotonic(self) -> float:
        """The machine's, as its time-outs are."""
        return time.monotonic()

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        return asyncio.timeout(seconds)

    def turn(self, seconds: float) -> None:
        """Somebody sets the hands; timers take no notice."""
        self._turned += seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self._now + seconds, callback, (), asyncio.get_running_loop())
        self._timers.append((handle, callback))
        return handle

    @property
    def timers(self) -> int:
        """How many calls are to come."""
        return sum(not handle.cancelled() for handle, _ in self._timers)

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer[0].when() <= end]:
            timer = min(due, key=lambda timer: timer[0].when())
            self._timers.remove(timer)
            handle, callback = timer
            if not handle.cancelled():
                self._now = max(self._now, handle.when())
                callback()
        self._now = end
