"""A store that a test can take away."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from kusciajob.contracts import JobStore
from kusciajob.model.errors import StoreFailed

OUTAGE = "the store is down, as a test has it"


class Outages:
    """A store while it is there, and its failure while it is not. Only a JobStore is wrapped."""

    def __init__(self, store: JobStore) -> None:
        self.inner = store
        self.failing = asyncio.Event()
        self.is_up = asyncio.Event()
        self.is_up.set()
        self.pending = 0
        """Questions that have no answer yet, but for those whether there is something new."""

    def set_down(self, *, is_down: bool) -> None:
        if is_down:
            self.failing.set()
            self.is_up.clear()
        else:
            self.failing.clear()
            self.is_up.set()

    @property
    def store(self) -> JobStore:
        """What raises StoreFailed during an outage."""
        return cast("JobStore", self)

    @property
    def log(self) -> JobStore:
        """What waits for the end of an outage, as the hub does."""
        return cast("JobStore", _Patient(self))

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(attribute) or name == "close":
            return attribute
        guarded = self._guarded(attribute)
        setattr(self, name, guarded)
        return guarded

    async def counted(self, answer: Awaitable[Any]) -> Any:
        """The answer; while it is awaited there is no rest."""
        self.pending += 1
        try:
            return await answer
        finally:
            self.pending -= 1

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(*args: Any, **keywords: Any) -> Any:
            if self.failing.is_set():
                raise StoreFailed(OUTAGE)
            return await self.counted(method(*args, **keywords))

        return ask


class _Patient:
    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._outages.inner, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def ask(*args: Any, **keywords: Any) -> Any:
            await self._outages.is_up.wait()
            answer = attribute(*args, **keywords)
            return await (answer if name == "wait_log" else self._outages.counted(answer))

        setattr(self, name, ask)
        return ask
