"""Examines a data directory, with its server running or not, writing nothing; repairs one whose server is stopped."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path

from msgspec import MsgspecError, Struct

from kusciajob.images.catalog import AppImageCatalog
from kusciajob.model.status import ACTIVE, Job, TaskState
from kusciajob.model.text import shown
from kusciajob.operations import formats
from kusciajob.runtime.hosted.engine import Engine, EngineUnavailable
from kusciajob.runtime.process.shim_probe import ask_shim
from kusciajob.store.sqlite import database, landmark, notes, reads, repair, report

LOW_SPACE_BYTES = 1 << 30
ENGINE_SECONDS = 20.0
"""How long an engine may take to tell what it has."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


class Finding(Struct, frozen=True):
    """One thing that was checked, and the result."""

    level: Level
    text: str


def examine(directory: Path, app_images: Path | None = None) -> Iterator[Finding]:
    """All findings, one by one; an unreadable database ends them. `app_images` is the directory of their files."""
    yield _space(directory)
    yield _shim(directory)
    yield from (Finding(Level.PROBLEM, sentence) for sentence in formats.newer(directory))
    file = directory / "jobs.db"
    if not file.exists():
        lost = landmark.file_of(file).exists()
        text = "it was removed: there were jobs" if lost else "no server has ever worked in this directory"
        yield Finding(Level.PROBLEM, f"there is no {file}: {text}")
        return
    try:
        known = landmark.read(landmark.file_of(file))  # before the database, which is never behind it
    except (OSError, ValueError) as error:
        known = None
        yield Finding(Level.PROBLEM, f"{landmark.file_of(file)} cannot be read: {error}")
    try:
        with closing(database.read_only(file)) as connection:
            connection.execute("BEGIN")  # everything is read from one moment
            version = yield from _schema(connection)
            yield from _integrity(connection)
            if not version and known is not None:
                had = f"revision {known.revision} and {known.jobs} jobs"
                yield Finding(Level.PROBLEM, f"lost: the database is empty, it had {had}")
            if version != len(database.migrations()):
                yield Finding(Level.NOTE, "jobs: not looked at, this program reads them in its own schema only")
                return
            yield Finding(Level.OK, f"store: {reads.identity(connection)}")
            yield from _losses(connection, known)
            yield from _damage(connection)
            yield from _revisions(connection)
            yield from _strays(connection, directory / "runs")
            yield from _app_images(connection, app_images or directory / "appimages")
            yield from _unfinished(connection)
    except sqlite3.Error as error:
        yield Finding(
            Level.PROBLEM,
            f"{file} cannot be read: {error}. Restore a copy, or save what can be read: `sqlite3 {file.name} .recover`",
        )


async def examine_engine(directory: Path, engine: Engine) -> list[Finding]:
    """What the engine has of this directory's store: jobs that are not stored any more have left something there."""
    file = directory / "jobs.db"
    try:
        with closing(database.read_only(file)) as connection:
            await engine.open(reads.identity(connection), lambda _: None)
            async with asyncio.timeout(ENGINE_SECONDS):
                await engine.seen_all()
                numbers = set(await engine.owned())
            strays = sorted(reads.missing(connection, numbers))
    except (TimeoutError, EngineUnavailable) as error:
        text = str(error) or f"no answer within {ENGINE_SECONDS:g} s"
        return [Finding(Level.PROBLEM, f"engine: it cannot be asked, parties neither start nor end: {text}")]
    except sqlite3.Error:
        return []  # told already
    finally:
        await engine.close()
    found = [
        Finding(Level.NOTE, f"engine: it has something of job number {number}, which is deleted: a server removes it")
        for number in strays
    ]
    return [*found, Finding(Level.OK, f"engine: it answers, and runs or keeps something of {len(numbers)} jobs")]


def set_damage_aside(directory: Path) -> Iterator[Finding]:
    """Move damaged rows aside (see store.sqlite.repair); nothing of them is lost. No server may work here."""
    file = directory / "jobs.db"
    if not file.exists():
        return
    try:
        with closing(database.connect(file)) as connection:
            database.migrate(connection, database.migrations())
            for text in repair.set_aside(connection, now=time.time()):
                yield Finding(Level.NOTE, text)
            known = landmark.Landmark(reads.identity(connection), reads.head(connection), reads.size(connection))
            landmark.write(landmark.file_of(file), known)
    except (sqlite3.Error, database.NewerSchema, OSError) as error:
        yield Finding(Level.PROBLEM, f"{file} cannot be repaired: {error}")


def _space(directory: Path) -> Finding:
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return Finding(Level.PROBLEM, f"{directory} cannot be read: {error.strerror}")
    level = Level.PROBLEM if free < LOW_SPACE_BYTES else Level.OK
    return Finding(level, f"disk: {free >> 20} MiB free, {LOW_SPACE_BYTES >> 20} MiB should be")


def _shim(directory: Path) -> Finding:
    try:
        hello = ask_shim(directory)
    except (TimeoutError, MsgspecError):
        text = "shim: it does not answer, parties neither start nor end; a running server replaces it soon"
        return Finding(Level.PROBLEM, text)
    if hello is None:
        return Finding(Level.OK, "shim: none runs, and no program of a party")
    return Finding(Level.OK, f"shim: process {hello.pid} answers, a party is kept together by {hello.containment}")


