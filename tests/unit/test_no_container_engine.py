"""A server that begins while its container engine is not there."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from kusciajob.contracts import PartyKey
from kusciajob.runtime.container.connection import Connection
from kusciajob.runtime.container.engine import ContainerEngine
from kusciajob.runtime.container.volumes import Volumes
from tests.support.runtime_lab import HostedLab, placed, task_of


class _NobodyThere(HostedLab):
    def connect(self) -> ContainerEngine:
        connection = Connection(f"unix://{self.directory}/nobody", {})
        return ContainerEngine(connection, volumes=Volumes(self.directory, is_local=True))

    async def leftovers(self) -> Collection[str]:
        return ()


async def test_a_party_is_told_that_the_engine_cannot_be_reached(tmp_path: Path) -> None:
    lab = _NobodyThere(tmp_path)
    runtime = await lab.open()
    try:
        (party,) = await placed(runtime, task_of(lab, ["exit 0"]))
        starting = asyncio.create_task(runtime.start(party))
        await lab.told(PartyKey(1, 0, 0, 0), "the container engine")
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        await lab.close()
