"""The server dies before or after each commit of a job; another one finishes it, and nothing runs or counts twice."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from kusciajob.model.history import HistoryEvent
from kusciajob.model.status import JobState
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.crashing_server import CRASHED, JOB_ID
from tests.support.database import read_checked
from tests.support.images import write_image
from tests.support.server import clean_environment

pytestmark = pytest.mark.hostile

AT_ONCE = 3
FEWEST_COMMITS = 6
MARK = 'pwd >> "$KUSCIAJOB_DOMAIN_DIR/runs"; case "$PWD" in */0.1/*) exit 3;; esac'
"""Each run leaves a line. The first attempt of the first task fails."""


async def test_a_job_whose_server_dies_around_any_commit_is_finished_and_runs_once(tmp_path: Path) -> None:
    exit_code, commits = await run_crashing(tmp_path / "whole", when="never", at=0)
    assert exit_code == 0
    assert commits >= FEWEST_COMMITS
    turns = asyncio.Semaphore(AT_ONCE)

    async def crash_and_finish(when: str, at: int) -> bool:
        directory = tmp_path / f"{when}-{at}"
        async with turns:
            exit_code, _ = await run_crashing(directory, when=when, at=at)
            assert exit_code in (0, CRASHED)
            await finish(directory)
        return exit_code == CRASHED

    cases = [(when, at) for at in range(1, commits + 1) for when in ("before", "after")]
    crashing = [asyncio.create_task(crash_and_finish(when, at)) for when, at in cases]
    # Each comes to its end: asyncio may wait for ever for a subprocess whose start is cancelled.
    await asyncio.wait(crashing)
    # How many reports share a commit differs from run to run, so that one may have had fewer.
    assert sum(each.result() for each in crashing) >= 2 * FEWEST_COMMITS


async def run_crashing(directory: Path, *, when: str, at: int) -> tuple[int, int]:
    """The exit code and, from one that ended in order, the number of commits."""
    write_image(directory / "images", "mark", ["sh", "-c", MARK], ports=["main"])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.crashing_server", str(directory), when, str(at)),
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, int(output or 0)


async def finish(directory: Path) -> None:
    """Start again, with the same request, and look at what has happened in the end."""
    exit_code, _ = await run_crashing(directory, when="never", at=0)
    assert exit_code == 0
    records = read_checked(directory / "data" / "jobs.db")
    (stored,) = records.jobs.values()
    assert stored.status.state is JobState.SUCCEEDED, stored.status.message
    runs = directory / "data" / "runs"
    marks = Counter(
        "/".join(Path(line).relative_to(runs).parts[:3])
        for domain in ("alice", "bob")
        for line in (directory / "domains" / domain / "runs").read_text().splitlines()
    )
    # Of the attempt that fails, the party that fails later is stopped, maybe before its line is written.
    assert set(marks.values()) == {1}
    assert records.succeeded_runs() == {run for run in marks if "/0.1/" not in run}
    assert len(records.succeeded_runs()) == 4
    await check_attempts(directory / "data" / "jobs.db")


async def check_attempts(database: Path) -> None:
    store = await SqliteStore.open(database)
    number = (await store.get(JOB_ID)).number
    attempts = [(each.task, each.number, each.state.value) for each in await store.attempts(number)]
    history = [entry for _, entry in await store.history(number, after=0, limit=1000)]
    await store.close()
    assert attempts == [(0, 1, "Failed"), (0, 2, "Succeeded"), (1, 1, "Succeeded")]
    starts = Counter((entry.alias, entry.attempt) for entry in history if entry.event is HistoryEvent.TASK_STARTED)
    # The attempt that fails may do so before its other party has started, and with that the task.
    assert starts | Counter([("first", 1)]) == Counter([("first", 1), ("first", 2), ("second", 1)])
    counts = Counter(entry.event.value for entry in history)
    once = ("created", "task_retried", "started", "ended")
    assert {event: counts[event] for event in once} == dict.fromkeys(once, 1)
