"""Kills two of three servers and freezes one, in turn, under load: `python -m tests.faults.soak_servers --seconds 600`.

The servers share a PostgreSQL and a cluster, and are called by one address. At the end no acknowledged create is lost,
no party has run twice in an attempt, every watcher knows the last state of every job, and revisions have no gaps.
"""

import argparse
import asyncio
import logging
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import asyncpg
import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.fake_cluster import FakeCluster, fake_cluster
from tests.support.front_door import FrontDoor
from tests.support.images import write_image
from tests.support.kubeconfigs import write_kubeconfig
from tests.support.polling import eventually_true, passed
from tests.support.postgres import postgres_server
from tests.support.requests import ENDED, job_request, task_request
from tests.support.server import RunningServer, running_server

SERVERS = ("one", "other", "third")
CALLERS = 6
WATCHERS = 6
MOST_UNENDED = 60
CALL_SECONDS = 10.0
FROZEN_SECONDS = 12.0
"""Longer than a lease."""
DOWN_SECONDS = 2.0
CALM_SECONDS = 3.0
SETTLE_SECONDS = 300.0
SCHEDULES = "this server schedules from now on"
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500))

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Client:
    """Calls the one address; after a failure it connects anew, and so comes to another server, maybe."""

    def __init__(self, address: str, calls: Counter[str]) -> None:
        self._address = address
        self._calls = calls
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        return self._channel

    async def ask(self, name: str, call: Callable[[job_pb2_grpc.JobServiceStub], Awaitable[T]]) -> T | None:
        """The answer; None where there is none, and nobody knows what became of the call."""
        try:
            answer: Any = await call(job_pb2_grpc.JobServiceStub(self.channel))
        except grpc.aio.AioRpcError as error:
            self._calls[f"{name} {error.code().name}"] += 1
            await self.close()
            return None
        self._calls[f"{name} {answer.status.code}"] += 1
        return answer  # type: ignore[no-any-return]

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)


class Watcher:
    """Watches over the one address and goes on from its revision, on whichever server. `states` is what it knows."""

    def __init__(self, address: str, calls: Counter[str]) -> None:
        self._client = Client(address, calls)
        self._calls = calls
        self.revision = 0
        self.states: dict[str, str] = {}

    async def run(self) -> None:
        while True:
            request = v1.WatchJobsRequest(after_revision=self.revision)
            try:
                async for event in jobs_pb2_grpc.JobsServiceStub(self._client.channel).WatchJobs(request):
                    self._take(event)
            except grpc.aio.AioRpcError as error:
                self._calls[f"WatchJobs {error.code().name}"] += 1
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await self._client.close()
            await passed(0.1)

    async def close(self) -> None:
        await self._client.close()

    def _take(self, event: v1.WatchJobsResponse) -> None:
        if event.type == v1.WatchJobsResponse.TYPE_BOOKMARK:
            assert event.revision >= self.revision, "a bookmark goes back"
        else:
            assert event.revision == self.revision + 1, f"{event.revision} follows {self.revision}"
        self.revision = event.revision
        if event.type == v1.WatchJobsResponse.TYPE_DELETED:
            del self.states[event.job.job_id]
        elif event.type in (v1.WatchJobsResponse.TYPE_ADDED, v1.WatchJobsResponse.TYPE_MODIFIED):
            self.states[event.job.job_id] = event.job.state