def _schema(connection: sqlite3.Connection) -> Generator[Finding, None, int]:
    """Returns its version."""
    version = report.schema_version(connection)
    known = len(database.migrations())
    if version > known:
        yield Finding(Level.PROBLEM, f"schema: version {version} is newer than this program, which knows {known}")
    elif version < known:
        yield Finding(Level.NOTE, f"schema: version {version}, the next start of a server makes it {known}")
    else:
        yield Finding(Level.OK, f"schema: version {version}")
    return version


def _integrity(connection: sqlite3.Connection) -> Iterator[Finding]:
    complaints = report.complaints(connection)
    yield from (Finding(Level.PROBLEM, f"database: {complaint}") for complaint in complaints)
    if not complaints:
        yield Finding(Level.OK, "database: sound")


def _losses(connection: sqlite3.Connection, known: landmark.Landmark | None) -> Iterator[Finding]:
    """What was found missing at starts, and what is missing now."""
    for found_at, text in report.past_losses(connection):
        day = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found_at))
        yield Finding(Level.NOTE, f"lost: at the start of {day}: {text}")
    if known is not None and (loss := landmark.find_loss(connection, known)):
        yield Finding(Level.PROBLEM, f"lost: {loss.text}")


def _damage(connection: sqlite3.Connection) -> Iterator[Finding]:
    count = 0
    for found in repair.find(connection):
        count += 1
        yield Finding(Level.PROBLEM, f"damaged: {found.damage}")
    if kept := report.rows_set_aside(connection):
        yield Finding(Level.NOTE, f"damaged: {kept} rows were set aside earlier, they are in the table `damaged`")
    if count:
        yield Finding(Level.NOTE, "damaged: with the server stopped, `kusciajob doctor --repair` sets them aside")
    else:
        yield Finding(Level.OK, "rows: all can be read")


def _revisions(connection: sqlite3.Connection) -> Iterator[Finding]:
    first, last, events, missing, ahead = report.log_extent(connection)
    if missing:
        yield Finding(Level.PROBLEM, f"log: {missing} revisions are missing from {first} to {last}")
    else:
        yield Finding(Level.OK, f"log: {events} events" + (f", revisions {first} to {last}" if events else ""))
    if ahead:
        yield Finding(Level.PROBLEM, f"log: {ahead} jobs have changed later than its last revision, {last}")


def _strays(connection: sqlite3.Connection, runs: Path) -> Iterator[Finding]:
    entries = sorted(runs.iterdir()) if runs.is_dir() else []
    numbers = {int(entry.name) for entry in entries if entry.name.isdecimal()}
    strays = sorted(reads.missing(connection, numbers))
    for number in strays:
        text = f"runs/{number}: its job is deleted; waits for removal, which a server tries until it succeeds"
        yield Finding(Level.NOTE, text)
    for entry in entries:
        if not entry.name.isdecimal():
            yield Finding(Level.PROBLEM, f"runs/{entry.name}: not the server's; it stays until somebody removes it")
    yield Finding(Level.OK, f"runs: directories of {len(numbers) - len(strays)} jobs")


def _app_images(connection: sqlite3.Connection, directory: Path) -> Iterator[Finding]:
    catalog = AppImageCatalog(directory)
    catalog.restore(notes.app_images(connection))
    for name, reason in catalog.unusable.items():
        text = f"AppImage {shown(name)} cannot be used: {reason}; update or delete it through the API"
        yield Finding(Level.PROBLEM, text)
    for name, files in catalog.hidden.items():
        text = f"AppImage {shown(name)} was created through the API and is hidden: {files} declares that name"
        yield Finding(Level.NOTE, text)
    yield Finding(Level.OK, f"AppImages: {len(catalog.names())}, created through the API: {len(catalog.created)}")


def _unfinished(connection: sqlite3.Connection) -> Iterator[Finding]:
    jobs = reads.unfinished(connection)
    yield Finding(Level.OK, f"jobs: {reads.size(connection)}, unfinished: {len(jobs)}")
    holders: dict[str, str] = {}
    for job in jobs:
        yield from _waiting(job)
        for index, task in enumerate(job.status.tasks):
            for party in (party for party in task.parties if party.state in ACTIVE):
                place = f"job {job.job_id}, task {task.alias} ({index}), party {party.domain_id}"
                for endpoint in party.endpoints:
                    if endpoint.address in holders:
                        text = f"ports: {endpoint.address} belongs to two: {holders[endpoint.address]}; {place}"
                        yield Finding(Level.PROBLEM, text)
                    holders[endpoint.address] = place
    yield Finding(Level.OK, f"ports: {len(holders)} in use by parties")


def _waiting(job: Job) -> Iterator[Finding]:
    tasks = [task for task in job.status.tasks if task.state in (TaskState.PENDING, TaskState.STARTING)]
    if any(task.state is TaskState.RUNNING for task in job.status.tasks):
        return
    for task in tasks:
        reason = task.message or "no reason is known (its server may be about to start it, or is stopped)"
        yield Finding(Level.NOTE, f"job {job.job_id} is {job.status.state}, task {task.alias}: {reason}")
