"""Connections to PostgreSQL are lost while a commit is under way: nothing is made twice, nothing is told wrongly."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from urllib.parse import urlsplit

import pytest

from kusciajob.model import transitions
from kusciajob.model.errors import JobExists, StoreFailed
from kusciajob.model.status import EventType, Job
from kusciajob.store.postgres.store import PostgresStore
from tests.support.builders import new_job
from tests.support.cut_line import CutLine
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true, passed

pytestmark = pytest.mark.postgres


@pytest.fixture
async def far(url: str, line: CutLine) -> AsyncIterator[PostgresStore]:
    """The store of a server behind the line."""
    store = await PostgresStore.open(url.replace(f":{urlsplit(url).port}/", f":{line.port}/"))
    yield store
    await line.mend()
    await store.close()


@pytest.fixture
async def near(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url)
    yield store
    await store.close()


async def test_a_change_that_was_made_is_told_as_made_although_its_answer_was_lost(
    far: PostgresStore, near: PostgresStore, line: CutLine
) -> None:
    await far.probe()
    line.loses_answers = True
    created = asyncio.create_task(far.create(new_job()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await near.wait_log(0)  # it is made
    line.loses_answers = False
    await line.cut()
    await eventually(far.failing.is_set)
    await line.mend()
    job = await asyncio.wait_for(created, PATIENCE_SECONDS)
    assert job.revision == 1
    assert await near.head() == 1
    assert not far.failing.is_set()


async def test_a_refusal_whose_answer_was_lost_is_told_as_it_was(
    far: PostgresStore, near: PostgresStore, line: CutLine
) -> None:
    await near.create(new_job())
    await far.probe()
    line.loses_answers = True
    refused = asyncio.create_task(far.create(new_job()))
    good = asyncio.create_task(far.create(new_job("other")))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await near.wait_log(1)
    line.loses_answers = False
    await line.cut()
    await line.mend()
    with pytest.raises(JobExists):
        await asyncio.wait_for(refused, PATIENCE_SECONDS)
    assert (await asyncio.wait_for(good, PATIENCE_SECONDS)).revision == 2


async def test_what_was_not_sent_is_refused_at_once_and_is_not_made(
    far: PostgresStore, near: PostgresStore, line: CutLine
) -> None:
    await far.probe()
    await line.cut()
    await passed(0.1)  # it learns that the connection has ended
    for _ in range(2):
        with pytest.raises(StoreFailed, match="the job store cannot commit"):
            await asyncio.wait_for(far.create(new_job()), PATIENCE_SECONDS)
    await line.mend()
    assert (await far.create(new_job("later"))).revision == 1


async def test_who_waits_too_long_is_told_that_nobody_knows_and_nothing_is_made_afterwards(
    far: PostgresStore, near: PostgresStore, line: CutLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kusciajob.store.postgres.committer.UNKNOWN_SECONDS", 1.0)
    await far.probe()
    line.silence()  # the group is on its way, and does not arrive
    created = asyncio.create_task(far.create(new_job()))
    await passed(0.1)
    await line.cut()
    with pytest.raises(StoreFailed, match="does not tell whether"):
        await asyncio.wait_for(created, PATIENCE_SECONDS)
    line.speak()
    await line.mend()

    async def goes_on() -> bool:
        try:
            return (await far.create(new_job("later"))).revision == await near.head()
        except StoreFailed:
            return False

    assert await eventually_true(goes_on)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_doubled_and_nothing_acknowledged_is_lost_while_connections_are_cut(
    far: PostgresStore, near: PostgresStore, line: CutLine, seed: int
) -> None:
    random = Random(seed)
    acknowledged: dict[int, str] = {}
    done = asyncio.Event()

    async def write(writer: int) -> None:
        job: Job | None = None
        for number in range(40):
            text = f"{writer}-{number}"
            try:
                if job is None:
                    job = await far.create(new_job(text))
                else:
                    job = await far.replace(transitions.explain(job, 0, text))
            except StoreFailed:
                job = None  # nobody knows what became of it
                await passed(0.01)
            else:
                assert job.revision not in acknowledged, "two changes have one revision"
                acknowledged[job.revision] = text

    async def trouble() -> None:
        """It comes after some answers, not after some time: a slow machine would have made no connection by then."""
        while not done.is_set():
            enough = len(acknowledged) + random.randrange(1, 12)
            await eventually(lambda enough=enough: done.is_set() or len(acknowledged) >= enough)  # type: ignore[misc]
            line.loses_answers = random.random() < 0.5
            await passed(random.uniform(0, 0.02))
            await line.cut()
            line.loses_answers = False
            await passed(random.uniform(0, 0.05))
            await line.mend()

    troubled = asyncio.create_task(trouble())
    await asyncio.gather(*(write(writer) for writer in range(4)))
    done.set()
    await troubled
    log = await near.read_log(0, 10_000)
    assert [event.revision for event in log] == list(range(1, len(log) + 1))
    told = {
        event.revision: event.job.job_id if event.type is EventType.ADDED else event.job.status.tasks[0].message
        for event in log
    }
    assert {revision: told[revision] for revision in acknowledged} == acknowledged
    assert len(set(told.values())) == len(told), "a change was made twice"
    assert acknowledged
