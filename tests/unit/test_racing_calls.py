"""Calls that meet: each is answered as if they had come one after the other, in one order or another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.model.errors import JobExists, JobNotFound, TaskExists, TooManyJobs
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.moves import Operation
from kusciajob.model.status import Job
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.jobs import JobService
from tests.support.builders import job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.polling import give_way
from tests.support.stores import GuardedStore, HesitantStore, IntrudedStore

ALICE = Caller("alice")


def interrupted(store: JobStore, intrude: Callable[[], Awaitable[None]]) -> IntrudedStore:
    """Somebody else acts before the first read of a job is answered."""
    return IntrudedStore(store, intrude, "get", "summaries")


def service_on(store: JobStore, *, max_jobs: int = 0) -> JobService:
    return JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock(), max_jobs=max_jobs)


async def stored(*job_ids: str) -> MemoryStore:
    store = MemoryStore()
    for job_id in job_ids:
        await store.create(new_job(job_id))
    return store


def deleting(store: JobStore, job_id: str) -> Callable[[], Awaitable[None]]:
    async def delete() -> None:
        await store.delete(await store.get(job_id))

    return delete


@pytest.mark.parametrize("caller", [MASTER, ALICE])
@pytest.mark.parametrize("max_jobs", [0, 1])
async def test_a_job_that_is_deleted_while_it_is_created_again_is_created_anew(caller: Caller, max_jobs: int) -> None:
    store = await stored("job-1")
    service = service_on(interrupted(store, deleting(store, "job-1")), max_jobs=max_jobs)
    assert await service.create(job_spec("job-1"), caller) == "job-1"
    assert (await store.get("job-1")).number == 3


async def test_a_job_that_is_deleted_while_another_of_its_id_is_created_does_not_stand_in_the_way() -> None:
    store = await stored("job-1")
    service = service_on(interrupted(store, deleting(store, "job-1")))
    other = job_spec("job-1", initiator="bob")
    await service.create(other, MASTER)
    assert (await store.get("job-1")).spec == other


async def test_room_that_a_deletion_makes_while_the_limit_is_looked_at_is_used() -> None:
    store = await stored("job-1", "job-2")
    with pytest.raises(TooManyJobs, match="2 jobs are stored"):
        await service_on(store, max_jobs=2).create(job_spec("job-3"), MASTER)
    service = service_on(interrupted(store, deleting(store, "job-1")), max_jobs=2)
    assert await service.create(job_spec("job-3"), MASTER) == "job-3"


async def test_an_id_that_is_never_free_long_enough_is_told_so() -> None:
    store = await stored("job-1")

    class Taken(GuardedStore):
        async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
            raise JobExists("taken")

        async def _admit(self, method: str) -> None:
            raise JobNotFound("job-1")

    with pytest.raises(JobExists, match="created and deleted by others again and again"):
        await service_on(Taken(store)).create(job_spec("job-1"), MASTER)


async def test_a_job_that_is_created_again_takes_no_place_of_another() -> None:
    service = service_on(HesitantStore(await stored("job-1"), "create", turns=3), max_jobs=2)
    created = await asyncio.gather(*(service.create(job_spec(job_id), MASTER) for job_id in ("job-1", "job-2")))
    assert created == ["job-1", "job-2"]
    more = (service.create(job_spec(job_id), MASTER) for job_id in ("job-1", "job-3"))
    again, refused = await asyncio.gather(*more, return_exceptions=True)
    assert again == "job-1"
    assert isinstance(refused, TooManyJobs)


async def test_a_task_id_is_free_as_soon_as_its_job_is_deleted() -> None:
    store = await stored("job-1")
    service = service_on(store)
    thief = job_spec("job-2", tasks=[task(task_id="job-1-psi")])
    with pytest.raises(TaskExists, match='it belongs to job "job-1"'):
        await service.create(thief, MASTER)
    with pytest.raises(TaskExists, match=r'^one of the task ids "job-1-psi" is taken: choose others'):
        await service.create(thief, ALICE)
    await asyncio.gather(service.delete("job-1", MASTER), service.create(thief, MASTER))


async def test_a_command_on_a_job_that_is_deleted_meanwhile_says_what_every_unknown_job_does() -> None:
    for caller, text in (
        (MASTER, 'job "job-1" not found'),
        (ALICE, 'domain "alice" may not act on job "job-1": it is neither initiator nor party of such a job'),
    ):
        store = await stored("job-1")
        # The job goes between the look at it and the change.
        service = service_on(IntrudedStore(store, deleting(store, "job-1"), "replace", "delete", times=None))
        with pytest.raises(Exception, match=f"^{text}$"):
            await service.delete("job-1", caller)
        await store.create(new_job("job-1"))
        with pytest.raises(Exception, match=f"^{text}$"):
            await service.command(Operation.STOP, "job-1", "", caller)


async def test_whoever_creates_and_deletes_one_job_at_once_is_answered_in_an_order(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    service = service_on(store, max_jobs=3)
    try:

        async def create() -> None:
            for _ in range(60):
                assert await service.create(job_spec("job-1"), MASTER) == "job-1"

        async def delete() -> None:
            while not creating.done():
                with suppress(JobNotFound):
                    await service.delete("job-1", MASTER)
                await give_way(1)

        creating = asyncio.gather(create(), create(), create())
        await asyncio.gather(creating, delete(), delete())
        events = await store.read_log(0, 10_000)
        assert [event.type for event in events] == [("ADDED", "DELETED")[index % 2] for index in range(len(events))]
        assert len(events) > 20
    finally:
        await store.close()
