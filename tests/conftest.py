"""What tests of every room use."""

import gc
import logging
import signal
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import postgres_server
from tests.support.server import RunningServer, running_server

pytest_plugins = ("kusciajob.pytest_plugin",)

# How fast the machine is decides nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# asyncio's debug mode tells of slow steps, in the middle of what a test reads in the log.
logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing %s took"))
# Where the run itself was put in the background, Ctrl-C means nothing to it; to the programs of the tests it does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays: searching it for garbage meanwhile would be a quarter of each worker's start."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server of the test's own, on which programs are simulated.

    Its settings are those of the closest mark: `pytest.mark.settings(max_jobs=3)`.
    """
    mark = request.node.get_closest_marker("settings")
    async with running_server(tmp_path, runtime="simulated", **(mark.kwargs if mark else {})) as server:
        yield server


@pytest.fixture
async def url() -> str:
    """Where an empty PostgreSQL database of the test's own is."""
    return await postgres_server().new_database()
