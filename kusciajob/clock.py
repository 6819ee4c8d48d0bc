"""The machine's time. What all parts ask of a clock is in contracts.Clock."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timers(Protocol):
    """What a pause needs of a clock."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back on the event loop after that long."""


async def pause(seconds: float, *, clock: Timers) -> None:
    """Wait that many seconds of the clock."""
    over = asyncio.Event()
    timer = clock.call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        return asyncio.timeout(seconds)
