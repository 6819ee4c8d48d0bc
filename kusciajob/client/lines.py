"""Turns pieces of text into whole lines."""

from collections.abc import AsyncGenerator, AsyncIterator

MAX_LINE_CHARACTERS = 64 * 1024
"""A longer line comes in pieces."""


async def whole_lines(pieces: AsyncIterator[str]) -> AsyncGenerator[list[str], None]:
    """The lines that are complete with each piece, without their ends; at the end also one that never ended."""
    rest = ""
    async for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        if len(rest) > MAX_LINE_CHARACTERS:
            lines, rest = [*lines, rest], ""
        if lines:
            yield lines
    if rest:
        yield [rest]
