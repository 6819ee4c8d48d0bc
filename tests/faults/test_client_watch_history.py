"""Watches over a line that is cut at random, to a server that is killed: what both clients were told is recorded, and
held against the server's own log. Nothing is lost, nothing is doubled, and what went meanwhile is told as DELETED."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from kusciajob.api import v1
from kusciajob.client import AsyncClient, Change, ChangeType, Client, ClientClosed, JobNotFound, JobSpec, Task
from tests.support.cut_line import CutLine
from tests.support.polling import eventually, give_way
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

STEPS = 40
KILLS = (13, 27)
IDS = [f"job-{number}" for number in range(5)]
LAST = "last"


class History:
    """What one consumer was told; it refuses at once what cannot be."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.known: dict[str, bytes] = {}
        self.deleted: list[str] = []

    def take(self, change: Change) -> None:
        self.changes.append(change)
        told = change.status.raw.SerializeToString(deterministic=True)
        match change.type:
            case ChangeType.ADDED:
                assert change.job_id not in self.known, f"{change.job_id} added twice"
                self.known[change.job_id] = told
            case ChangeType.MODIFIED:
                assert self.known[change.job_id] != told, f"{change.job_id} told twice"
                self.known[change.job_id] = told
            case ChangeType.DELETED:
                del self.known[change.job_id]
                self.deleted += [task.task_id for task in change.status.tasks]

    @property
    def has_seen_the_end(self) -> bool:
        return any(change.job_id == LAST and change.status.end_time for change in self.changes)


@asynccontextmanager
async def followed(line: CutLine, histories: Sequence[History]) -> AsyncIterator[None]:
    """An asyncio client and a blocking one, each with a history of its own."""
    ours, theirs = histories
    blocking, client = Client(f"127.0.0.1:{line.port}"), AsyncClient(f"127.0.0.1:{line.port}")

    async def follow() -> None:
        async for change in client.watch():
            ours.take(change)

    def follow_blocking() -> None:
        with suppress(ClientClosed):
            for change in blocking.watch():
                theirs.take(change)

    following = asyncio.create_task(follow())
    thread = asyncio.create_task(asyncio.to_thread(follow_blocking))
    try:
        yield
        assert not following.done(), following
        assert not thread.done(), thread
    finally:
        following.cancel()
        await client.close()
        await asyncio.to_thread(blocking.close)
        await asyncio.wait([following, thread], timeout=30)
    await thread


async def live(server: RunningServer, client: AsyncClient, line: CutLine, chance: random.Random) -> None:
    """Jobs come, change and go, while the line and the server do."""
    for step in range(STEPS):
        job_id = chance.choice(IDS)
        script = {"seconds": chance.choice([0, 0.02, 1000])}
        spec = JobSpec(job_id, "alice", [Task("psi", "any", ["alice", "bob"], input=script)])
        with suppress(JobNotFound):
            match chance.randrange(5):
                case 0:
                    await client.job(job_id).delete()
                case 1:
                    await client.job(job_id).cancel()
                case _:
                    await client.create(spec, replace=True)
        match chance.randrange(3):
            case 0:
                await line.cut()
                await give_way(chance.randrange(20))
            case 1:
                await line.mend()
        if step in KILLS:
            await server.kill()
            await server.start()
    await line.mend()
    await client.create(JobSpec(LAST, "alice", [Task("psi", "any", ["alice"])]))
    await client.job(LAST).wait(timeout=60)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("habits", [{}, {"testing": True, "quirks": "kuscia"}], ids=["here", "plain Kuscia"])
async def test_a_recorded_watch_is_what_happened(tmp_path: Path, habits: dict[str, object], seed: int) -> None:
    chance, histories = random.Random(seed), (History(), History())
    async with running_server(tmp_path, runtime="simulated", **habits) as server:
        line = CutLine("127.0.0.1", int(server.address.rpartition(":")[2]))
        await line.open()
        async with AsyncClient(server.address) as client, followed(line, histories):
            await client.create(JobSpec("first", "alice", [Task("psi", "any", ["alice"])]))
            await client.job("first").wait(timeout=60)
            await eventually(lambda: all("first" in history.known for history in histories))
            await live(server, client, line, chance)
            await eventually(lambda: all(history.has_seen_the_end for history in histories), timeout_seconds=60)
            there = await client.statuses(*IDS, LAST, "first", missing="skip")
            log = [] if habits else await log_of(server)
        await line.close()
    assert line.connections > 2
    now = {job_id: status.raw.SerializeToString(deterministic=True) for job_id, status in there.items()}
    for history in histories:
        assert history.known == now
        assert len(set(history.deleted)) == len(history.deleted), "deleted twice"
        told = [(c.revision, c.type.value, c.job_id) for c in history.changes if c.revision]
        assert told == [entry for entry in log if told[0][0] <= entry[0] <= told[-1][0]]


async def log_of(server: RunningServer) -> list[tuple[int, str, str]]:
    """All that was committed, from a connection of its own that nobody cuts."""
    request = v1.WatchJobsRequest(after_revision=0, timeout_seconds=2)
    return [
        (event.revision, v1.WatchJobsResponse.Type.Name(event.type).removeprefix("TYPE_"), event.job.job_id)
        async for event in v1.JobsServiceStub(server.channel).WatchJobs(request)
        if event.type != v1.WatchJobsResponse.TYPE_BOOKMARK
    ]
