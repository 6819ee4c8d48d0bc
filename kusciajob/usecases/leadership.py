"""Schedules and cleans up whenever this server is the one that may; other servers may share its store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from kusciajob.contracts import Lease, LeaseLost, Leases
from kusciajob.model.errors import StoreFailed
from kusciajob.scheduler.loop import Scheduler
from kusciajob.usecases.retention import Retention

logger = logging.getLogger(__name__)


class Office(NamedTuple):
    """What is done under one lease. Nothing of it is used under the next: others have acted in between."""

    scheduler: Scheduler
    retention: Retention


class Leadership:
    """Takes the lease, schedules under it, and begins again after it was lost.

    `appoint` makes what works under a lease; `resign` is called when that has ended.
    """

    def __init__(
        self, leases: Leases, *, appoint: Callable[[Lease], Office], resign: Callable[[], Awaitable[None]]
    ) -> None:
        self._leases = leases
        self._appoint = appoint
        self._resign = resign
        self._taken: tuple[Lease, Office] | None = None
        """What `open` has taken, until `run` works with it."""
        self.scheduler: Scheduler | None = None
        """The one that works; None while another server schedules."""
        self.settled = asyncio.Event()
        """Set once all that ran is attached to, or another server schedules."""

    async def open(self) -> None:
        """Take the lease if it is free, and read the store then, before this server changes it. Raises StoreFailed."""
        lease = await self._leases.take()
        if lease is None:
            self.settled.set()
            return
        self._taken = lease, await self._open_office(lease)

    async def run(self) -> None:
        """Schedule whenever this server may, until cancelled or until the hub closes. An unexpected error ends it."""
        taken, self._taken = self._taken, None
        while not await self._lead(*(taken or await self._take_over())):
            self.settled.set()
            taken = None

    async def close(self) -> None:
        """Let another server take over at once, if this one was stopped before it came to `run`."""
        if self._taken is not None:
            await self._leave(self._taken[0])

    async def _take_over(self) -> tuple[Lease, Office]:
        while True:
            await self._leases.wait()
            try:
                if (lease := await self._leases.take()) is not None:
                    return lease, await self._open_office(lease)
            except StoreFailed as error:
                logger.debug("the lease is asked for again: %s", error)

    async def _open_office(self, lease: Lease) -> Office:
        """StoreFailed, and then the lease is released."""
        try:
            office = self._appoint(lease)
            await office.scheduler.open()
        except BaseException:
            await self._leave(lease)
            raise
        return office

    async def _lead(self, lease: Lease, office: Office) -> bool:
        """Work under the lease. False: it was lost; True: the hub has closed."""
        self.scheduler = office.scheduler
        is_lost = False
        try:
            async with asyncio.TaskGroup() as group:
                others = [
                    group.create_task(lease.keep(), name="lease"),
                    group.create_task(office.retention.run(), name="retention"),
                    group.create_task(self._settle(office.scheduler), name="recovery"),
                ]
                await office.scheduler.run()
                for task in others:
                    task.cancel()
        except* LeaseLost:
            logger.warning("this server schedules no more: another one has taken over")
            is_lost = True
        finally:
            self.scheduler = None
            await self._leave(lease)
        return not is_lost

    async def _leave(self, lease: Lease) -> None:
        """Let another server take over. A server that stops ends this with everything else: it is done all the same."""
        leaving = asyncio.create_task(self._hand_over(lease), name="hand over")
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            await leaving
            raise

    async def _hand_over(self, lease: Lease) -> None:
        await lease.release()
        await self._resign()

    async def _settle(self, scheduler: Scheduler) -> None:
        await scheduler.recovered.wait()
        self.settled.set()
