"""What the server does at present, and how much of its limits is taken."""

from collections.abc import Callable, Mapping, Sequence

from kusciajob._gen.kusciajob.v1 import server_pb2 as pb
from kusciajob.api.gate import Gate
from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.scheduler.loop import Scheduler
from kusciajob.telemetry.metrics import Metrics
from kusciajob.wire.v1.durations import set_duration

_OF_DOMAINS = ("max_streams_per_domain", "max_running_parties_per_domain")
_MIB = 1 << 20

Holders = Mapping[str, int]
"""How much each address or domain has."""


class Usage:
    """Reads what the parts of a server have at hand; nothing is counted for it.

    `scheduler` returns the one that works; None while another server schedules: it has what runs then.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        hub: Hub,
        scheduler: Callable[[], Scheduler | None],
        metrics: Metrics,
        gates: Sequence[Gate],
    ) -> None:
        self._store = store
        self._hub = hub
        self._scheduler = scheduler
        self._metrics = metrics
        self._gates = gates

    async def used(self) -> dict[str, int]:
        """How much is taken of each limit that is counted; of one per domain or address, by who has most.

        Where each port has the limit, that of the fuller one is told.
        """
        used = {name: max(holders.values(), default=0) for name, holders in self._by_holder().items()}
        used["max_connections"] = max(sum(gate.connections.values()) for gate in self._gates)
        used["max_upload_mib"] = max(_mib(sum(gate.bodies.held.values())) for gate in self._gates)
        used["max_jobs"] = await self._store.size()
        if scheduler := self._scheduler():
            used["max_running_parties"] = scheduler.parties
        return used

    async def used_by(self, domain: str) -> dict[str, int]:
        """How much a domain has of the limits per domain."""
        holders = self._by_holder()
        own = {name: holders[name].get(domain, 0) for name in _OF_DOMAINS}
        return {**own, "max_jobs_per_domain": await self._store.initiated_by(domain)}

    async def load(self) -> pb.ServerLoad:
        """What the server does."""
        lags, commits = self._hub.lags, self._metrics.last_commits
        load = pb.ServerLoad(
            jobs=await self._store.size(),
            store_queue_length=self._store.health.queue_length,
            watch_streams=len(lags),
            watch_lag_events_max=max(lags, default=0),
        )
        if scheduler := self._scheduler():
            load.scheduled_jobs = scheduler.jobs
            load.jobs_waiting_for_room = scheduler.waiting_for_room
            load.running_parties = scheduler.parties
        if commits:
            set_duration(load.commit_median, commits[len(commits) // 2])
            set_duration(load.commit_p99, commits[len(commits) * 99 // 100])
        return load

    def _by_holder(self) -> dict[str, Holders]:
        """By the name of the limit's setting."""
        scheduler = self._scheduler()
        held: dict[str, Holders] = {
            "max_running_parties_per_domain": scheduler.parties_by_domain if scheduler else {},
            "max_connections_per_peer": _fullest([gate.connections for gate in self._gates]),
            "max_upload_mib_per_peer": _fullest(
                [{peer: _mib(count) for peer, count in gate.bodies.held.items()} for gate in self._gates]
            ),
        }
        return held | {name: _fullest([gate.held[name] for gate in self._gates]) for name in self._gates[0].held}


def _fullest(ports: Sequence[Holders]) -> Holders:
    """What each holder has on the port where it has most."""
    holders = {holder for port in ports for holder in port}
    return {holder: max(port.get(holder, 0) for port in ports) for holder in holders}


def _mib(count: int) -> int:
    """Rounded up."""
    return -(-count // _MIB)
