"""Reads several streams at once."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TypeVar

_Name = TypeVar("_Name")
_Item = TypeVar("_Item")


async def together(streams: Mapping[_Name, AsyncGenerator[_Item, None]]) -> AsyncGenerator[tuple[_Name, _Item], None]:
    """What each of them gives, as it comes, with its name. It ends with the last one, or raises what one raises.

    One item of each stream is held at most: who reads slowly slows all of them.
    """
    queue: asyncio.Queue[tuple[_Name, _Item] | Exception | None] = asyncio.Queue(1)

    async def read(name: _Name, stream: AsyncGenerator[_Item, None]) -> None:
        try:
            async with aclosing(stream):
                async for item in stream:
                    await queue.put((name, item))
            await queue.put(None)
        except Exception as error:  # for who reads the streams
            await queue.put(error)

    readers = [
        asyncio.create_task(read(name, stream), name="one of several streams") for name, stream in streams.items()
    ]
    left = len(readers)
    try:
        while left:
            given = await queue.get()
            if isinstance(given, Exception):
                raise given
            if given is None:
                left -= 1
            else:
                yield given
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
