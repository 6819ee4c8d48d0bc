"""Does work on files on a thread, away from the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Asked(NamedTuple):
    work: Callable[[], Any]
    result: "asyncio.Future[Any]"


class FileWork:
    """Does all work of one turn of the event loop in one call of a thread.

    Parties start in numbers, and a call of a thread costs more than most of the work.
    """

    def __init__(self) -> None:
        self._asked: list[_Asked] = []

    async def do(self, work: Callable[[], T]) -> T:
        """Do the work and return its result. If this is cancelled, it first waits until the work is done."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin, loop)
        result: asyncio.Future[T] = loop.create_future()
        self._asked.append(_Asked(work, result))
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            await asyncio.gather(result, return_exceptions=True)
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        asked, self._asked = self._asked, []
        loop.run_in_executor(None, _do_all, loop, asked)


def _do_all(loop: asyncio.AbstractEventLoop, asked: Sequence[_Asked]) -> None:
    for work, result in asked:
        try:
            done = work()
        except Exception as error:
            loop.call_soon_threadsafe(result.set_exception, error)
        else:
            loop.call_soon_threadsafe(result.set_result, done)
