"""What every store tells of itself: its id, whether it can commit, and how many jobs have which state."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from kusciajob.contracts import JobStore, StoreHealth
from kusciajob.model.errors import StoreFailed
from kusciajob.model.status import JobState, TaskState
from kusciajob.store.sqlite.store import SqliteStore
from tests.support import steps
from tests.support.builders import job_spec, new_job, task
from tests.support.stores import STORES, open_store


@pytest.mark.parametrize("kind", STORES)
async def test_each_store_has_an_id_of_its_own(tmp_path: Path, kind: str) -> None:
    ids = []
    for directory in (tmp_path / "one", tmp_path / "other"):
        directory.mkdir()
        store = await open_store(kind, directory)
        ids.append(store.id)
        await store.close()
    assert ids[0] != ids[1]
    assert min(map(len, ids)) >= 32


async def test_a_store_that_is_opened_again_is_the_same(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    await store.close()
    again = await SqliteStore.open(tmp_path / "jobs.db")
    assert again.id == store.id
    await again.close()


async def test_a_probe_changes_nothing(store: JobStore) -> None:
    await store.create(new_job())
    await store.probe()
    assert await store.head() == 1
    assert not store.failing.is_set()
    assert store.health == StoreHealth()


async def test_a_closed_store_can_neither_be_probed_nor_counted(store: JobStore) -> None:
    await store.close()
    for call in (store.probe(), store.census()):
        with pytest.raises(StoreFailed):
            await call


async def test_a_store_fails_from_a_commit_that_failed_to_the_next_that_did_not(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as other, other:
        other.execute("CREATE TRIGGER failing BEFORE INSERT ON log BEGIN SELECT RAISE(FAIL, 'no such luck'); END")
    assert not store.failing.is_set()
    with pytest.raises(StoreFailed):
        await store.create(new_job())
    assert store.failing.is_set()
    await store.probe()
    assert not store.failing.is_set()
    await store.close()


async def test_jobs_and_parties_of_unfinished_jobs_are_counted_by_state(store: JobStore) -> None:
    for name in ("waits", "starts", "runs", "goes-on", "over"):
        job = await store.create(new_job(job_spec(name, tasks=[task("a"), task("b", dependencies=["a"])])))
        match name:
            case "starts":
                await store.replace(steps.admit_and_place(job))
            case "runs":
                await store.replace(steps.start(job))
            case "goes-on":
                await store.replace(steps.start(steps.succeed(job), 1))
            case "over":
                await store.replace(steps.succeed(steps.succeed(job), 1))
    census = await store.census()
    counted = {JobState.PENDING: 2, JobState.RUNNING: 2, JobState.SUCCEEDED: 1}
    assert census.jobs == dict.fromkeys(JobState, 0) | counted
    assert census.parties == dict.fromkeys(TaskState, 0) | {"Pending": 8, "Starting": 2, "Running": 4, "Succeeded": 2}


async def test_an_empty_store_counts_nothing(store: JobStore) -> None:
    census = await store.census()
    assert (set(census.jobs.values()), set(census.parties.values())) == ({0}, {0})


async def test_counting_gives_way_to_others(store: JobStore) -> None:
    await store.create(new_job())
    counting = asyncio.create_task(store.census())
    await asyncio.wait([counting], timeout=0)
    assert not counting.done()
    assert (await counting).jobs[JobState.PENDING] == 1
