"""A scheduler at work on a runtime that does what a test says."""

from collections.abc import AsyncIterator

import pytest

from tests.support.house import House, opened_house
from tests.support.runtimes import ManualRuntime


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
async def house(runtime: ManualRuntime) -> AsyncIterator[House]:
    """Everything but the edges of a server, on `runtime`."""
    async with opened_house(runtime) as house:
        yield house
