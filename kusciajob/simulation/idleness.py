"""Finds out that nothing can happen before time passes or a client calls."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kusciajob.model.errors import JobError

PAUSE_SECONDS = 0.0005
QUIET_LOOKS = 2
"""So many looks in a row find nothing: what comes by a socket is seen with the second."""


class NotIdle(JobError):
    """Something goes on for longer than a test wants to wait; the text says what."""


class CountingExecutor(ThreadPoolExecutor):
    """Knows how many pieces of work it has yet to do."""

    def __init__(self) -> None:
        super().__init__(max_workers=4, thread_name_prefix="kusciajob")
        self.pending = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.pending += 1
        work = super().submit(fn, *args, **kwargs)
        work.add_done_callback(self._note_end)
        return work

    def _note_end(self, _: Future[Any]) -> None:
        self.pending -= 1


class Prober:
    """Looks for rest. One look at a time: two would each see the other at work."""

    def __init__(self) -> None:
        self._looking = asyncio.Lock()

    async def until_idle(self, what_goes_on: Callable[[], str], *, patience_seconds: float) -> None:
        """Return once nothing goes on and no callback is left on the event loop. Raises NotIdle.

        `what_goes_on` is empty for nothing.
        """
        loop: Any = asyncio.get_running_loop()
        deadline, looks = time.monotonic() + patience_seconds, 0
        async with self._looking:
            while looks < QUIET_LOOKS:
                await asyncio.sleep(0)
                # Whatever has become ready comes after this in asyncio's own queue, and nothing else tells.
                what = "the event loop is busy" if loop._ready else what_goes_on()
                looks = 0 if what else looks + 1
                if what and time.monotonic() > deadline:
                    raise NotIdle(f"after {patience_seconds:g} s there is no rest: {what}")
                if what and not loop._ready:
                    await asyncio.sleep(PAUSE_SECONDS)
