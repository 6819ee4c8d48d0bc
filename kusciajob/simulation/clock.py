"""Time that passes as a test says."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from kusciajob.clock import pause

START = 1_893_456_000.0
"""2030-01-01T00:00:00Z, always the same, so that what a test sees does not depend on its day."""
MANY_TIMERS = 1000

_Timer: TypeAlias = tuple[float, int, asyncio.TimerHandle, Callable[[], None]]


class Mode(StrEnum):
    """How time passes: not by itself, to the next timer whenever nothing else can happen, or as the machine's."""

    STOPPED = "stopped"
    AUTO = "auto"
    MACHINE = "machine"


class _Timers:
    """Calls to come, in their order."""

    def __init__(self) -> None:
        self._heap: list[_Timer] = []
        self._numbers = count()
        self._look_at = MANY_TIMERS

    def add(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())
        heappush(self._heap, (when, next(self._numbers), handle, callback))
        if len(self._heap) > self._look_at:  # most are time-outs of what has come in time
            self._heap = [timer for timer in self._heap if not timer[2].cancelled()]
            heapify(self._heap)
            self._look_at = max(MANY_TIMERS, 2 * len(self._heap))
        return handle

    @property
    def next_at(self) -> float | None:
        while self._heap and self._heap[0][2].cancelled():
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Callable[[], None]:
        """What comes first."""
        return heappop(self._heap)[3]

    def clear(self) -> list[Callable[[], None]]:
        """Drop all, and return them."""
        heap, self._heap = self._heap, []
        return [callback for _, _, handle, callback in sorted(heap) if not handle.cancelled()]


class VirtualClock:
    """A Clock that stands until it is landed elsewhere.

    The timers of its `upkeep`, which is a Clock too, are of what comes again and again, such as heartbeats: time does
    not stop for them on its way, each is called at the next landing.
    """

    def __init__(self, mode: Mode = Mode.STOPPED) -> None:
        self._now = START
        self._since = time.monotonic()
        self.mode = mode
        self._timers = _Timers()
        self.upkeep = Upkeep(self)
        self.news = asyncio.Event()
        """Set when there is another timer, or the mode has changed."""

    def now(self) -> float:
        return self._now + (time.monotonic() - self._since if self.mode is Mode.MACHINE else 0.0)

    def monotonic(self) -> float:
        return self.now()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.news.set()
        return self._timers.add(self.now() + seconds, callback)

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
        """As asyncio.timeout, by the timers of the upkeep."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as scope:

            def expire() -> None:
                if not scope.expired():
                    scope.reschedule(loop.time())

            timer = None if seconds is None else self.upkeep.call_later(seconds, expire)
            try:
                yield scope
            finally:
                if timer is not None:
                    timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await pause(seconds, clock=self)

    @property
    def next_at(self) -> float | None:
        """The time of the next timer that is none of the upkeep's; None if there is none."""
        return self._timers.next_at

    @property
    def next_of_all(self) -> float | None:
        """The time of the next timer of any kind."""
        return min((at for at in (self.next_at, self.upkeep.timers.next_at) if at is not None), default=None)

    def land(self, at: float) -> None:
        """It is that time, or later: call what is due, in order."""
        while True:
            due = [each for each in (self._timers, self.upkeep.timers) if (each.next_at or at + 1) <= at]
            if not due:
                break
            first = min(due, key=lambda each: each.next_at or at)
            self._set(max(self._now, min(first.next_at or at, at)))
            first.pop()()
        self._set(max(self._now, at))

    def set_mode(self, mode: Mode) -> None:
        self._set(self.now())
        self.mode = mode
        self.news.set()

    def reset(self, mode: Mode) -> None:
        """It is the start. Whatever waited is called, so that nothing hangs; its timers go with it."""
        for callback in (*self._timers.clear(), *self.upkeep.timers.clear()):
            callback()
        self._timers.clear()
        self.upkeep.timers.clear()
        self._set(START)
        self.set_mode(mode)

    def _set(self, now: float) -> None:
        self._now, self._since = now, time.monotonic()


class Upkeep:
    """The same time, with timers for which it does not stop."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.timers = _Timers()
        self.now = clock.now
        self.monotonic = clock.monotonic
        self.timeout = clock.timeout

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        if self._clock.mode is Mode.MACHINE:
            self._clock.news.set()
        return self.timers.add(self._clock.now() + seconds, callback)
