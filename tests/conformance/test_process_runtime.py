"""ProcessRuntime passes the suite of all runtimes."""

import itertools
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from kusciajob.model.appimage import Image
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.runtimes import AnyRuntime
from tests.conformance.runtime_suite import *  # noqa: F403
from tests.conformance.runtime_suite import arrivals_of_steps
from tests.support.ports import free_range
from tests.support.runtime_lab import STOP_GRACE_SECONDS, Waits


class ProcessLab:
    """A RuntimeLab; the programs of a store are below a directory of its own."""

    image = Image()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waits = Waits()
        self._runtimes: list[ProcessRuntime] = []

    async def open(self, *, store_id: str = "store-1", **settings: Any) -> ProcessRuntime:
        directory = self.directory / store_id
        directory.mkdir(exist_ok=True)
        runtime = ProcessRuntime(
            directory=directory,
            domains=directory / "domains",
            path="",
            ports=free_range(20),
            stop_grace_seconds=STOP_GRACE_SECONDS,
            progress_url=lambda _: "",
            **settings,
        )
        self._runtimes.append(runtime)
        await runtime.open()
        return runtime

    async def cut(self, runtime: AnyRuntime) -> None:
        assert isinstance(runtime, ProcessRuntime)
        self._runtimes.remove(runtime)
        await runtime.close()

    async def leftovers(self) -> Collection[str]:
        return [str(path) for path in self.directory.glob("*/runs/*")]

    def command(self, script: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", script)

    async def close(self) -> None:
        for runtime in self._runtimes:
            for job in await runtime.owned():
                await runtime.stop_job(job)
            await runtime.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ProcessLab]:
    lab = ProcessLab(tmp_path)
    yield lab
    await lab.close()


async def test_each_arrival_is_known_by_itself(lab: ProcessLab) -> None:
    known = await arrivals_of_steps(lab)
    assert [(each.stdout, each.stderr) for each in known] == [(4, 0), (4, 4), (10, 4), (10, 9)]
    assert all(later.at - earlier.at > 0.3 for earlier, later in itertools.pairwise(known))
