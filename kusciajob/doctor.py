"""Examines a data directory, with its server running or not. It writes nothing."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path

from msgspec import MsgspecError, Struct

from kusciajob.model.errors import InvalidJob
from kusciajob.model.status import ACTIVE, Job, TaskState
from kusciajob.runtime.shim_probe import ask_shim
from kusciajob.store import database, sql

LOW_SPACE_BYTES = 1 << 30


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


class Finding(Struct, frozen=True):
    """One thing that was looked at, and what was found."""

    level: Level
    text: str


def examine(directory: Path) -> Iterator[Finding]:
    """All findings, one by one; an unreadable database ends them."""
    yield _space(directory)
    yield _shim(directory)
    file = directory / "jobs.db"
    if not file.exists():
        yield Finding(Level.PROBLEM, f"there is no {file}: no server has ever worked in this directory")
        return
    try:
        with closing(database.read_only(file)) as connection:
            connection.execute("BEGIN")  # everything is read from one moment
            yield from _schema(connection)
            yield from _integrity(connection)
            yield from _revisions(connection)
            yield from _strays(connection, directory / "runs")
            yield from _unfinished(connection)
    except (sqlite3.Error, MsgspecError, InvalidJob) as error:
        yield Finding(Level.PROBLEM, f"{file} cannot be read: {error}")


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


def _schema(connection: sqlite3.Connection) -> Iterator[Finding]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    known = len(database.migrations())
    if version > known:
        yield Finding(Level.PROBLEM, f"schema: version {version} is newer than this program, which knows {known}")
    elif version < known:
        yield Finding(Level.NOTE, f"schema: version {version}, the next start of a server makes it {known}")
    else:
        yield Finding(Level.OK, f"schema: version {version}")


def _integrity(connection: sqlite3.Connection) -> Iterator[Finding]:
    answers = [row[0] for row in connection.execute("PRAGMA quick_check(10)")]
    if answers == ["ok"]:
        yield Finding(Level.OK, "database: sound")
    else:
        yield from (Finding(Level.PROBLEM, f"database: {answer}") for answer in answers)


def _revisions(connection: sqlite3.Connection) -> Iterator[Finding]:
    first, last, count = connection.execute("SELECT min(revision), max(revision), count(*) FROM log").fetchone()
    if count and last - first + 1 != count:
        yield Finding(Level.PROBLEM, f"log: {last - first + 1 - count} revisions are missing from {first} to {last}")
    else:
        yield Finding(Level.OK, f"log: {count} events" + (f", revisions {first} to {last}" if count else ""))
    (ahead,) = connection.execute("SELECT count(*) FROM job WHERE revision > ?", (last or 0,)).fetchone()
    if ahead:
        yield Finding(Level.PROBLEM, f"log: {ahead} jobs have changed later than its last revision, {last}")
    (lost,) = connection.execute(
        "SELECT (SELECT count(*) FROM job WHERE number NOT IN (SELECT number FROM spec))"
        " + (SELECT count(*) FROM spec WHERE number NOT IN (SELECT number FROM job))"
        " + (SELECT count(*) FROM task WHERE number NOT IN (SELECT number FROM job))"
    ).fetchone()
    if lost:
        yield Finding(Level.PROBLEM, f"jobs: {lost} rows of job, spec and task do not belong together")


def _strays(connection: sqlite3.Connection, runs: Path) -> Iterator[Finding]:
    entries = sorted(runs.iterdir()) if runs.is_dir() else []
    numbers = {int(entry.name) for entry in entries if entry.name.isdecimal()}
    strays = sorted(sql.missing(connection, numbers))
    for number in strays:
        text = f"runs/{number}: its job is deleted; waits for removal, which a server tries until it succeeds"
        yield Finding(Level.NOTE, text)
    for entry in entries:
        if not entry.name.isdecimal():
            yield Finding(Level.PROBLEM, f"runs/{entry.name}: not the server's; it stays until somebody removes it")
    yield Finding(Level.OK, f"runs: directories of {len(numbers) - len(strays)} jobs")


def _unfinished(connection: sqlite3.Connection) -> Iterator[Finding]:
    jobs = sql.unfinished(connection)
    yield Finding(Level.OK, f"jobs: {sql.size(connection)}, unfinished: {len(jobs)}")
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