class SoakServers:
    """The load, what was acknowledged, and the troubles."""

    def __init__(
        self, servers: Sequence[RunningServer], address: str, url: str, cluster: FakeCluster, *, seed: int
    ) -> None:
        self.servers = servers
        self._address = address
        self.url = url
        self._cluster = cluster
        self.random = Random(seed)
        self._serial = 0
        self._is_over = False
        self.created: set[str] = set()
        """Acknowledged."""
        self.deleting: set[str] = set()
        """Asked for, whatever came of it."""
        self.calls: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self._watchers = [Watcher(address, self.calls) for _ in range(WATCHERS)]
        self._loads: list[asyncio.Task[None]] = []
        self.take_overs: list[float] = []
        """How long each took, in seconds."""

    async def run(self, seconds: float) -> None:
        """Troubles in turn, for so long, then calm; AssertionError."""
        watchers = self._watchers
        watching = [asyncio.create_task(watcher.run()) for watcher in watchers]
        calling = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        self._loads = [*watching, *calling]
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                await self.trouble()
            self._is_over = True
            await asyncio.gather(*calling)
            await self._check(watchers)
        finally:
            for task in self._loads:
                task.cancel()
            await asyncio.gather(*self._loads, return_exceptions=True)
            for watcher in watchers:
                await watcher.close()

    async def trouble(self) -> None:
        """One round."""
        order = self.random.sample(self.servers, len(self.servers))
        for server, trouble in zip(order, (self._kill, self._kill, self._freeze), strict=True):
            await trouble(server)
            await self.calm()

    async def calm(self) -> None:
        """Nothing is troubled for a while; raises what went wrong with the load meanwhile."""
        for task in self._loads:
            if task.done():
                task.result()
        await passed(CALM_SECONDS)

    async def _kill(self, server: RunningServer) -> None:
        self.troubles["killed"] += 1
        taking = self._take_over_from(server)
        await server.kill()
        await self._time(taking)
        await passed(DOWN_SECONDS)
        await server.start()

    async def _freeze(self, server: RunningServer) -> None:
        self.troubles["frozen"] += 1
        taking = self._take_over_from(server)
        server.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.gather(passed(FROZEN_SECONDS), self._time(taking))
        finally:
            server.process.send_signal(signal.SIGCONT)

    def _take_over_from(self, server: RunningServer) -> asyncio.Task[float] | None:
        """Wait for the next leader, if that one is it."""
        if not self.leads(server):
            return None
        self.troubles["of them the leader"] += 1
        others = [other for other in self.servers if other is not server]
        return asyncio.create_task(_taken_over(others))

    def leads(self, server: RunningServer) -> bool:
        """By its log, in which each lease begins with a line; a new process begins without one."""
        text = server.log.read_text()
        return text.rfind(SCHEDULES) > max(text.rfind("schedules no more"), text.rfind("takes over when that one ends"))

    async def _time(self, taking: asyncio.Task[float] | None) -> None:
        if taking is not None:
            self.take_overs.append(await taking)

    def summary(self) -> str:
        """What was done."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted({**self.calls, **self.troubles}.items()))
        times = ", ".join(f"{each:.1f}" for each in sorted(self.take_overs))
        runs = sum(self._cluster.runs.values())
        done = f"{len(self.created)} creates acknowledged, {runs} pods ran once each"
        return f"{done}; {counts}; take-overs in s: {times}"

    async def _call(self) -> None:
        client = Client(self._address, self.calls)
        while not self._is_over:
            await passed(self.random.uniform(0, 0.1))
            if self._unended() > MOST_UNENDED:
                continue  # more would only wait for those before them
            kept = sorted(self.created - self.deleting)
            if not kept or self.random.random() < 0.8:
                await self._create(client)
                continue
            job_id = self.random.choice(kept[-20:])
            if self.random.random() < 0.5:
                request = pb.StopJobRequest(job_id=job_id)
                await client.ask("StopJob", lambda stub, r=request: stub.StopJob(r, timeout=CALL_SECONDS))  # type: ignore[misc]
            else:
                self.deleting.add(job_id)
                gone = pb.DeleteJobRequest(job_id=job_id)
                await client.ask("DeleteJob", lambda stub, r=gone: stub.DeleteJob(r, timeout=CALL_SECONDS))  # type: ignore[misc]
        await client.close()

    def _unended(self) -> int:
        """How many jobs have not ended, as far as the first watcher knows."""
        return sum(state not in ENDED for state in self._watchers[0].states.values())

    async def _create(self, client: Client) -> None:
        self._serial += 1
        job_id = f"job-{self._serial:06}"
        depends = ["a"] if self.random.random() < 0.5 else []
        request = job_request(
            job_id, task_request("a", "quick"), task_request("b", "quick", ["alice"], dependencies=depends)
        )
        answer = await client.ask("CreateJob", lambda stub: stub.CreateJob(request, timeout=CALL_SECONDS))
        if answer is not None and answer.status.code == 0:
            self.created.add(job_id)

    async def _check(self, watchers: Sequence[Watcher]) -> None:
        connection = await asyncpg.connect(self.url)

        async def is_calm() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM job WHERE unfinished")

        await eventually_true(is_calm, timeout_seconds=SETTLE_SECONDS)
        revision = await connection.fetchval("SELECT revision FROM store")

        async def all_told() -> bool:
            return all(watcher.revision >= revision for watcher in watchers)

        await eventually_true(all_told, timeout_seconds=SETTLE_SECONDS)
        states = dict(await connection.fetch("SELECT job_id, state FROM job JOIN listing USING (number)"))
        assert set(states.values()) <= set(ENDED), states
        lost = self.created - self.deleting - set(states)
        assert not lost, f"created and gone: {sorted(lost)}"
        for number, watcher in enumerate(watchers):
            assert watcher.states == states, f"watcher {number} knows other states"
        events, oldest, newest = await connection.fetchrow("SELECT count(*), min(revision), max(revision) FROM log")
        assert (oldest, newest) == (1, events), "revisions have gaps"
        assert newest == await connection.fetchval("SELECT revision FROM store")
        twice = [name for name, runs in self._cluster.runs.items() if runs > 1]
        assert not twice, f"these ran twice: {twice}"
        await connection.close()
        self.calls["jobs left"] = len(states)
        self.calls["jobs succeeded"] = sum(state == "Succeeded" for state in states.values())
        self.calls["events"] = events


async def _taken_over(servers: Sequence[RunningServer]) -> float:
    """How long it takes until one of them schedules, in seconds."""
    began = time.monotonic()
    before = [server.log.read_text().count(SCHEDULES) for server in servers]

    async def is_taken() -> bool:
        return any(
            server.log.read_text().count(SCHEDULES) > count for server, count in zip(servers, before, strict=True)
        )

    await eventually_true(is_taken, timeout_seconds=SETTLE_SECONDS)
    return time.monotonic() - began


async def soak(directory: Path, *, seconds: float, seed: int) -> str:
    """For so long; returns what was done. AssertionError names the seed."""
    images = directory / "images"
    write_image(images, "quick", ["true"])
    url = await postgres_server().new_database()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(fake_cluster(seed=seed))
        kubeconfig = write_kubeconfig(directory / "kubeconfig", cluster.url)
        servers = []
        for name in SERVERS:
            (directory / name).mkdir()
            opening = running_server(
                directory / name,
                runtime="kubernetes",
                kube_config=kubeconfig,
                store=url,
                shared_dir=directory / "shared",
                app_image_dir=images,
                max_running_parties=0,
                stop_grace_seconds=0.5,
            )
            servers.append(await stack.enter_async_context(opening))
        door = FrontDoor([(server.http_address, server.address) for server in servers])
        await door.open()
        stack.push_async_callback(door.close)
        load = SoakServers(servers, door.address, url, cluster, seed=seed)
        try:
            await load.run(seconds)
        except Exception as error:
            error.add_note(f"seed {seed}; the servers' logs are in {directory}")
            for server in servers:
                with suppress(OSError):
                    error.add_note(server.log.read_text()[-2000:])
            raise
    return f"seed {seed}: {load.summary()}"


def run(soak: Callable[..., Awaitable[str]], *, name: str, about: str | None) -> None:
    """What the command line of a soak of several servers does."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.faults.{name}", description=about)
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no round after that time")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logger.info("seed %d", arguments.seed)

    async def told() -> None:
        with tempfile.TemporaryDirectory(prefix="kusciajob-soak-") as directory:
            logger.info(await soak(Path(directory), seconds=arguments.seconds, seed=arguments.seed))

    asyncio.run(told())


if __name__ == "__main__":
    run(soak, name="soak_servers", about=__doc__)
