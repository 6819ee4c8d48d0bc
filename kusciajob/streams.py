"""Reads several streams at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

_Item = TypeVar("_Item")


async def interleaved(streams: Sequence[AsyncGenerator[_Item, None]], *, ahead: int = 1) -> AsyncGenerator[_Item, None]:
    """What each of them gives, as it comes. It ends with the last one, or raises what one raises as soon as that does.

    Of all together at most `ahead` items wait, and one more in each: who reads slowly slows all of them.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for item in only:
                yield item
        return
    # In a tuple, so that no item is taken for an end.
    queue: asyncio.Queue[tuple[_Item] | Exception | None] = asyncio.Queue(ahead)

    async def read(stream: AsyncGenerator[_Item, None]) -> None:
        try:
            async with aclosing(stream):
                async for item in stream:
                    await queue.put((item,))
        except Exception as error:  # for who reads the streams
            await queue.put(error)
        else:
            await queue.put(None)

    readers = [asyncio.create_task(read(stream), name="one of several streams") for stream in streams]
    left = len(readers)
    try:
        while left:
            given = await queue.get()
            if isinstance(given, Exception):
                raise given
            if given is None:
                left -= 1
            else:
                yield given[0]
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
