"""HostedRuntime over an engine in memory passes the suites that it passes over containers and pods."""

import itertools
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted import names
from tests.conformance.hosted_suite import *  # noqa: F403
from tests.conformance.runtime_suite import *  # noqa: F403
from tests.conformance.runtime_suite import arrivals_of_steps
from tests.support.engine import MemoryConnection, MemoryEngine
from tests.support.runtime_lab import HostedLab


class MemoryLab(HostedLab):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.engine = MemoryEngine()

    def connect(self) -> MemoryConnection:
        return self.engine.connect()

    async def names(self) -> Collection[str]:
        return set(self.engine.workloads)

    async def leftovers(self) -> Collection[str]:
        return await self.names()

    async def remove_by_hand(self, key: PartyKey) -> None:
        self.engine.vanish(names.of_replica("store-1", key, 0))

    async def take_away(self) -> None:
        self.engine.is_away = True

    async def bring_back(self) -> None:
        self.engine.is_away = False


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[MemoryLab]:
    lab = MemoryLab(tmp_path)
    yield lab
    await lab.close()
    await lab.engine.kill_all()


async def test_each_arrival_is_known_by_itself(lab: MemoryLab) -> None:
    known = await arrivals_of_steps(lab)
    assert [(each.stdout, each.stderr) for each in known] == [(4, 0), (4, 4), (10, 4), (10, 9)]
    assert all(later.at - earlier.at > 0.3 for earlier, later in itertools.pairwise(known))
