"""Loses packets between three servers, PostgreSQL and clients: `unshare --net python -m tests.faults.soak_lines`.

Each server is a machine of a network of its own, behind the proxy of deploy/compose. Packets vanish: nobody is told
that a connection has ended. What the servers' soak promises at its end is promised here, too; and whoever cannot reach
PostgreSQL says so soon, answers every call, and loses the lease to another server.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.store.postgres.lease import LEASE_SECONDS
from tests.faults.soak_servers import SERVERS, SoakServers, run
from tests.support.fake_cluster import FakeCluster, fake_cluster
from tests.support.images import write_image
from tests.support.kubeconfigs import write_kubeconfig
from tests.support.network import HUB, NETWORK, Machine, Network, network
from tests.support.polling import eventually_true, passed
from tests.support.postgres import PostgresServer, programs
from tests.support.proxy import compose_proxy
from tests.support.requests import job_request
from tests.support.server import RunningServer, running_server

GRPC_PORT, HTTP_PORT = 8083, 8082
TAKE_OVER_SECONDS = 10.0
"""Another server has the lease so long after it ended."""
NOTICED_SECONDS = 20.0
"""So long after packets began to vanish a server says that it cannot store."""
ANSWER_SECONDS = 40.0
"""Each call has an answer by then."""
SHORT_CUTS = 8

logger = logging.getLogger(__name__)


class SoakLines(SoakServers):
    """The load of the servers' soak, with lines that lose packets."""

    def __init__(
        self,
        servers: Sequence[RunningServer],
        address: str,
        url: str,
        cluster: FakeCluster,
        *,
        seed: int,
        network: Network,
        database_port: int,
    ) -> None:
        super().__init__(servers, address, url, cluster, seed=seed)
        self._network = network
        self._database_port = database_port
        self._noticed: list[float] = []
        self._answered: list[float] = []

    def summary(self) -> str:
        figures = (("noticed after", self._noticed), ("slowest answers", sorted(self._answered)[-3:]))
        return "; ".join(
            (super().summary(), *(f"{name} s: {', '.join(f'{each:.1f}' for each in times)}" for name, times in figures))
        )

    async def trouble(self) -> None:
        for lose in (self._lose_database_of_leader, self._lose_clients, self._lose_one_way, self._lose_shortly):
            await lose()
            self._network.mend()
            await eventually_true(self._all_ready)
            await self.calm()

    async def _lose_database_of_leader(self) -> None:
        """Its lease goes to another server, it says that it cannot store, and answers all the same."""
        self.troubles["lines of leaders to PostgreSQL"] += 1
        place = await eventually_true(self._leader)
        server, machine = self.servers[place - 1], self._network.machines[place - 1]
        began = time.monotonic()
        self._network.lose(machine, self._database_port)
        calls = [asyncio.create_task(self._answer(server)) for _ in range(3)]
        taking = asyncio.create_task(self._see_taken_over())
        await eventually_true(lambda: self._is_unready(machine), timeout_seconds=NOTICED_SECONDS)
        self._noticed.append(time.monotonic() - began)
        calls += [asyncio.create_task(self._answer(server)) for _ in range(3)]
        await asyncio.gather(taking, *calls)

    async def _lose_clients(self) -> None:
        """The proxy takes it out, and clients go on with another server."""
        self.troubles["lines to clients"] += 1
        machine = self.random.choice(self._network.machines)
        for port in (GRPC_PORT, HTTP_PORT):
            self._network.lose(machine, port)
        await passed(self.random.uniform(5, 15))

    async def _lose_one_way(self) -> None:
        """What a server asks arrives and the answer does not, or the other way round."""
        self.troubles["lines to PostgreSQL, one way"] += 1
        machine = self.random.choice(self._network.machines)
        is_sent = self.random.random() < 0.5
        self._network.lose(machine, self._database_port, sent=is_sent, received=not is_sent)
        await passed(self.random.uniform(5, 15))

    async def _lose_shortly(self) -> None:
        """Nobody need notice these."""
        for _ in range(SHORT_CUTS):
            self.troubles["short cuts"] += 1
            machine = self.random.choice(self._network.machines)
            port = self.random.choice((GRPC_PORT, self._database_port))
            self._network.lose(machine, port, sent=self.random.random() < 0.7, received=self.random.random() < 0.7)
            await passed(self.random.uniform(0.1, 2))
            self._network.mend()
            await passed(self.random.uniform(0, 0.5))

    async def _see_taken_over(self) -> None:
        """Another server has the lease soon after it ended, by PostgreSQL's clock."""
        connection = await asyncpg.connect(self.url)

        async def lease() -> tuple[int, datetime]:
            fence, until = await connection.fetchrow("SELECT fence, leased_until FROM store")
            return fence, until

        old_fence, ends = await lease()
        fence, until = old_fence, ends
        while fence == old_fence:
            ends = until
            await passed(0.02)
            fence, until = await lease()
        await connection.close()
        late = (until - timedelta(seconds=LEASE_SECONDS) - ends).total_seconds()
        assert 0 <= late <= TAKE_OVER_SECONDS, f"taken over {late:.1f} s after the lease's end"
        self.take_overs.append(late)

    async def _answer(self, server: RunningServer) -> None:
        """A read and a change; each has an answer, good or bad."""
        for call in (
            lambda: server.stub.QueryJob(pb.QueryJobRequest(job_id="none")),
            lambda: server.stub.CreateJob(job_request(f"direct-{secrets.token_hex(4)}")),
        ):
            began = time.monotonic()
            async with asyncio.timeout(ANSWER_SECONDS):
                with suppress(grpc.aio.AioRpcError):
                    await call()
            self._answered.append(time.monotonic() - began)

    async def _leader(self) -> int:
        """Its place from 1; 0: nobody leads."""
        leading = [place for place, server in enumerate(self.servers, 1) if self.leads(server)]
        return leading[0] if len(leading) == 1 else 0

    async def _is_unready(self, machine: Machine) -> bool:
        return await _ready(machine) is False

    async def _all_ready(self) -> bool:
        return all([await _ready(machine) for machine in self._network.machines])


