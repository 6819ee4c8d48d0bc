"""What is new in the database: told by notifications, and asked for in case one is missed."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import asyncpg

from kusciajob.contracts import PartyKey
from kusciajob.store.postgres.connections import FAILURES, Database, listen

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How late a change by another server can be noticed when no notification comes."""
ASK_SECONDS = 5.0

_NEWS = "SELECT revision, images FROM store"


class Tail:
    """The newest revision known, and the newest change of AppImages. The database may be ahead of them, not behind."""

    def __init__(self, revision: int, images: int) -> None:
        self.revision = revision
        self.images = images
        self.images_changed = asyncio.Event()
        """Set at each change of an AppImage; whoever waits for it clears it."""
        self.lease_released = asyncio.Event()
        """Set when a lease may be free; whoever waits for it clears it."""
        self.on_progress: Callable[[PartyKey, float], object] = lambda _key, _progress: None
        """Who is told what another server was told by a program."""
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        """Set to ask at once."""

    def note(self, revision: int) -> None:
        """A revision that is committed."""
        if revision > self.revision:
            self.revision = revision
            self.wake()

    def wake(self) -> None:
        """Wake all who wait for a revision."""
        self._news.set()
        self._news.clear()

    async def wait(self, after: int) -> None:
        """Return once there may be a revision above this one."""
        if after >= self.revision:
            await self._news.wait()

    async def follow(self, database: Database, channel: str) -> None:
        """Listen, for ever."""
        await listen(database, channel, self._hear, self._asked.set)

    async def poll(self, pool: asyncpg.Pool, *, on_away: Callable[[], object]) -> None:
        """Ask for what no notification told, for ever. While the database is away it goes on, and tells of that."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            try:
                revision, images = await pool.fetchrow(_NEWS, timeout=ASK_SECONDS)
            except FAILURES:
                on_away()
                continue
            self._note_images(images)
            self.note(revision)

    def _note_images(self, images: int) -> None:
        if images > self.images:
            self.images = images
            self.images_changed.set()

    def _hear(self, told: str) -> None:
        """What servers tell each other. What a newer one tells beyond that is ignored."""
        match told.split():
            case ["news", revision, images, *_]:
                self._note_images(int(images))
                self.note(int(revision))
            case ["lease", *_]:
                self.lease_released.set()
            case ["progress", job, task, attempt, party, value]:
                self.on_progress(PartyKey(int(job), int(task), int(attempt), int(party)), float(value))
