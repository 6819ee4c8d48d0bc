"""kusciajob.client where applications live: TLS and tokens, threads, running event loops, one loop after the other."""

import asyncio
import shutil
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kusciajob.client import (
    AsyncClient,
    Change,
    ChangeType,
    Client,
    ClientError,
    JobNotFound,
    JobSpec,
    NotAllowed,
    State,
    Task,
    Unauthenticated,
)
from kusciajob.client.settings import CHANNEL_OPTIONS
from kusciajob.security.tokens import domain_file
from tests.support.cut_line import CutLine
from tests.support.polling import eventually
from tests.support.secured import Place, secured_server
from tests.support.server import RunningServer


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with secured_server(tmp_path, require_approval=True) as opened:
        yield opened


def spec(job_id: str = "j1") -> JobSpec:
    return JobSpec(job_id, "alice", [Task("psi", "any", ["alice", "bob"])])


def as_domain(place: Place, domain: str) -> AsyncClient:
    return AsyncClient(place.server.address, cert_dir=place.certs, token_file=domain_file(place.certs, domain))


async def test_domains_approve_with_their_tokens(place: Place) -> None:
    async with as_domain(place, "alice") as alice, as_domain(place, "bob") as bob, as_domain(place, "carol") as carol:
        job = await alice.create(spec())
        assert (await job.status()).state == State.AWAITING_APPROVAL
        with pytest.raises((NotAllowed, JobNotFound)):
            await carol.job("j1").status()
        await bob.job("j1").approve()
        await job.result(timeout=60)


async def test_the_environment_says_where_the_server_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUSCIAJOB_ADDRESS", place.server.address)
    monkeypatch.setenv("KUSCIAJOB_CERT_DIR", str(place.certs))
    monkeypatch.setenv("KUSCIAJOB_TOKEN_FILE", str(domain_file(place.certs, "bob")))
    async with AsyncClient() as client:
        assert (await client.server_info()).caller.domain_id == "bob"


async def test_a_token_file_that_has_changed_is_read_again(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("no-such-token")
    async with AsyncClient(place.server.address, cert_dir=place.certs, token_file=file) as client:
        with pytest.raises(Unauthenticated):
            await client.server_info()
        shutil.copy(place.certs / "token", file)
        assert (await client.server_info()).caller.is_master


async def test_a_watch_goes_on_when_its_token_was_replaced(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "token"
    shutil.copy(domain_file(place.certs, "alice"), file)
    lost: list[ClientError] = []
    async with (
        AsyncClient(place.server.address, cert_dir=place.certs, token_file=file) as alice,
        AsyncClient(place.server.address, cert_dir=place.certs) as master,
    ):
        changes = alice.watch(timeout=120, on_outage=lost.append)
        await master.create(spec())
        assert (await anext(changes)).type is ChangeType.ADDED
        for path in (domain_file(place.certs, "alice"), file):
            path.write_text("another-token-of-alice-0123456789abcdef")
        place.server.process.send_signal(signal.SIGHUP)
        await place.server.logged("ended 1 streams: their tokens")
        await master.job("j1").cancel()
        assert (await anext(changes)).status.state == State.CANCELLED
        await changes.aclose()


async def test_a_watch_notices_a_connection_that_is_dead(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    quick = dict.fromkeys(names, 200)
    monkeypatch.setattr(
        "kusciajob.client.transport.CHANNEL_OPTIONS", [(key, quick.get(key, value)) for key, value in CHANNEL_OPTIONS]
    )
    line = CutLine("127.0.0.1", int(server.address.rpartition(":")[2]))
    await line.open()
    lost: list[ClientError] = []
    async with AsyncClient(f"127.0.0.1:{line.port}") as follower, AsyncClient(server.address) as other:
        changes = follower.watch(timeout=120, on_outage=lost.append)
        await other.create(spec("before"))
        assert (await anext(changes)).job_id == "before"
        line.silence()
        lost.clear()
        await other.create(spec("after"))
        following = asyncio.ensure_future(_until(changes, "after"))
        await eventually(lambda: lost)
        line.speak()
        await following
        await changes.aclose()
    await line.close()


async def _until(changes: AsyncGenerator[Change, None], job_id: str) -> None:
    async for change in changes:
        if change.job_id == job_id:
            return


async def test_kuscias_own_file_names_will_do(place: Place, tmp_path: Path) -> None:
    directory = tmp_path / "kuscia"
    directory.mkdir()
    shutil.copy(place.certs / "ca.crt", directory)
    shutil.copy(place.certs / "token", directory)
    for kind in ("crt", "key"):
        shutil.copy(place.certs / f"client.{kind}", directory / f"kusciaapi-server.{kind}")
    async with AsyncClient(place.server.address, cert_dir=directory) as client:
        assert (await client.server_info()).caller.is_master


async def test_threads_share_a_blocking_client(server: RunningServer) -> None:
    def work() -> list[str]:
        with Client(server.address) as client, ThreadPoolExecutor(8) as threads:
            jobs = [f"job-{number}" for number in range(16)]
            return list(threads.map(lambda job_id: client.create(spec(job_id)).result(timeout=60).state, jobs))

    assert await asyncio.to_thread(work) == [State.SUCCEEDED] * 16


async def test_a_blocking_client_works_where_an_event_loop_runs(server: RunningServer) -> None:
    with Client(server.address) as client:  # as in a notebook
        assert client.create(spec()).result(timeout=60).state == State.SUCCEEDED
        assert [job.job_id for job in client.jobs()] == ["j1"]


async def test_loops_in_several_threads_share_an_asyncio_client(server: RunningServer) -> None:
    client = AsyncClient(server.address)

    async def work(job_id: str) -> str:
        return (await (await client.create(spec(job_id))).result(timeout=60)).state

    def in_a_loop_of_its_own(job_id: str) -> str:
        return asyncio.run(work(job_id))

    jobs = [f"job-{number}" for number in range(8)]
    ours = asyncio.gather(*(work(f"ours-{job_id}") for job_id in jobs))
    theirs = await asyncio.gather(*(asyncio.to_thread(in_a_loop_of_its_own, job_id) for job_id in jobs))
    assert [*theirs, *await ours] == [State.SUCCEEDED] * 16
    await client.close()


async def test_an_asyncio_client_goes_on_in_another_loop(server: RunningServer) -> None:
    client = AsyncClient(server.address)
    assert (await client.server_info()).runtime == "simulated"
    other = await asyncio.to_thread(lambda: asyncio.run(_info_and_close(client)))
    assert other == "simulated"


async def _info_and_close(client: AsyncClient) -> str:
    runtime = (await client.server_info()).runtime
    await client.close()
    return runtime
