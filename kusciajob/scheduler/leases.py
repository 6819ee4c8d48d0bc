"""What a lease means for a server that has its store alone, and for what a runtime may do under one."""

import asyncio
from collections.abc import Collection, Sequence

from kusciajob.contracts import ExitResult, JobStore, Lease, Node, PartyKey, PartySpec, Runtime
from kusciajob.model.status import Endpoint


class SoleLease:
    """A Lease of a server that has its store alone: nobody can take over."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    async def held(self) -> None:
        """See Lease."""

    async def keep(self) -> None:
        """See Lease."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """See Lease."""


class SoleLeases:
    """Leases of a store that belongs to one server."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def take(self) -> Lease:
        """See Leases."""
        return SoleLease(self._store)

    async def wait(self) -> None:
        """See Leases."""

    async def close(self) -> None:
        """See Leases."""


class LedRuntime:
    """A Runtime that starts, ends and removes nothing while another server may have taken over: its calls wait then.

    Whoever schedules is cancelled once the lease is lost. What slips through just before that, in the moment between
    the look and the deed, is what the other server does again: calls may be repeated.
    """

    def __init__(self, runtime: Runtime, lease: Lease) -> None:
        self._runtime = runtime
        self._lease = lease

    @property
    def failing(self) -> asyncio.Event:
        return self._runtime.failing

    async def open(self) -> None:
        await self._runtime.open()

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return self._runtime.ports_needed(parties)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        return await self._runtime.allocate(parties)

    async def attach(self, party: PartySpec) -> None:
        await self._lease.held()
        await self._runtime.attach(party)

    async def start(self, party: PartySpec) -> None:
        await self._lease.held()
        await self._runtime.start(party)

    async def wait(self, key: PartyKey) -> ExitResult:
        return await self._runtime.wait(key)

    async def stop(self, key: PartyKey) -> None:
        await self._lease.held()
        await self._runtime.stop(key)

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        return await self._runtime.node(key, replica=replica)

    async def owned(self) -> Collection[int]:
        return await self._runtime.owned()

    async def stop_job(self, job: int) -> None:
        await self._lease.held()
        await self._runtime.stop_job(job)

    async def remove(self, job: int) -> None:
        await self._lease.held()
        await self._runtime.remove(job)

    async def close(self) -> None:
        await self._runtime.close()
