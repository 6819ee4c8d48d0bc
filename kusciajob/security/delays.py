"""Delays the answers to wrong tokens, longer with each one from the same peer."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeAlias

FREE_FAILURES = 8
FIRST_SECONDS = 0.1
FORGOTTEN_SECONDS = 60.0
MAX_PEERS = 4096
MAX_WAITING = 1024

Sleep: TypeAlias = Callable[[float], Awaitable[None]]


class FailureDelays:
    """How long refusals of each peer are held back. It remembers MAX_PEERS peers and holds MAX_WAITING refusals.

    Only refusals wait: a right token is served at once, whoever else calls from that address.
    """

    def __init__(
        self, longest_seconds: float, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._sleep = sleep
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How many, and when the last one was; the peer that failed last comes last."""
        self._waiting = 0

    def note(self, peer: str) -> float:
        """Note a failure, and return the seconds to wait before it is answered."""
        now = self._clock()
        count, last = self._failures.pop(peer, (0, now))
        count = 1 if now - last > FORGOTTEN_SECONDS else count + 1
        self._failures[peer] = count, now
        if len(self._failures) > MAX_PEERS:
            self._failures.popitem(last=False)
        beyond = count - FREE_FAILURES
        # The exponent is bounded: a patient peer must not make the power overflow.
        return min(FIRST_SECONDS * 2 ** min(beyond - 1, 16), self._longest_seconds) if beyond > 0 else 0.0

    async def hold(self, peer: str) -> None:
        """Note a failure and return when it may be answered: at once while too many others wait already."""
        seconds = self.note(peer)
        if not seconds or self._waiting >= MAX_WAITING:
            return
        self._waiting += 1
        try:
            await self._sleep(seconds)
        finally:
            self._waiting -= 1
