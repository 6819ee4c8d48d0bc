"""Damage in what is stored in parts or compressed: large inputs, large statuses, and what the log takes."""

import contextlib
import zlib
from pathlib import Path

import pytest

from kusciajob.model.damage import JobDamaged
from kusciajob.model.job import Party, Task
from kusciajob.model.status import EventType
from kusciajob.store import common
from kusciajob.store.packing import APART, pack_spec, unpack_spec
from kusciajob.store.sqlite import changes, database, landmark, reads
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.builders import job_spec, new_job, task
from tests.support.damage import ask, damage, doctor, opened

pytestmark = pytest.mark.hostile

LARGE = "x" * 100_000


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Job 1 has two large inputs, job 2 a large status; job 3 is sound."""
    store = await SqliteStore.open(tmp_path / "jobs.db")
    large = [task("a", input_config=LARGE), task("b", input_config="small"), task("c", input_config=LARGE)]
    await store.create(new_job(job_spec("inputs", tasks=large)))
    parties = tuple(Party(f"domain-{number}") for number in range(2000))
    await store.create(new_job(job_spec("wide", tasks=[Task("t", "app", parties)])))
    await store.create(new_job("sound"))
    await store.close()
    return tmp_path / "jobs.db"


INPUTS = [
    "DELETE FROM input WHERE task = 2",
    "DELETE FROM input",
    "UPDATE input SET task = 1 WHERE task = 2",
    "UPDATE input SET task = 'x' WHERE task = 2",
    "UPDATE input SET config = x'ff' WHERE task = 2",
    "UPDATE input SET config = 7 WHERE task = 2",
    "INSERT INTO input VALUES (1, 9, x'20')",
]


@pytest.mark.parametrize("statement", INPUTS)
async def test_an_input_that_is_damaged_or_missing_is_damage_of_its_job(path: Path, statement: str) -> None:
    damage(path, statement)
    async with opened(path) as store:
        for _ in range(2):
            with pytest.raises(JobDamaged, match=r'job "inputs" is damaged: its specification cannot be read: '):
                await store.get("inputs")
        assert [job.job_id for job in await store.unfinished()] == ["wide", "sound"]
        assert store.health.damaged_rows == 1
        (told,) = await store.summaries(["inputs"])
        await store.delete(told)
    assert ask(path, "SELECT count(*) FROM input") == [(0,)]


async def test_a_job_whose_large_specification_is_gone_is_damaged(path: Path) -> None:
    damage(path, "DELETE FROM spec WHERE number = 1")
    async with opened(path) as store:
        with pytest.raises(JobDamaged, match="its specification is missing"):
            await store.get("inputs")


def test_an_input_that_looks_as_if_it_were_apart_is_read_back() -> None:
    spec = job_spec(tasks=[task("a", input_config=APART), task("b", input_config="")])
    data, inputs = pack_spec(spec)
    assert unpack_spec(data, list(inputs.items())) == spec


@pytest.mark.parametrize("status", ["x'78'", "x'789c00'", "7", "CAST(x'7bff' AS TEXT)"])
async def test_a_large_status_that_is_damaged_hides_no_other(path: Path, status: str) -> None:
    damage(path, f"UPDATE job SET status = {status} WHERE number = 2")  # noqa: S608
    damage(path, f"UPDATE log SET status = {status} WHERE revision = 2")  # noqa: S608
    async with opened(path) as store:
        assert [job.status.is_damaged for job in await store.page(0, 10)] == [False, True, False]
        assert [event.type for event in await store.read_log(0, 10)] == [
            EventType.ADDED,
            EventType.ERROR,
            EventType.ADDED,
        ]
        census = await store.census()
    assert (census.jobs["Unknown"], census.jobs["Pending"]) == (1, 2)
    assert census.parties["Pending"] == 8


async def test_large_statuses_are_counted(path: Path) -> None:
    (packed,) = ask(path, "SELECT status FROM job WHERE number = 2")
    assert isinstance(packed[0], bytes)
    assert zlib.decompress(packed[0])
    async with opened(path) as store:
        assert (await store.census()).parties["Pending"] == 2008


EVERYWHERE = [
    *((statement, "row 1 of table spec, of job") for statement in INPUTS),
    ("UPDATE input SET number = 9 WHERE task = 2", "of table input, of job"),
    ("UPDATE job SET status = substr(status, 1, 90) WHERE number = 2", "row 2 of table job, of job"),
    ("UPDATE log SET status = substr(status, 1, 90) WHERE revision = 2", "row 2 of table log, of job"),
    ("UPDATE log SET status = 7 WHERE revision = 1", "row 1 of table log, of job"),
    ("UPDATE log SET total = 1 WHERE revision = 3", "its total is 1"),
    ("UPDATE log SET total = 'much' WHERE revision = 2", "its total is much"),
    ("UPDATE log SET total = 9223372036854775807 WHERE revision = 3", "its total is 9223372036854775807"),
]


@pytest.mark.parametrize(("statement", "text"), EVERYWHERE)
async def test_doctor_names_damage_in_every_part_and_repairs_it(path: Path, statement: str, text: str) -> None:
    assert doctor(path)[0] == 0
    inputs = len(ask(path, "SELECT * FROM input"))
    damage(path, statement)
    changed = len(ask(path, "SELECT * FROM input"))
    code, output = doctor(path)
    assert (code, text in output) == (1, True), output

    code, output = doctor(path, "--repair")
    assert code == 0, output
    assert doctor(path)[0] == 0
    kept = len(ask(path, "SELECT * FROM input")) + len(ask(path, "SELECT * FROM damaged WHERE origin = 'input'"))
    assert kept == changed, f"of {inputs}"
    totals = [(0,), *ask(path, "SELECT total FROM log ORDER BY revision")]
    sizes = ask(path, "SELECT length(CAST(status AS BLOB)) FROM log ORDER BY revision")
    for (before,), (after,), (size,) in zip(totals, totals[1:], sizes, strict=False):
        assert isinstance(before, int)
        assert isinstance(size, int)
        assert after == before + size + common.LOG_ROW_BYTES
    async with opened(path) as store:
        assert (store.health.losses, store.health.damaged_rows) == (0, 0)


@pytest.mark.parametrize("total", ["9223372036854775807", "-5", "'much'", "x'00'"])
async def test_the_log_goes_on_after_an_entry_whose_total_is_damaged(path: Path, total: str) -> None:
    damage(path, f"UPDATE log SET total = {total} WHERE revision = 3")  # noqa: S608
    async with opened(path) as store:
        await store.log_excess(1000)
        for number in range(20):
            await store.create(new_job(f"more-{number}"))
        await store.truncate_log(await store.log_excess(5000))
        assert await store.log_excess(5000) == 0
        assert (await store.read_log(22, 10))[-1].revision == 23


async def test_a_log_is_forgotten_to_its_end_after_a_loss(path: Path) -> None:
    with contextlib.closing(database.connect(path)) as connection:
        known = landmark.Landmark(reads.identity(connection), 1000, 3)
        assert landmark.reconcile(connection, known, now=0)
        connection.execute("BEGIN")
        transaction = changes.Transaction(connection)
        steps = [transaction.truncate_log(500_000, limit=2) for _ in range(3)]
        connection.execute("COMMIT")
    assert [is_done for _, is_done in steps] == [False, False, True]
    assert ask(path, "SELECT count(*) FROM log") == [(0,)]
    async with opened(path) as store:
        assert (await store.create(new_job("next"))).number == 1001 + landmark.SKIPPED_REVISIONS
