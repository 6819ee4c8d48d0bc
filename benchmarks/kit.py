"""What the kit for tests of applications costs them."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Effort, Result, at_most, single
from kusciajob.client import JobSpec, Task
from kusciajob.testing import JobServer

STARTS = 5
TESTS = 50


def kit(effort: Effort, directory: Path) -> Iterator[Result]:
    """Starts of a server, and what each test takes: a reset, a job of hours, 31 days."""
    starts: dict[bool, list[float]] = {False: [], True: []}
    for process, seconds in starts.items():
        for _ in range(max(STARTS, effort.rounds)):
            server = JobServer(process=process)
            began = time.perf_counter()
            server.start()
            seconds.append(time.perf_counter() - began)
            server.stop()
    yield single("Kit: start in process", "s", at_most(0.15), starts[False])
    yield single("Kit: start as a process", "s", at_most(0.6), starts[True])
    resets, tests = [], []
    with JobServer() as server, server.client() as client:
        for number in range(TESTS):
            began = time.perf_counter()
            server.kuscia.reset(clock="auto")
            resets.append(1000 * (time.perf_counter() - began))
            server.kuscia.task("train").succeeds(after="5h")
            client.create(JobSpec(f"j{number}", "alice", [Task("train", "app", ["alice", "bob"])])).result(timeout=60)
            server.kuscia.clock.advance(days=31)
            tests.append(1000 * (time.perf_counter() - began))
    yield single("Kit: reset", "ms", at_most(5.0), resets)
    yield single("Kit: a test of a job of 5 hours and its end after 30 days", "ms", at_most(100.0), tests)


BENCHMARKS = (kit,)
