"""A runtime whose programs do only what a test says, and which can be as slow and as hostile as it likes."""

import asyncio
from collections.abc import Collection, Sequence

from kusciajob.contracts import ExitResult, NoCapacity, Node, PartyKey, PartySpec
from kusciajob.model.status import Endpoint

SUCCESS = ExitResult(succeeded=True)
FAILURE = ExitResult(succeeded=False, message="exit code 1")


class Gate:
    """Open unless a test has closed it; a call that comes to a closed one waits."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.waiting = 0

    def close(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    async def passed(self) -> None:
        self.waiting += 1
        try:
            await self._is_open.wait()
        finally:
            self.waiting -= 1


class ManualRuntime:
    """A Runtime that outlives schedulers, like a real one. `capacity` counts parties."""

    def __init__(self, *, capacity: int = 1000) -> None:
        self.capacity = capacity
        self.failing = asyncio.Event()
        self.ports_per_party = 0
        self.reserved: set[PartyKey] = set()
        self.running: dict[PartyKey, asyncio.Future[ExitResult]] = {}
        self.starts: list[PartyKey] = []
        self.stops: list[PartyKey] = []
        self.attached: list[PartyKey] = []
        self.start_gate = Gate()
        self.stop_gate = Gate()
        self.start_errors: dict[str, Exception] = {}
        """By domain id."""
        self.allocate_error: Exception | None = None
        self.stop_errors: list[Exception] = []
        """Each fails one call."""
        self.remove_errors: list[Exception] = []
        self.attach_errors: list[Exception] = []
        self.ports_asked: list[int] = []
        """The job of each call of `ports_needed`, and below of each of `allocate`."""
        self.allocations_asked: list[int] = []
        self._ended: dict[PartyKey, ExitResult] = {}
        self._task_ids: dict[PartyKey, str] = {}

    def end(self, result: ExitResult = SUCCESS, *, job: int | None = None, party: int | None = None) -> None:
        """What runs ends, or that part of it."""
        for key, future in self.running.items():
            if job in (None, key.job) and party in (None, key.party) and not future.done():
                future.set_result(result)

    async def open(self) -> None:
        self.reserved = set()  # a server that starts takes them back with `attach`

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        self.ports_asked.append(parties[0].key.job)
        return [self.ports_per_party] * len(parties)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        self.allocations_asked.append(parties[0].key.job)
        if self.allocate_error is not None:
            raise _anew(self.allocate_error)
        if len(self.reserved) + len(parties) > self.capacity:
            raise NoCapacity(f"waiting for room: {len(self.reserved)} of {self.capacity} places are taken")
        assert self.reserved.isdisjoint(party.key for party in parties)
        self.reserved |= {party.key for party in parties}
        return [(Endpoint("http", "Cluster", "HTTP", f"place:{party.key.party}"),) for party in parties]

    async def attach(self, party: PartySpec) -> None:
        if self.attach_errors:
            raise self.attach_errors.pop()
        self.attached.append(party.key)
        self.reserved.add(party.key)

    async def start(self, party: PartySpec) -> None:
        key = party.key
        await self.start_gate.passed()
        if key in self.running or key in self._ended:
            return
        assert key in self.reserved
        domain = party.spec.tasks[key.task].parties[key.party].domain_id
        if domain in self.start_errors:
            raise _anew(self.start_errors[domain])
        self._task_ids[key] = party.task_id
        run = (key.job, key.task, key.attempt)
        others = [
            other
            for other in self.running
            if self._task_ids[other] == party.task_id and (other.job, other.task, other.attempt) != run
        ]
        assert not others, f"{key} is started while {others} run under the same task id"
        self.starts.append(key)
        self.running[key] = asyncio.get_running_loop().create_future()

    async def wait(self, key: PartyKey) -> ExitResult:
        if key in self.running:
            result = await asyncio.shield(self.running[key])
            self._finish(key, result)
        self.reserved.discard(key)  # a party that had ended already was attached to
        return self._ended.get(key) or ExitResult(succeeded=False, message="lost", is_fault=True)

    async def stop(self, key: PartyKey) -> None:
        self.stops.append(key)
        await self.stop_gate.passed()
        if self.stop_errors:
            raise self.stop_errors.pop()
        self._finish(key, ExitResult(succeeded=False, message="killed by signal 15 (SIGTERM)"))

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        return Node(f"machine-{key.party}", f"10.0.{key.party}.{replica}")

    async def owned(self) -> Collection[int]:
        return {key.job for key in (*self.running, *self.reserved, *self._ended)}

    async def stop_job(self, job: int) -> None:
        for key in [key for key in (*self.running, *self.reserved) if key.job == job]:
            await self.stop(key)

    async def remove(self, job: int) -> None:
        if self.remove_errors:
            raise self.remove_errors.pop()
        assert not [key for key in self.running if key.job == job]
        self._ended = {key: result for key, result in self._ended.items() if key.job != job}

    async def close(self) -> None:
        pass

    def _finish(self, key: PartyKey, result: ExitResult) -> None:
        self.reserved.discard(key)
        future = self.running.pop(key, None)
        if future is not None:
            if not future.done():
                future.set_result(result)
            self._ended[key] = future.result()


def _anew(error: Exception) -> Exception:
    """An equal error: one that is raised keeps alive whatever it has passed through."""
    return type(error)(*error.args)
