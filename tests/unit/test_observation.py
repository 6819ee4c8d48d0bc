"""Counting in the file of jobs."""

from contextlib import closing
from pathlib import Path

import pytest

from kusciajob.model.status import JobState
from kusciajob.operations.observation import PARTIES_BY_STATE, count_jobs, count_parties
from kusciajob.store.sqlite import database
from kusciajob.store.sqlite.store import SqliteStore
from tests.support import steps
from tests.support.builders import job_spec, new_job, task


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """One job of each kind, each of two tasks with two parties, and one that has succeeded."""
    store = await SqliteStore.open(tmp_path / "jobs.db")
    try:
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
    finally:
        await store.close()
    return tmp_path / "jobs.db"


def test_jobs_and_parties_are_counted_by_state(file: Path) -> None:
    jobs = dict.fromkeys(JobState, 0) | {JobState.PENDING: 2, JobState.RUNNING: 2, JobState.SUCCEEDED: 1}
    assert count_jobs(file) == jobs
    assert count_parties(file) == {"Pending": 8, "Starting": 2, "Running": 4, "Succeeded": 2, "Failed": 0}


def test_no_finished_job_is_looked_at_for_its_parties(file: Path) -> None:
    with closing(database.read_only(file)) as connection:
        plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {PARTIES_BY_STATE}")]
    assert any("job_unfinished" in step for step in plan), plan


def test_a_file_that_cannot_be_read_counts_nothing(tmp_path: Path) -> None:
    assert set(count_jobs(tmp_path / "missing.db").values()) == {0}
    assert set(count_parties(tmp_path / "missing.db").values()) == {0}
