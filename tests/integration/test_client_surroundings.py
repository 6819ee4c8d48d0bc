"""kusciajob.client where applications live: TLS and tokens, threads, running event loops, one loop after the other."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kusciajob.client import AsyncClient, Client, JobNotFound, JobSpec, NotAllowed, State, Task, Unauthenticated
from kusciajob.security.tokens import domain_file
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


async def test_an_asyncio_client_goes_on_in_another_loop(server: RunningServer) -> None:
    client = AsyncClient(server.address)
    assert (await client.server_info()).runtime == "simulated"
    other = await asyncio.to_thread(lambda: asyncio.run(_info_and_close(client)))
    assert other == "simulated"


async def _info_and_close(client: AsyncClient) -> str:
    runtime = (await client.server_info()).runtime
    await client.close()
    return runtime
