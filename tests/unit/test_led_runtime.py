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


@pytest.mark.parametrize("name", DEEDS)
async def test_a_deed_waits_until_the_lease_is_sure(name: str) -> None:
    lease, runtime = GatedLease(), Recorder()
    lease.gate.close()
    call = asyncio.ensure_future(getattr(LedRuntime(runtime, lease), name)(DEEDS[name]))
    await eventually(lambda: lease.gate.waiting)
    await give_way(10)
    assert runtime.calls == []
    lease.gate.open()
    await call
    assert runtime.calls == [(name, DEEDS[name])]


@pytest.mark.parametrize("name", DEEDS)
async def test_a_server_that_loses_the_lease_meanwhile_has_done_nothing(name: str) -> None:
    lease, runtime = GatedLease(), Recorder()
    lease.gate.close()
    call = asyncio.ensure_future(getattr(LedRuntime(runtime, lease), name)(DEEDS[name]))
    await eventually(lambda: lease.gate.waiting)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert runtime.calls == []


@pytest.mark.parametrize("name", [*LOOKS, "close"])
async def test_who_only_looks_waits_for_nobody(name: str) -> None:
    lease, runtime = GatedLease(), Recorder()
    lease.gate.close()
    await getattr(LedRuntime(runtime, lease), name)(*LOOKS.get(name, ()))
    assert runtime.calls == [(name, *LOOKS.get(name, ()))]
