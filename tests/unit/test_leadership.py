"""A server that stops lets another one take over at once, at whatever moment it is stopped."""

import asyncio
from contextlib import suppress

from kusciajob.events.hub import Hub
from kusciajob.runtime.simulated import AnyImage
from kusciajob.scheduler.leases import SoleLease, SoleLeases
from kusciajob.scheduler.loop import Scheduler
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.leadership import Leadership, Office
from kusciajob.usecases.retention import Retention
from tests.support.clock import ManualClock
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime


class SlowLease(SoleLease):
    """Its release takes until it is let through."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.is_asked, self.is_through, self.is_released = asyncio.Event(), asyncio.Event(), False

    async def release(self) -> None:
        self.is_asked.set()
        await self.is_through.wait()
        self.is_released = True


class OneLease(SoleLeases):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.lease = SlowLease(store)

    async def take(self) -> SlowLease:
        return self.lease


class Opened:
    """What leads is open, and has yet to run."""

    def __init__(self) -> None:
        store, clock = MemoryStore(), ManualClock()
        self.hub, self.resigned = Hub(store), 0
        leases = OneLease(store)
        self.lease = leases.lease
        scheduler = Scheduler(store=store, hub=self.hub, runtime=ManualRuntime(), images=AnyImage(), clock=clock)
        retention = Retention(store=store, clock=clock, job_days=0, log_events=100, log_hours=0)
        self.leadership = Leadership(leases, appoint=lambda _: Office(scheduler, retention), resign=self._resign)

    async def _resign(self) -> None:
        self.resigned += 1

    async def open(self) -> None:
        await self.hub.open()
        await self.leadership.open()


async def test_a_lease_is_released_though_the_server_ends_meanwhile() -> None:
    opened = Opened()
    await opened.open()
    running = asyncio.create_task(opened.leadership.run())
    await eventually(lambda: opened.leadership.scheduler)
    await opened.hub.close()
    await opened.lease.is_asked.wait()
    running.cancel()
    opened.lease.is_through.set()
    with suppress(asyncio.CancelledError):
        await running
    assert (opened.lease.is_released, opened.resigned) == (True, 1)
    await opened.leadership.close()
    assert opened.resigned == 1


async def test_a_lease_is_released_though_the_server_ends_before_it_works() -> None:
    opened = Opened()
    await opened.open()
    running = asyncio.create_task(opened.leadership.run())
    running.cancel()  # it has not begun
    await asyncio.wait([running])
    opened.lease.is_through.set()
    await opened.leadership.close()
    assert (opened.lease.is_released, opened.resigned) == (True, 1)
    await opened.hub.close()
