"""Damage in the tables that lists and histories are read from hides nothing else, and is mended from the jobs."""

from pathlib import Path

import pytest

from kusciajob.model.history import Attempt, AuditEntry, HistoryEntry, HistoryEvent, Notes
from kusciajob.model.job import NO_TRAITS
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobState, TaskState
from kusciajob.store.sqlite.store import SqliteStore
from tests.conformance.test_store_selection import listed, stopped, with_traits
from tests.support.builders import NOW, new_job
from tests.support.damage import ask, damage, doctor, opened
from tests.support.earlier_schema import rows_of

NOTES = Notes(
    (HistoryEntry(HistoryEvent.CREATED, NOW), HistoryEntry(HistoryEvent.STOPPED, NOW)),
    (Attempt(0, 1, TaskState.FAILED, NOW, None, NOW, "", ()), Attempt(0, 2, TaskState.FAILED, NOW, None, NOW, "", ())),
    AuditEntry(NOW, "alice", "", "CreateJob", "job-1"),
)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Jobs 1 to 3, the first of which is finished; one more was deleted."""
    async with opened(tmp_path / "jobs.db") as store:
        jobs = [await store.create(new_job(with_traits(f"job-{n}"), now=NOW + n), notes=NOTES) for n in (1, 2, 3, 4)]
        await store.replace(stopped(jobs[0], NOW + 9))
        await store.delete(jobs[3])
    return tmp_path / "jobs.db"


async def told(store: SqliteStore) -> list[object]:
    """Lists as they are told."""
    wanted = (
        JobFilter(),
        JobFilter(states=frozenset({JobState.FAILED})),
        JobFilter(party="bob"),
        JobFilter(custom_fields=(("owner", "lab"),)),
        JobFilter(created_after=NOW + 2, created_before=NOW + 3),
        JobFilter(ended_after=NOW + 9),
    )
    return [await listed(store, chosen) for chosen in wanted]


LISTED_WRONGLY = {
    "DELETE FROM listing WHERE number = 1": "row 1 of table listing",
    "UPDATE listing SET state = 'Pending' WHERE number = 1": "it differs from its job",
    "UPDATE listing SET ended = NULL WHERE number = 1": "it differs from its job",
    "UPDATE listing SET traits = x'00' WHERE number = 2": "it differs from its job",
    "UPDATE listing SET phase = '[]' WHERE number = 2": "it differs from its job",
    "UPDATE listing SET created = 'long ago' WHERE number = 2": "its time of creation is long ago",
    "UPDATE listing SET created = 1e300 WHERE number = 2": "its time of creation is 1e+300",
    "UPDATE listing SET created = 0 WHERE number = 3": "its time of creation is 0.0",
    "UPDATE listing SET lag = -1 WHERE number = 1": "its lag is -1.0",
    "DELETE FROM facet WHERE number = 2": "a facet of its job is missing",
    "INSERT INTO facet VALUES (1, 99)": "row 99 of table facet",
    "INSERT INTO listing SELECT 99, state, created, lag, ended, deadline, expires, phase, traits FROM listing"
    " WHERE number = 1": "row 99 of table listing",
}


@pytest.mark.parametrize("statement", LISTED_WRONGLY)
async def test_what_is_listed_wrongly_is_named_by_the_doctor_and_listed_anew(path: Path, statement: str) -> None:
    async with opened(path) as store:
        expected = await told(store)
        log = await store.read_log(0, 100)
    before = rows_of(path, "listing", "facet")
    damage(path, statement)
    async with opened(path) as store:
        assert [job.job_id for job in await listed(store, JobFilter())] == ["job-1", "job-2", "job-3"]
        assert len(await store.read_log(0, 100)) == len(log)
        await told(store)

    is_unsound, text = doctor(path)
    assert is_unsound
    assert LISTED_WRONGLY[statement] in text
    doctor(path, "--repair")
    assert "rows: all can be read" in doctor(path)[1]
    assert rows_of(path, "listing", "facet") == before
    async with opened(path) as store:
        assert await told(store) == expected
        assert await store.read_log(0, 100) == log


REMOVED = {
    "UPDATE history SET entry = x'ff' WHERE id = 3": "history",
    "UPDATE history SET number = 99 WHERE id = 3": "history",
    "UPDATE attempt SET attempt = 7 WHERE id = 3": "attempt",
    "UPDATE audit SET caller = x'ff' WHERE id = 2": "audit",
    "UPDATE audit SET at = 'now' WHERE id = 2": "audit",
    "UPDATE departed SET traits = '[]'": "departed",
}


@pytest.mark.parametrize("statement", REMOVED)
async def test_a_record_that_cannot_be_read_is_left_out_and_set_aside(path: Path, statement: str) -> None:
    table = REMOVED[statement]
    damage(path, statement)
    for _ in range(2):
        async with opened(path) as store:
            assert len(await store.history(1, after=0, limit=9)) == len(await store.attempts(1)) == 2
            assert len(await store.history(2, after=0, limit=9)) == (1 if table == "history" else 2)
            assert len(await store.attempts(2)) == (1 if table == "attempt" else 2)
            assert len(await store.audit(limit=9)) == (3 if table == "audit" else 4)
            deleted = (await store.read_log(0, 100))[-1].job
            assert (deleted.traits == NO_TRAITS) is (table == "departed")
        doctor(path, "--repair")
    assert "rows: all can be read" in doctor(path)[1]
    assert ask(path, "SELECT origin FROM damaged") == [(table,)]


async def test_a_change_of_a_job_that_is_listed_wrongly_tells_the_phase_before(path: Path) -> None:
    for statement in ("DELETE FROM listing WHERE number = 2", "UPDATE listing SET phase = 'x' WHERE number = 3"):
        damage(path, statement)
    async with opened(path) as store:
        for job_id in ("job-2", "job-3"):
            job = await store.get(job_id)
            await store.replace(stopped(job, NOW + 9))
            assert (await store.read_log(await store.head() - 1, 1))[0].before == job.status.phase
            await store.delete(await store.get(job_id))
        assert [job.job_id for job in await listed(store, JobFilter())] == ["job-1"]


async def test_a_job_that_is_set_aside_leaves_its_history_and_its_traits(path: Path) -> None:
    damage(path, "UPDATE job SET status = x'00' WHERE number = 2")
    async with opened(path) as store:
        (bad,) = [job for job in await listed(store, JobFilter(initiator="alice")) if job.status.is_damaged]
        assert bad.traits.custom_fields == {"owner": "lab"}
        assert bad not in await listed(store, JobFilter(states=frozenset(JobState)))
        assert bad not in await listed(store, JobFilter(created_after=0.0))
    doctor(path, "--repair")
    origins = [origin for (origin,) in ask(path, "SELECT origin FROM damaged ORDER BY origin")]
    assert origins == ["attempt", "attempt", "history", "history", "job", "spec", "task", "task"]
    async with opened(path) as store:
        assert (await store.read_log(await store.head() - 1, 1))[0].job.traits == bad.traits
        assert len(await listed(store, JobFilter())) == 2
    assert "rows: all can be read" in doctor(path)[1]
