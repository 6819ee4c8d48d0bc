"""kusciajob.client against a server that offers Kuscia's services only, and has its habits."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from kusciajob.api import kuscia, v1
from kusciajob.client import AsyncClient, Change, ChangeType, Client, JobExists, JobFailed, JobSpec, NotOffered, Task
from tests.support.cut_line import CutLine
from tests.support.polling import eventually
from tests.support.server import RunningServer

pytestmark = pytest.mark.settings(testing=True, quirks="kuscia", clock="machine")


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address) as opened:
        yield opened


def spec(job_id: str = "j1", **script: object) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("psi", "any", ["alice", "bob"], input=script or "")])


async def test_the_server_has_the_habits(server: RunningServer, client: AsyncClient) -> None:
    with pytest.raises(NotOffered):
        await client.server_info()
    job = await client.create(spec(parties={"bob": {"exit_code": 3, "message": "no disk"}}))
    with pytest.raises(JobFailed, match="no disk"):
        await job.result(timeout=60)
    assert (await job.status()).err_msg == ""
    again = await server.stub.CreateJob(kuscia.CreateJobRequest(job_id="j1", initiator="alice"))
    assert again.status.message.endswith("already exists")
    events = server.stub.WatchJob(kuscia.WatchJobRequest())
    told = []
    async for event in events:
        told.append(event.type)
        if event.type == kuscia.HEARTBEAT:
            break
    events.cancel()
    assert told == [kuscia.ADDED, kuscia.HEARTBEAT]


async def test_an_identical_job_is_a_success_and_another_is_not(client: AsyncClient) -> None:
    await client.create(spec())
    await client.create(spec())
    with pytest.raises(JobExists):
        await client.create(spec(seconds=1))
    with pytest.raises(NotOffered, match="ttl"):
        await client.create(JobSpec("j2", "alice", [Task("psi", "any", ["alice"])], ttl=60))


async def test_it_has_no_page(server: RunningServer) -> None:
    for path in ("/", "/ui/"):
        with pytest.raises(HTTPError) as caught:
            await asyncio.to_thread(urlopen, f"http://{server.http_address}{path}")
        caught.value.close()
        assert caught.value.code == 404
    assert "/ui/" not in await server.logged("is up")


async def test_the_blocking_client_works_alike(server: RunningServer) -> None:
    def work() -> list[ChangeType]:
        with Client(server.address) as client:
            client.create(spec()).result(timeout=60)
            return [change.type for change in client.watch(timeout=1.5)]

    assert await asyncio.to_thread(work) == [ChangeType.ADDED]


async def test_a_watch_tells_each_change_once_and_the_deletion_that_it_missed(
    server: RunningServer, client: AsyncClient
) -> None:
    changes: list[Change] = []

    async def follow() -> None:
        async for change in follower.watch():
            changes.append(change)

    def told(job_id: str) -> list[ChangeType]:
        return [change.type for change in changes if change.job_id == job_id]

    line = CutLine("127.0.0.1", int(server.address.rpartition(":")[2]))
    await line.open()
    follower = AsyncClient(f"127.0.0.1:{line.port}")
    following = asyncio.create_task(follow())
    other = client
    for job_id in ("stays", "goes", "comes"):
        await (await other.create(spec(job_id))).result(timeout=60)
    await eventually(lambda: {c.job_id for c in changes if c.status.end_time} == {"stays", "goes", "comes"})
    before = len(changes)
    await line.cut()
    await other.job("goes").delete()
    await (await other.create(JobSpec("comes", "alice", [Task("fit", "any", ["alice"])]), replace=True)).result(60)
    await line.mend()
    await eventually(lambda: told("goes")[-1:] == [ChangeType.DELETED])
    await eventually(lambda: any(c.job_id == "comes" and c.status.end_time for c in changes[before:]))
    following.cancel()
    await follower.close()
    await line.close()
    assert ChangeType.ADDED not in told("stays")[1:]
    assert not [change for change in changes[before:] if change.job_id == "stays"]
    assert told("goes").count(ChangeType.DELETED) == 1
    later = [change.type for change in changes[before:] if change.job_id == "comes"]
    assert later[:2] == [ChangeType.DELETED, ChangeType.ADDED]
    assert all(one.status.raw != two.status.raw for one, two in pairwise(changes) if one.job_id == two.job_id)


async def test_a_wait_survives_a_kill(server: RunningServer, client: AsyncClient) -> None:
    job = await client.create(spec(seconds=1000))
    waiting = asyncio.ensure_future(job.wait("Cancelled", timeout=60))
    await job.wait("Running", timeout=60)
    await server.kill()
    await server.start()
    await job.cancel()
    assert (await waiting).state == "Cancelled"


def test_the_message_of_the_other_package_is_public() -> None:
    assert v1.WatchJobsRequest.DESCRIPTOR.full_name == "kusciajob.v1.WatchJobsRequest"
