"""The process runtime passes the suite that every runtime passes."""

import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from kusciajob.model.appimage import Image
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.runtimes import AnyRuntime
from tests.conformance.runtime_suite import *  # noqa: F403
from tests.support.ports import free_range
from tests.support.runtime_lab import STOP_GRACE_SECONDS, Waits


class ProcessLab:
    """Runtimes one after the other over one data directory, with its shim."""

    image = Image()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waits = Waits()
        self._ports = free_range(10)
        self._runtimes: list[ProcessRuntime] = []

    async def open(self, *, store_id: str = "store-1", **settings: Any) -> ProcessRuntime:
        runtime = ProcessRuntime(
            directory=self.directory / store_id,
            domains=self.directory / "domains",
            path="",
            ports=self._ports,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            progress_url=lambda _: "",
            **settings,
        )
        self._runtimes.append(runtime)
        await runtime.open()
        return runtime

    async def cut(self, runtime: AnyRuntime) -> None:
        """Shim and programs go on, as after a kill."""
        await runtime.close()

    async def leftovers(self) -> Collection[str]:
        """Directories of runs, and programs in them."""
        runs = [str(path) for path in self.directory.glob("*/runs/*")]
        return [*runs, *(f"process {pid}" for pid in _processes_below(self.directory))]

    def command(self, script: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", script)

    async def close(self) -> None:
        """End what tests have left; the shim ends with its last program."""
        for runtime in self._runtimes:
            await runtime.close()
        last = await self.open()
        for job in await last.owned():
            await last.stop_job(job)
        await last.close()


def _processes_below(directory: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if "/runs/" in place and place.startswith(f"{directory}/"):
            found.append(int(process.name))
    return found


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ProcessLab]:
    lab = ProcessLab(tmp_path)
    yield lab
    await lab.close()
