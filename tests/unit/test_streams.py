"""Several streams are read as one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from kusciajob.streams import interleaved
from tests.support.polling import give_way


class Source:
    """Gives numbers, then ends, fails, or waits for ever; knows how many were taken, and whether it was closed."""

    def __init__(self, numbers: range, failure: Exception | None = None, *, is_endless: bool = False) -> None:
        self._numbers, self._failure, self._is_endless = numbers, failure, is_endless
        self.taken = 0
        self.is_closed = False

    async def stream(self) -> AsyncGenerator[int, None]:
        try:
            for number in self._numbers:
                self.taken += 1
                yield number
            if self._failure:
                raise self._failure
            if self._is_endless:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_all_that_each_gives_comes_in_its_order(count: int) -> None:
    sources = [Source(range(10 * at, 10 * at + 5)) for at in range(count)]
    given = [item async for item in interleaved([source.stream() for source in sources])]
    for at in range(count):
        assert [item for item in given if item // 10 == at] == list(range(10 * at, 10 * at + 5))
    assert all(source.is_closed for source in sources)


@pytest.mark.parametrize("others", [0, 2])
async def test_what_one_raises_is_raised_while_others_wait_and_all_are_closed(others: int) -> None:
    sources = [Source(range(2), ValueError("gone")), *(Source(range(1), is_endless=True) for _ in range(others))]
    async with asyncio.timeout(30):
        with pytest.raises(ValueError, match="gone"):
            async for _ in interleaved([source.stream() for source in sources]):
                pass
    assert all(source.is_closed for source in sources)


async def test_few_items_wait_for_who_reads_slowly_and_who_leaves_closes_all() -> None:
    sources = [Source(range(1000)) for _ in range(3)]
    async with aclosing(interleaved([source.stream() for source in sources], ahead=5)) as items:
        await anext(items)
        await give_way(1000)
        assert sum(source.taken for source in sources) <= 1 + 5 + len(sources)
    assert all(source.is_closed for source in sources)
