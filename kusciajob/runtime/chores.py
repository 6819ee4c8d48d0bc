"""What a runtime does beside its calls: nobody awaits it, and a failure of it is told to the operator."""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Chores:
    """Tasks that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def do(self, chore: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
        """Begin one. `name`: what the log calls it if it fails."""
        task = asyncio.create_task(chore, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._note_done)
        return task

    def _note_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s failed: %s", task.get_name(), error, exc_info=error)

    async def wait(self, seconds: float) -> None:
        """Wait for those that are under way, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def end(self) -> None:
        """Cancel all, and return once none is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
