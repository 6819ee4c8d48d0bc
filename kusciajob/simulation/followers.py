"""Those who follow the output of programs, so that a test knows when they have read what there is."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kusciajob.usecases.logs import Pause


class _Follower:
    def __init__(self) -> None:
        self.has_seen: object = None
        """What there was when it began to look; None before its first pause, whose look nobody has noted."""
        self.wake: asyncio.Event | None = None
        """Set to end its pause; None while it looks, or waits for its client to read."""


class Followers:
    """`present` tells what there is to be seen: another value once anything is written, or a job has changed."""

    def __init__(self, present: Callable[[], object]) -> None:
        self._present = present
        self._all: set[_Follower] = set()

    @contextmanager
    def follow(self) -> Iterator[Pause]:
        """See usecases.logs.Following."""
        follower = _Follower()

        async def pause(seconds: float) -> None:
            follower.wake = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await follower.wake.wait()
            follower.wake, follower.has_seen = None, self._present()

        self._all.add(follower)
        try:
            yield pause
        finally:
            self._all.discard(follower)

    def hurry(self) -> int:
        """Let those look who have not seen what there is; how many there are."""
        present = self._present()
        behind = [each for each in self._all if each.wake is None or each.has_seen != present]
        for follower in behind:
            if follower.wake is not None:
                follower.wake.set()
        return len(behind)
