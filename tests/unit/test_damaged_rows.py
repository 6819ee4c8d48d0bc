"""A damaged row of the store is named, and hides no other."""

import asyncio
import contextlib
import json
import logging
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls.job import JobCalls
from kusciajob.cli.main import cli
from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.damage import JobDamaged, damaged_status
from kusciajob.model.errors import JobExists, NotAllowed, StoreDamaged
from kusciajob.model.moves import Operation
from kusciajob.model.status import EventType, Job, JobEvent, JobState
from kusciajob.operations import datadir
from kusciajob.operations.doctor import Level, examine
from kusciajob.runtime.simulated import AnyImage
from kusciajob.scheduler.loop import Scheduler
from kusciajob.store import rows
from kusciajob.store.memory import MemoryStore
from kusciajob.store.sqlite import changes, database, reads
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.retention import DAY_SECONDS, Retention
from kusciajob.wire.job_status import encode_event, encode_status
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.damage import ask, damage, doctor, opened
from tests.support.database import read_checked
from tests.support.polling import eventually, eventually_true
from tests.support.runtimes import ManualRuntime
from tests.support.stores import GuardedStore
from tests.support.streams import opened_hub

pytestmark = pytest.mark.hostile

FINISHED, WAITING, SOUND = "finished", "waiting", "sound"


