"""What the kit for tests of applications costs them, on both cores, as their tests run."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import Effort, Result, at_most, single
from benchmarks.servers import LOAD_CPU, SERVER_CPU, on_cpus
from kusciajob.testing import JobServer

STARTS = 5
RESETS = 100
SUITE = """
import pytest
from kusciajob.client import JobFailed, JobSpec, Retry, Task

@pytest.mark.parametrize("number", range(200))
def test_a_job_of_hours_and_its_end_after_30_days(kuscia, kuscia_client, number):
    kuscia.task("train", party="bob").fails(code=3, message="no disk", after="5h").then.optional().succeeds(after="20h")
    task = Task("train", "app", ["alice", "bob"], retry=Retry(2) if number % 2 else None)
    running = kuscia_client.create(JobSpec(f"j{number}", "alice", [task]))
    if number % 2:
        running.result(timeout=60)
    else:
        with pytest.raises(JobFailed, match="no disk"):
            running.result(timeout=60)
    kuscia.clock.advance(days=31)
    assert list(kuscia_client.jobs()) == []
"""


def kit(effort: Effort, directory: Path) -> Iterator[Result]:
    """Starts of a server, resets against calls that change nothing, and a suite of tests that cover days each."""
    rounds = max(STARTS, effort.rounds)
    with on_cpus(SERVER_CPU, LOAD_CPU):
        yield single("Kit: start in process", "s", at_most(0.15), [_start(process=False) for _ in range(rounds)])
        yield single("Kit: start as a process", "s", at_most(0.6), [_start(process=True) for _ in range(rounds)])
        resets, calls = _resets()
        yield single("Kit: reset", "ms", at_most(5.0), resets, floor=median(calls))
        suite = [_suite(directory) for _ in range(effort.rounds)]
        yield single("Kit: 200 tests that cover 31 days each, pytest -n 2", "s", at_most(20.0), suite)


def _start(*, process: bool) -> float:
    server = JobServer(process=process)
    began = time.perf_counter()
    server.start()
    seconds = time.perf_counter() - began
    server.stop()
    return seconds


def _resets() -> tuple[list[float], list[float]]:
    """Milliseconds of resets, each after a test has left a rule, and of calls that ask for the time."""
    resets, calls = [], []
    with JobServer() as server:
        for _ in range(RESETS):
            server.kuscia.task("train").optional().succeeds(after="5h")
            began = time.perf_counter()
            server.kuscia.reset(clock="auto")
            resets.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            _ = server.kuscia.clock.now
            calls.append(1000 * (time.perf_counter() - began))
    return resets, calls


def _suite(directory: Path) -> float:
    """How long pytest takes for it, its own start included."""
    file = directory / "test_hours.py"
    file.write_text(SUITE)
    options = ["-m", "pytest", "-q", "-n", "2", "-p", "no:schemathesis", "-p", "kusciajob.pytest_plugin"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *options, file.name], cwd=directory, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stdout
    return seconds


BENCHMARKS = (kit,)
