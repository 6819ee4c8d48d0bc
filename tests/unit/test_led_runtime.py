"""What a server does to parties waits while another server may have taken over; what only looks does not."""

import asyncio
from typing import Any

import pytest

from kusciajob.contracts import PartyKey, PartySpec
from kusciajob.scheduler.leases import LedRuntime, SoleLease
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec
from tests.support.polling import eventually, give_way
from tests.support.runtimes import Gate

KEY = PartyKey(7, 0, 0, 0)
PARTY = PartySpec(KEY, "t-1", job_spec(), None)

DEEDS: dict[str, Any] = {"attach": PARTY, "start": PARTY, "stop": KEY, "stop_job": KEY.job, "remove": KEY.job}
LOOKS: dict[str, tuple[Any, ...]] = {"open": (), "allocate": ([PARTY],), "wait": (KEY,), "node": (KEY,), "owned": ()}


class GatedLease(SoleLease):
    """In doubt while its gate is closed."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.gate = Gate()

    async def held(self) -> None:
        await self.gate.passed()


class Recorder:
    """A Runtime that only writes down what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **_options: Any) -> None:
            self.calls.append((name, *arguments))

        return call


class Doubtful:
    """A runtime under a lease in doubt."""

    def __init__(self) -> None:
        self.lease, self._runtime = GatedLease(), Recorder()
        self.lease.gate.close()
        self.led = LedRuntime(self._runtime, self.lease)

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """What has reached the runtime."""
        return self._runtime.calls

    async def begun(self, name: str) -> asyncio.Future[None]:
        """That deed, once it waits for the lease."""
        call: asyncio.Future[None] = asyncio.ensure_future(getattr(self.led, name)(DEEDS[name]))
        await eventually(lambda: self.lease.gate.waiting)
        return call


@pytest.mark.parametrize("name", DEEDS)
async def test_a_deed_waits_until_the_lease_is_sure(name: str) -> None:
    doubtful = Doubtful()
    call = await doubtful.begun(name)
    await give_way(10)
    assert doubtful.calls == []
    doubtful.lease.gate.open()
    await call
    assert doubtful.calls == [(name, DEEDS[name])]


@pytest.mark.parametrize("name", DEEDS)
async def test_a_server_that_loses_the_lease_meanwhile_has_done_nothing(name: str) -> None:
    doubtful = Doubtful()
    call = await doubtful.begun(name)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert doubtful.calls == []


@pytest.mark.parametrize("name", [*LOOKS, "close"])
async def test_who_only_looks_waits_for_nobody(name: str) -> None:
    doubtful = Doubtful()
    await getattr(doubtful.led, name)(*LOOKS.get(name, ()))
    assert doubtful.calls == [(name, *LOOKS.get(name, ()))]
