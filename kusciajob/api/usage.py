"""What the server does at present, and how much of its limits is taken."""

from collections.abc import Mapping, Sequence

from kusciajob._gen.kusciajob.v1 import server_pb2 as pb
from kusciajob.api.gate import Gate
from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.scheduler.loop import Scheduler
from kusciajob.telemetry.metrics import Metrics
from kusciajob.wire.v1.durations import set_duration

_OF_DOMAINS = ("max_streams_per_domain", "max_running_parties_per_domain")


class Usage:
    """Reads what the parts of a server have at hand; nothing is counted for it."""

    def __init__(
        self, *, store: JobStore, hub: Hub, scheduler: Scheduler, metrics: Metrics, gates: Sequence[Gate]
    ) -> None:
        self._store = store
        self._hub = hub
        self._scheduler = scheduler
        self._metrics = metrics
        self._gates = gates

    async def used(self) -> dict[str, int]:
        """How much is taken of each limit that is counted; of one per domain or address, by who has most."""
        most = {name: max(by_holder.values(), default=0) for name, by_holder in self._held().items()}
        return {**most, "max_jobs": await self._store.size(), "max_running_parties": self._scheduler.parties}

    async def used_by(self, domain: str) -> dict[str, int]:
        """How much a domain has of the limits per domain."""
        held = self._held()
        own = {name: held[name].get(domain, 0) for name in _OF_DOMAINS}
        return {**own, "max_jobs_per_domain": await self._store.initiated_by(domain)}

    async def load(self) -> pb.ServerLoad:
        """What the server does."""
        lags, commits = self._hub.lags, self._metrics.last_commits
        load = pb.ServerLoad(
            jobs=await self._store.size(),
            scheduled_jobs=self._scheduler.jobs,
            jobs_waiting_for_room=self._scheduler.waiting_for_room,
            running_parties=self._scheduler.parties,
            store_queue_length=self._store.health.queue_length,
            watch_streams=len(lags),
            watch_lag_events_max=max(lags, default=0),
        )
        if commits:
            set_duration(load.commit_median, commits[len(commits) // 2])
            set_duration(load.commit_p99, commits[len(commits) * 99 // 100])
        return load

    def _held(self) -> dict[str, Mapping[str, int]]:
        """Each port counts the calls and streams of an address by itself; what both share is told by both."""
        held: dict[str, Mapping[str, int]] = {"max_running_parties_per_domain": self._scheduler.parties_by_domain}
        for gate in self._gates:
            for name, by_holder in gate.held.items():
                held[name] = {
                    holder: max(by_holder.get(holder, 0), held.get(name, {}).get(holder, 0))
                    for holder in by_holder.keys() | held.get(name, {}).keys()
                }
        return held
