"""Puts the outputs of several programs together."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece

QUEUED_PIECES = 256


async def merged(sources: Sequence[AsyncIterator[LogPiece]]) -> AsyncIterator[LogPiece]:
    """The pieces of all, as they come, until all have ended. Raises EngineUnavailable as soon as one does."""
    if len(sources) == 1:
        async for piece in sources[0]:
            yield piece
        return
    queue: asyncio.Queue[LogPiece | EngineUnavailable | None] = asyncio.Queue(QUEUED_PIECES)

    async def pump(source: AsyncIterator[LogPiece]) -> None:
        try:
            async for piece in source:
                await queue.put(piece)
        except EngineUnavailable as error:
            await queue.put(error)
        else:
            await queue.put(None)

    pumps = [asyncio.create_task(pump(source), name="output of a container") for source in sources]
    left = len(pumps)
    try:
        while left:
            got = await queue.get()
            if isinstance(got, EngineUnavailable):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
