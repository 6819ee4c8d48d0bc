"""The store as the hub reads it: it waits until a failure of the medium is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from kusciajob.contracts import JobPage, JobStore
from kusciajob.model.errors import StoreDamaged, StoreFailed
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobEvent, JobSummary

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 5.0

T = TypeVar("T")


class Source:
    """The reading half of a JobStore. On StoreFailed it asks again, at growing intervals, until it gets an answer.

    StoreDamaged it raises: waiting would not help.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._failing = 0
        """How many callers are waiting out a failure: an outage lasts from the first to the last of them."""

    async def head(self) -> int:
        """The newest revision, at least as new as anything read before."""
        return await self._insist(self._store.head)

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        """Up to `limit` jobs with a number above `after`, oldest first."""
        return await self._insist(lambda: self._store.page(after, limit))

    async def select(self, chosen: JobFilter, *, after: int, limit: int) -> JobPage:
        """Up to `limit` jobs that pass with a number above `after`, oldest first; maybe none, and yet not the last."""
        return await self._insist(lambda: self._store.select(chosen, limit=limit, after=after))

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        """Up to `limit` events with a revision above `after`, in order. Raises LogTruncated."""
        return await self._insist(lambda: self._store.read_log(after, limit))

    async def wait_log(self, after: int) -> None:
        """Return once a revision above `after` may exist."""
        await self._insist(lambda: self._store.wait_log(after))

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except StoreDamaged:
            raise  # waiting would last for ever, in silence
        except StoreFailed as error:
            self._failing += 1
            if self._failing == 1:
                logger.warning("watchers wait for the store: %s", error)
        try:
            answer = await self._ask_again(ask)
        finally:
            self._failing -= 1
        if not self._failing:
            logger.info("the store answers again, watchers go on")
        return answer

    async def _ask_again(self, ask: Callable[[], Awaitable[T]]) -> T:
        delay = FIRST_DELAY_SECONDS
        while True:
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)
            try:
                return await ask()
            except StoreDamaged:
                raise
            except StoreFailed:
                continue