def stopped(job: Job) -> Job:
    return transitions.request(job, Operation.STOP, by="alice", reason="", now=NOW)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Job 1 is finished, at revision 4; job 2 is not; job 3 is sound."""
    store = await SqliteStore.open(tmp_path / "jobs.db")
    finished = await store.create(new_job(FINISHED))
    await store.create(new_job(WAITING))
    await store.create(new_job(SOUND))
    await store.replace(stopped(finished))
    await store.close()
    return tmp_path / "jobs.db"


DAMAGES = {
    "no JSON": "UPDATE job SET status = x'00' WHERE number = 1",
    "not text": "UPDATE job SET status = 7 WHERE number = 1",
    "other JSON": "UPDATE job SET status = '[]' WHERE number = 1",
    "no job's state": (
        """UPDATE job SET status = replace(CAST(status AS TEXT), '"Failed"', '"Failes"') WHERE number = 1"""
    ),
    "a time without a date": (
        "UPDATE job SET status = json_set(CAST(status AS TEXT), '$.created_at', 1e300) WHERE number = 1"
    ),
    "an initiator of bytes": "UPDATE job SET initiator = x'00ff' WHERE number = 1",
    "a revision of text": "UPDATE job SET revision = 'x' WHERE number = 1",
}


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES)
async def test_watchers_are_told_of_a_damaged_job_and_of_all_others(
    path: Path, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, statement)
    async with opened(path) as store, opened_hub(store) as hub:
        for _ in range(2):
            async with hub.subscribe() as stream:
                events = [published.event for published in await stream.read()]
                assert [(event.type, event.job.job_id) for event in events] == [
                    (EventType.ERROR, FINISHED),
                    (EventType.ADDED, WAITING),
                    (EventType.ADDED, SOUND),
                ]
                assert events[0].job.status.message.startswith("damaged: ")
                assert b"Unknown" in encode_event(events[0])
        assert store.health.damaged_rows == 1
    named = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(named) == 1, "it is named once"
    assert f'row 1 of table job, of job "{FINISHED}"' in named[0]


async def test_questions_for_a_damaged_job_name_it_and_what_to_do(path: Path) -> None:
    damage(path, "UPDATE job SET status = x'00' WHERE number = 1")
    async with opened(path) as store:
        service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
        text = rf'job "{FINISHED}" is damaged: its status cannot be read: .*doctor --repair'
        with pytest.raises(JobDamaged, match=text):
            await service.query(FINISHED, MASTER)
        with pytest.raises(JobDamaged, match=text):
            await service.summaries([SOUND, FINISHED], MASTER)
        with pytest.raises(JobDamaged, match=text):
            await service.create(job_spec(FINISHED), MASTER)
        with pytest.raises(NotAllowed):
            await service.query(FINISHED, Caller("carol"))
        with pytest.raises(NotAllowed):
            await service.summaries([FINISHED], Caller("carol"))
        assert (await service.summaries([SOUND], MASTER))[0].job_id == SOUND


async def test_a_long_batch_names_all_that_are_damaged(path: Path) -> None:
    async with opened(path) as store:
        for number in range(200):
            await store.create(new_job(f"job-{number}"))
    damage(path, "UPDATE job SET status = x'00' WHERE job_id IN ('job-1', 'job-199')")
    async with opened(path) as store:
        service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
        request = pb.BatchQueryJobStatusRequest(job_ids=[f"job-{number}" for number in range(200)])
        answer = await JobCalls(service).BatchQueryJobStatus(request, MASTER)
        assert re.search(r'job "job-1" is damaged: .*; job "job-199" is damaged: ', answer.status.message)


@pytest.mark.parametrize(
    "statement",
    [*DAMAGES.values(), "DELETE FROM spec WHERE number = 1", "UPDATE spec SET spec = x'00' WHERE number = 1"],
)
async def test_a_damaged_job_can_be_deleted_and_its_ids_are_free(path: Path, statement: str) -> None:
    damage(path, statement)
    async with opened(path) as store:
        service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
        await service.delete(FINISHED, MASTER)
        (deleted,) = await store.read_log(4, 10)
        assert (deleted.type, deleted.job.job_id, deleted.job.number) == (EventType.DELETED, FINISHED, 1)
        await store.create(new_job(FINISHED))  # with the same task id
        assert await store.size() == 3
    async with opened(path) as store:
        assert (await store.read_log(4, 1))[0].type is EventType.DELETED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET status = x'00' WHERE number = 2",
        "UPDATE spec SET spec = x'00' WHERE number = 2",
        "DELETE FROM spec WHERE number = 2",
        "UPDATE spec SET spec = (SELECT spec FROM spec WHERE number = 1) WHERE number = 2",
    ],
)
async def test_an_unfinished_damaged_job_does_not_keep_the_scheduler_from_the_others(
    path: Path, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, statement)
    runtime, clock = ManualRuntime(), ManualClock()
    async with opened(path) as store, opened_hub(store) as hub:
        scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=AnyImage(), clock=clock)
        await scheduler.open()
        assert [job.job_id for job in await store.unfinished()] == [SOUND]
        assert await store.missing([1, 2, 3]) == set(), "what is kept of it is no stray"
    assert f'of job "{WAITING}"' in caplog.text


async def test_retention_goes_on_past_a_damaged_job(path: Path) -> None:
    async with opened(path) as store:
        await store.replace(stopped(await store.get(SOUND)))
    damage(path, "UPDATE job SET status = x'00' WHERE number = 1")
    damage(path, "UPDATE spec SET spec = x'00' WHERE number = 3")
    clock = ManualClock()
    async with opened(path) as store:
        await store.replace(stopped(await store.get(WAITING)))
        clock.advance(2 * DAY_SECONDS)
        await Retention(store=store, clock=clock, job_days=1, log_events=0, log_hours=0).round()
        assert [job.job_id for job in await store.page(0, 10)] == [FINISHED, SOUND]


async def test_a_census_counts_the_others(path: Path) -> None:
    damage(path, "UPDATE job SET status = x'00' WHERE number = 1")
    damage(path, "UPDATE job SET status = x'ff7b' WHERE number = 2")
    async with opened(path) as store:
        census = await store.census()
    assert (census.jobs["Unknown"], census.jobs["Pending"]) == (2, 1)
    assert census.parties["Pending"] == 2


# The log


async def test_a_damaged_entry_of_the_log_is_an_error_at_its_revision(path: Path) -> None:
    async with opened(path) as store:
        await store.delete(await store.get(SOUND))  # revision 5
    for revision in (1, 3, 5):
        damage(path, "UPDATE log SET status = x'00' WHERE revision = ?", revision)
    damage(path, "UPDATE log SET type = 'NEWS', job_id = x'ff' WHERE revision = 2")
    async with opened(path) as store:
        events = await store.read_log(0, 10)
        assert [event.revision for event in events] == [1, 2, 3, 4, 5]
        assert [event.type for event in events] == [
            EventType.ERROR,  # what followed tells more
            EventType.ADDED,  # the job is as it was then
            EventType.ERROR,
            EventType.MODIFIED,
            EventType.DELETED,  # else nobody would learn that it is gone
        ]
        assert events[1].job == (await store.summaries([WAITING]))[0]
        assert [event.job.job_id for event in events] == [FINISHED, WAITING, SOUND, FINISHED, SOUND]
        assert store.health.damaged_rows == 4


async def test_the_last_state_of_a_job_is_told_though_its_entry_and_that_of_its_fault_are_damaged(path: Path) -> None:
    async with opened(path) as store:
        job = await store.replace(stopped(await store.get(SOUND)), fault="no disk")  # 5 and 6
    damage(path, "UPDATE log SET status = x'00' WHERE revision IN (5, 6)")
    async with opened(path) as store:
        told, fault = await store.read_log(4, 10)
        assert (told.type, told.job.status) == (EventType.MODIFIED, job.status)
        assert fault.type is EventType.ERROR


async def test_a_gap_in_the_log_ends_what_is_read_and_is_told(path: Path) -> None:
    damage(path, "DELETE FROM log WHERE revision IN (2, 4)")
    async with opened(path) as store, opened_hub(store) as hub:
        assert [event.revision for event in await store.read_log(0, 10)] == [1]
        created = await store.create(new_job("next"))
        async with hub.subscribe() as stream:
            await eventually(lambda: hub.head >= created.revision)
            seen = [published.event.job.job_id for published in await stream.read()]
        assert seen == [FINISHED, WAITING, SOUND, "next"]


# Whatever is damaged


@given(
    table=st.sampled_from(["job", "spec", "log"]),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 7)), min_size=1, max_size=4),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_flipped_bits_are_damage_or_another_value_never_an_error(
    path: Path, table: str, flips: list[tuple[int, int]]
) -> None:
    column = "spec" if table == "spec" else "status"
    with contextlib.closing(database.connect(Path(":memory:"))) as connection:
        with contextlib.closing(database.read_only(path)) as original:
            original.backup(connection)
        key = "revision" if table == "log" else "number"
        (data,) = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = 2").fetchone()  # noqa: S608
        changed = bytearray(data)
        for place, bit in flips:
            changed[place % len(changed)] ^= 1 << bit
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = 2", (bytes(changed),))  # noqa: S608
        found: list[rows.Damage] = []
        page = reads.page(connection, 0, 10, found.append)
        events = reads.read_log(connection, 0, 10, found.append)
        reads.unfinished(connection, found.append)
        for job_id in (WAITING, SOUND):
            with contextlib.suppress(JobDamaged):
                reads.get(connection, job_id, found.append)
        assert [job.job_id for job in page] == [FINISHED, WAITING, SOUND]
        assert [event.revision for event in events] == [1, 2, 3, 4]
        assert all(encode_status(job.status) for job in page)
        assert all(encode_event(event) for event in events)
        assert {damage.table for damage in found} <= {table}


# Doctor


EVERYWHERE = [
    ("UPDATE job SET status = x'00' WHERE number = 1", "row 1 of table job, of job"),
    ("UPDATE job SET unfinished = 0 WHERE number = 2", "row 2 of table job, of job"),
    ("UPDATE job SET job_id = 'other' WHERE number = 2", "row 2 of table spec, of job"),
    ("UPDATE job SET initiator = 'mallory' WHERE number = 2", "row 2 of table spec, of job"),
    ("UPDATE job SET job_id = x'ff' WHERE number = 2", "row 2 of table job, of job"),
    ("UPDATE spec SET spec = x'00' WHERE number = 3", "row 3 of table spec, of job"),
    ("DELETE FROM spec WHERE number = 3", "row 3 of table spec, of job"),
    ("UPDATE spec SET number = 9 WHERE number = 3", "row 9 of table spec, of job"),
    ("DELETE FROM task WHERE number = 3", 'row "sound-psi" of table task, of job'),
    ("UPDATE task SET number = 9 WHERE number = 3", "it names job number 9 as its job"),
    ("INSERT INTO task VALUES ('stray', 9)", 'row "stray" of table task, of job'),
    ("INSERT INTO task VALUES (CAST(x'ff' AS TEXT), 9)", "of table task, of job"),
    ("INSERT INTO task VALUES ('another', 3)", 'row "another" of table task, of job'),
    ("UPDATE log SET status = x'00' WHERE revision = 1", "row 1 of table log, of job"),
    ("UPDATE log SET status = x'00' WHERE revision = 4", "row 4 of table log, of job"),
    ("UPDATE log SET type = 'NEWS' WHERE revision = 1", "its type"),
    ("UPDATE log SET job_id = CAST(x'ff' AS TEXT) WHERE revision = 3", "row 3 of table log, of job"),
]


@pytest.mark.parametrize(("statement", "text"), EVERYWHERE)
async def test_doctor_names_damage_in_every_row_and_repairs_it_without_losing_anything(
    path: Path, statement: str, text: str
) -> None:
    assert doctor(path)[0] == 0
    damage(path, statement)
    code, output = doctor(path)
    assert (code, text in output) == (1, True), output
    assert "doctor --repair" in output

    code, output = doctor(path, "--repair")
    assert code == 0, output
    assert doctor(path)[0] == 0
    assert doctor(path, "--repair")[0] == 0
    async with opened(path) as store:
        assert store.health.losses == 0, "what was set aside is not taken for lost"
        assert store.health.damaged_rows == 0
        log = await store.read_log(0, 100)
        assert [event.revision for event in log] == list(range(1, len(log) + 1))
        with contextlib.suppress(JobExists):
            for job_id in (FINISHED, WAITING, SOUND):
                await store.create(new_job(job_id))
    if text.startswith("row 2 of table job") and "unfinished" in statement:
        read_checked(path)


async def test_a_job_that_is_set_aside_is_kept_byte_by_byte_and_its_id_is_free(path: Path) -> None:
    damage(path, "UPDATE job SET status = x'7b00ff' WHERE number = 1")
    (spec,) = ask(path, "SELECT spec FROM spec WHERE number = 1")
    code, output = doctor(path, "--repair")
    assert (code, f'job "{FINISHED}" (number 1) is set aside, its id is free' in output) == (0, True), output
    kept = {origin: json.loads(str(content)) for origin, content in ask(path, "SELECT origin, content FROM damaged")}
    assert kept["job"] == {
        "number": 1,
        "job_id": FINISHED,
        "revision": 4,
        "unfinished": 0,
        "initiator": "alice",
        "status": {"hex": "7b00ff"},
    }
    assert kept["spec"]["spec"].encode() == spec[0]
    assert kept["task"] == {"task_id": "finished-psi", "number": 1}
    async with opened(path) as store:
        (deleted,) = await store.read_log(4, 10)
        assert (deleted.type, deleted.job.job_id) == (EventType.DELETED, FINISHED)
        assert "set aside" in deleted.job.status.message
        assert (await store.create(new_job(FINISHED))).number == 6
        assert {job.job_id for job in await store.page(0, 10)} == {WAITING, SOUND, FINISHED}


async def test_nothing_is_repaired_while_a_server_works(path: Path) -> None:
    damage(path, "UPDATE job SET status = x'00' WHERE number = 1")
    with datadir.held(path.parent):
        result = CliRunner().invoke(cli, ["doctor", "--repair", "--data-dir", str(path.parent)], standalone_mode=False)
        assert "is in use by the server" in str(result.exception)
    assert ask(path, "SELECT count(*) FROM damaged") == [(0,)]


def test_what_a_program_wrote_does_not_reach_the_terminal_by_way_of_doctor(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with contextlib.closing(database.connect(path)) as connection:
        database.migrate(connection, database.migrations())
        connection.execute("BEGIN")
        transaction = changes.Transaction(connection)
        job = transaction.create(new_job(job_spec("evil", tasks=[task("a\x1b[2J\u202e")])))
        transaction.replace(transitions.explain(job, 0, "x\x1b]52;c;eA==\x07\nPROBLEM forged"))
        transaction.finish()
        connection.execute("COMMIT")
    _, output = doctor(path)
    assert r"task a\x1b[2J\u202e: x\x1b]52;c;eA==\x07 PROBLEM forged" in output
    assert "\x1b" not in output
    assert not [line for line in output.splitlines() if line.startswith("PROBLEM forged")]


# Damage of pages


async def test_a_malformed_file_is_named_with_what_to_do(path: Path) -> None:
    async with opened(path) as store:
        for number in range(300):
            await store.create(new_job(f"more-{number}"))
    with path.open("r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        for page in range(4096, size, 4096):  # all but the schema's
            file.seek(page)
            file.write(b"\xff" * 4096)
    with pytest.raises(StoreDamaged, match=r"jobs\.db is damaged; `kusciajob doctor` looks at it.*\.recover"):
        await SqliteStore.open(path)
    code, output = doctor(path)
    assert code == 1
    assert "PROBLEM" in output
    assert ".recover" in output


async def test_a_damaged_page_ends_the_streams_that_need_it_with_an_error(path: Path) -> None:
    async with opened(path) as store:
        for number in range(500):
            await store.create(new_job(f"more-{number}"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # That of the job with the number 200, on the second page of a replay; none that is needed to start.
        leaves = "SELECT pageno, sum(ncell) OVER (ORDER BY path) AS last FROM dbstat WHERE name = 'job'"
        query = f"SELECT pageno FROM ({leaves} AND pagetype = 'leaf') WHERE last >= 200 LIMIT 1"  # noqa: S608
        try:
            (page,) = connection.execute(query).fetchone()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    async with opened(path) as store, opened_hub(store) as hub:
        async with hub.subscribe() as stream:
            assert len(await stream.read()) == 128
            with pytest.raises(StoreDamaged, match="is damaged"):
                await stream.read()
        assert (await store.get(SOUND)).job_id == SOUND, "the rest can be read"
    assert any(finding.level is Level.PROBLEM for finding in examine(path.parent))


# The scheduler is a watcher too


class DamagedLog(GuardedStore):
    """Its log has an entry that cannot be read: the newest of the kind that is asked for."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store)
        self.damaged: set[int] = set()

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        events = await self._store.read_log(after, limit)
        return [self._damaged(event) if event.revision in self.damaged else event for event in events]

    def _damaged(self, event: JobEvent) -> JobEvent:
        job = replace(event.job, status=damaged_status("a test says so"))
        return JobEvent(event.revision, EventType.ERROR, job)


async def test_the_scheduler_looks_at_a_job_whose_entry_in_the_log_is_damaged() -> None:
    store, runtime, clock = DamagedLog(MemoryStore()), ManualRuntime(), ManualClock()
    async with opened_hub(store) as hub:
        scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=AnyImage(), clock=clock)
        await scheduler.open()
        running = asyncio.create_task(scheduler.run())
        store.damaged = {1}
        await store.create(new_job(SOUND))
        await eventually(lambda: len(runtime.running) == 2)

        async def is_running() -> bool:
            return (await store.get(SOUND)).status.state is JobState.RUNNING

        await eventually_true(is_running)
        job = stopped(await store.get(SOUND))
        store.damaged.add(await store.head() + 1)
        await store.replace(job)
        await eventually(lambda: not runtime.running)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
