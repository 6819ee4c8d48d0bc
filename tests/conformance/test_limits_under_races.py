"""Limits and guards that matter only when two things happen at once, over the stores on which they can."""

import asyncio
from pathlib import Path

import pytest

from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.errors import TooManyJobs
from kusciajob.model.moves import Operation
from kusciajob.model.status import Job, JobState
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.retention import DAY_SECONDS, Retention
from tests.support.builders import job_spec, new_job
from tests.support.clock import ManualClock
from tests.support.stores import IntrudedStore


@pytest.mark.parametrize(("in_all", "per_domain"), [(5, 0), (0, 5)])
async def test_jobs_that_are_being_created_count_against_the_limits(
    tmp_path: Path, in_all: int, per_domain: int
) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")  # the other store is done before anybody else comes
    service = JobService(
        store=store,
        hub=Hub(store),
        images=AnyImage(),
        clock=ManualClock(),
        max_jobs=in_all,
        max_jobs_per_domain=per_domain,
    )
    attempts = [service.create(job_spec(f"job-{number}"), MASTER) for number in range(40)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)

    refusals = [outcome for outcome in outcomes if isinstance(outcome, TooManyJobs)]
    assert len(refusals) == 35
    assert await store.size() == 5
    # Who was refused or failed holds no place.
    await store.delete(await store.get(next(outcome for outcome in outcomes if isinstance(outcome, str))))
    await service.create(job_spec("another"), MASTER)
    await store.close()


def command(job: Job, operation: Operation, clock: ManualClock) -> Job:
    return transitions.request(job, operation, by="alice", reason="", now=clock.now())


@pytest.mark.parametrize("moment", ["get", "delete"])
async def test_retention_does_not_delete_a_job_that_was_restarted_meanwhile(store: JobStore, moment: str) -> None:
    clock = ManualClock()
    await store.replace(command(await store.create(new_job("old", now=clock.now())), Operation.STOP, clock))
    clock.advance(2 * DAY_SECONDS)

    async def restart() -> None:
        await store.replace(command(await store.get("old"), Operation.RESTART, clock))

    racing = IntrudedStore(store, restart, moment)
    keeper = Retention(store=racing, clock=clock, job_days=1, log_events=0, log_hours=0)

    await keeper.round()

    assert (await store.get("old")).status.state is JobState.RUNNING
    await store.replace(command(await store.get("old"), Operation.STOP, clock))
    clock.advance(2 * DAY_SECONDS)
    await keeper.round()
    assert await store.size() == 0, "a job that has ended once more goes all the same"
