"""What a contract promises is tested on everything that implements it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob.contracts import JobStore
from tests.support.stores import STORES, open_store


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    """An empty store of each kind."""
    opened = await open_store(request.param, tmp_path)
    yield opened
    await opened.close()
