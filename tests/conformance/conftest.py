"""What a contract promises is tested on everything that implements it."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kusciajob.contracts import JobStore
from tests.support.cut_line import CutLine
from tests.support.stores import STORES, open_store


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    """An empty store of each kind."""
    opened = await open_store(request.param, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def line(url: str) -> AsyncIterator[CutLine]:
    """The way to the database of `url`."""
    line = CutLine("127.0.0.1", urlsplit(url).port or 0)
    await line.open()
    yield line
    line.speak()
    await line.close()
