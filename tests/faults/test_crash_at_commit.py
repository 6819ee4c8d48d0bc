"""The server dies before or after each commit of a job; another one finishes it, and nothing runs twice."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from kusciajob.model.status import JobState
from tests.support.crashing_server import CRASHED
from tests.support.database import read_checked
from tests.support.images import write_image
from tests.support.server import clean_environment

pytestmark = pytest.mark.hostile

AT_ONCE = 3
FEWEST_COMMITS = 6


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
    crashes = await asyncio.gather(*(crash_and_finish(when, at) for when, at in cases))
    # How many reports share a commit differs from run to run, so that one may have had fewer.
    assert sum(crashes) >= 2 * FEWEST_COMMITS


async def run_crashing(directory: Path, *, when: str, at: int) -> tuple[int, int]:
    """The exit code and, from one that ended in order, the number of commits."""
    write_image(directory / "images", "mark", ["sh", "-c", 'pwd >> "$KUSCIAJOB_DOMAIN_DIR/runs"'], ports=["main"])
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
    assert marks == dict.fromkeys(records.succeeded_runs(), 1)
    assert len(marks) == 4
