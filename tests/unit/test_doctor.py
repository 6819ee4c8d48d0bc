"""`kusciajob doctor` on data directories in every condition."""

import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kusciajob.cli.main import cli
from kusciajob.contracts import PartyKey
from kusciajob.images.definition import define
from kusciajob.operations.doctor import Level, examine, examine_engine
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import Workload
from kusciajob.runtime.hosted.workloads import ref_of
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.wire.app_images import spec_of
from tests.support.app_images import shell_request
from tests.support.builders import job_spec, new_job, task
from tests.support.engine import MemoryEngine
from tests.support.images import write_image


def ask(directory: Path) -> Result:
    return CliRunner().invoke(cli, ["doctor", "--data-dir", os.fspath(directory)], standalone_mode=False)


def damage(directory: Path, statement: str) -> None:
    connection = sqlite3.connect(directory / "jobs.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
async def place(tmp_path: Path) -> Path:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    await store.create(new_job(job_spec("chain", tasks=[task("a"), task("b", dependencies=["a"])])))
    await store.create(new_job("gone"))
    await store.delete(await store.get("gone"))
    await store.close()
    (tmp_path / "id.txt").write_text(store.id)
    return tmp_path


def test_a_sound_directory(place: Path) -> None:
    (place / "runs" / "1").mkdir(parents=True)
    (place / "runs" / "2").mkdir()
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    result = ask(place)
    assert result.return_value == 0, result.output
    assert "database: sound" in result.output
    assert f"store: {(place / 'id.txt').read_text()}\n" in result.output
    assert "log: 3 events, revisions 1 to 3" in result.output
    assert "jobs: 1, unfinished: 1" in result.output
    assert 'job chain is Pending, task b: waiting for "a"' in result.output
    assert "runs/2: its job is deleted; waits for removal" in result.output
    assert "runs: directories of 1 jobs" in result.output
    assert before.items() <= {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}.items()


async def test_what_an_engine_has_of_deleted_jobs_is_listed(place: Path) -> None:
    engine = MemoryEngine()
    store_id = (place / "id.txt").read_text()
    for job in (1, 2):  # 2 is deleted
        ref = ref_of(store_id, PartyKey(job, 0, 0, 0), 0, "alice")
        engine.create(Workload(ref, store_id, "task", DomainSettings(), ()))
    found = [finding.text for finding in await examine_engine(place, engine.connect())]
    assert found == [
        "engine: it has something of job number 2, which is deleted: a server removes it",
        "engine: it answers, and runs or keeps something of 2 jobs",
    ]
    engine.is_away = True
    (away,) = await examine_engine(place, engine.connect())
    assert (away.level, "the engine is away" in away.text) == (Level.PROBLEM, True)


async def test_beside_a_running_server(place: Path) -> None:
    store = await SqliteStore.open(place / "jobs.db")
    await store.create(new_job("another"))
    assert not [finding for finding in examine(place) if finding.level is Level.PROBLEM]
    await store.close()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("DELETE FROM log WHERE revision = 2", "log: 1 revisions are missing from 1 to 3"),
        ("UPDATE job SET revision = 9", "log: 1 jobs have changed later than its last revision, 3"),
        ("DELETE FROM spec", 'row 1 of table spec, of job "chain": its specification is missing'),
        ("PRAGMA user_version = 99", "schema: version 99 is newer than this program"),
        ("UPDATE job SET status = x'00'", 'row 1 of table job, of job "chain": its status cannot be read'),
    ],
)
def test_damage_is_found(place: Path, statement: str, text: str) -> None:
    damage(place, statement)
    result = ask(place)
    assert result.return_value == 1
    assert text in result.output


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    assert "no server has ever worked" in ask(tmp_path).output
    (tmp_path / "jobs.db").write_bytes(b"x" * 5000)
    result = ask(tmp_path)
    assert (result.return_value, "cannot be read" in result.output) == (1, True)


async def test_app_images_that_files_hide_or_that_cannot_be_used_are_told(place: Path) -> None:
    store = await SqliteStore.open(place / "jobs.db")
    for name in ("a", "b"):
        definition = define(name, spec_of(shell_request(name, "true")))
        await store.put_app_image(name, definition.stored)
    await store.put_app_image("odd", b"{}")
    await store.close()
    write_image(place / "appimages", "b", ["x"])
    result = ask(place)
    assert result.return_value == 1
    assert 'PROBLEM AppImage "odd" cannot be used: it was created through the API, and' in result.output
    assert 'note    AppImage "b" was created through the API and is hidden: b.yaml declares that name' in result.output
    assert "ok      AppImages: 2, created through the API: 3" in result.output
    write_image(place / "elsewhere", "a", ["x"])
    arguments = ["doctor", "--data-dir", os.fspath(place), "--app-image-dir", os.fspath(place / "elsewhere")]
    output = CliRunner().invoke(cli, arguments, standalone_mode=False).output
    assert 'AppImage "a" was created through the API and is hidden: a.yaml declares that name' in output
    assert 'AppImage "b"' not in output