async def _ready(machine: Machine) -> bool | None:
    """None: it does not answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session,
            session.get(f"http://{machine.address}:{HTTP_PORT}/healthZ") as answer,
        ):
            return bool((await answer.json())["data"]["ready"])
    except (aiohttp.ClientError, TimeoutError):
        return None


async def soak(directory: Path, *, seconds: float, seed: int) -> str:
    """For so long, one round at least; returns what was done. AssertionError names the seed."""
    write_image(directory / "images", "quick", ["true"])
    binaries = programs()
    assert binaries, "PostgreSQL is not installed"
    async with AsyncExitStack() as stack:
        net = stack.enter_context(network(SERVERS))
        database = PostgresServer(binaries, network=NETWORK)
        url = await database.new_database()
        cluster = await stack.enter_async_context(fake_cluster(HUB, seed=seed))
        servers = []
        for machine in net.machines:
            own = directory / machine.name
            own.mkdir()
            opening = running_server(
                own,
                machine.launcher,
                host=machine.address,
                grpc_port=GRPC_PORT,
                http_port=HTTP_PORT,
                allow_insecure_bind=True,
                allowed_hosts="*",
                runtime="kubernetes",
                kube_config=write_kubeconfig(directory / "kubeconfig", cluster.url),
                store=url.replace("127.0.0.1", HUB),
                shared_dir=directory / "shared",
                app_image_dir=directory / "images",
                max_running_parties=0,
                stop_grace_seconds=0.5,
            )
            servers.append(await stack.enter_async_context(opening))
        addresses = {machine.name: machine.address for machine in net.machines}
        proxy = await stack.enter_async_context(compose_proxy(directory, HUB, addresses))
        load = SoakLines(
            servers,
            f"{proxy.host}:{GRPC_PORT}",
            url,
            cluster,
            seed=seed,
            network=net,
            database_port=database.port,
        )
        stack.callback(net.mend)  # servers stop in order
        try:
            await load.run(seconds)
            for server in servers:
                assert "Traceback" not in server.log.read_text(), server.log.read_text()
        except Exception as error:
            error.add_note(f"seed {seed}")
            for server in servers:
                with suppress(OSError):
                    error.add_note(server.log.read_text()[-2000:])
            raise
    return f"seed {seed}: {load.summary()}"


if __name__ == "__main__":
    run(soak, name="soak_lines", about=__doc__)
