"""What tests of every room use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.server import RunningServer, running_server


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server of the test's own, on which programs are simulated.

    Its settings are those of the closest mark: `pytest.mark.settings(max_jobs=3)`.
    """
    mark = request.node.get_closest_marker("settings")
    async with running_server(tmp_path, runtime="simulated", **(mark.kwargs if mark else {})) as server:
        yield server
