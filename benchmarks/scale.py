"""A store that is full of finished jobs, against an empty one. It is filled with copies of one real job."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks import jobs
from benchmarks.h2 import Watchers, call_all, call_once
from benchmarks.harness import Effort, Rate, Result, alternate, at_most, compare, ratio_at_least, single
from benchmarks.jobs import BATCH_QUERY, CREATE, QUERY, WATCH, JobMessages
from benchmarks.servers import ServerProcess, kusciajob
from tests.support import full_store

IN_FLIGHT = 64
PAGE_JOBS = 100
PAGE_ROUNDS = 20
STARTS = 3


def scale(effort: Effort, directory: Path) -> Iterator[Result]:
    """Create rate, first pages, memory and start-up with many jobs in the store."""
    count = effort.stored_jobs
    in_store = f"with {count:,} stored jobs"
    full, empty = directory / "full", directory / "empty"
    fill(full, count)
    yield single(f"Start-up {in_store}", "s", at_most(3.0), [_start_seconds(full) for _ in range(STARTS)])
    messages = JobMessages.large()
    with ExitStack() as stack:
        ours = stack.enter_context(_server(full))
        base = stack.enter_context(_server(empty))
        for name, ask in _first_pages(ours, count).items():
            values = [_seconds(ask) * 1e3 for _ in range(PAGE_ROUNDS)]
            yield single(f"First page {in_store}: {name}", "ms", at_most(20.0), values)
        yield single(f"RSS {in_store}", "MB", at_most(250.0), [ours.rss_bytes() / 1e6])
        pairs = alternate(
            effort.rounds, lambda: _create(base, messages, effort), lambda: _create(ours, messages, effort)
        )
        yield compare(f"CreateJob {in_store}, against none", "calls/s", ratio_at_least(0.9), pairs)


def stored_id(number: int) -> str:
    """The id of one of the copies, as long as any other benchmark's ids."""
    return f"store-{number:08d}"


def _server(directory: Path) -> AbstractContextManager[ServerProcess]:
    return kusciajob(directory, runtime="simulated", require_approval=True, http_port=-1)


def _create(server: ServerProcess, messages: JobMessages, effort: Effort) -> Rate:
    todo = messages.take(effort.calls)
    reply_bytes = len(jobs.create_one(server.address, messages.take(1)[0]))
    load = call_all(server.address, CREATE, todo, in_flight=IN_FLIGHT, reply_bytes=reply_bytes)
    return Rate(load.rate, load.busy)


def _first_pages(server: ServerProcess, count: int) -> dict[str, Callable[[], object]]:
    """What asks for one each; jobs are chosen at random, so that no cache knows them."""
    chosen = random.Random(5)  # noqa: S311  # always the same

    def some(number: int) -> list[str]:
        return [stored_id(chosen.randrange(1, count)) for _ in range(number)]

    def watch() -> None:
        watchers = Watchers(server.address, WATCH, streams=1, connections=1)
        while not any(piece.data for _, pieces in watchers.receive() for piece in pieces):
            pass
        watchers.close()

    return {
        "WatchJob, first event": watch,
        f"BatchQueryJobStatus of {PAGE_JOBS}": lambda: call_once(
            server.address, BATCH_QUERY, jobs.batch_message(some(PAGE_JOBS))
        ),
        "QueryJob": lambda: call_once(server.address, QUERY, jobs.query_message(some(1)[0])),
    }


def _start_seconds(directory: Path) -> float:
    start = time.perf_counter()
    with _server(directory):
        return time.perf_counter() - start


def fill(directory: Path, count: int) -> None:
    """A data directory as it is after so many jobs, of which the log remembers the last event."""
    with kusciajob(directory, runtime="simulated", http_port=-1) as server:
        job_ids = jobs.create(server.address, JobMessages(jobs.make_job()), 1)
        jobs.wait_succeeded(server.address, job_ids)
    full_store.fill(directory / "data" / "jobs.db", count, stored_id)


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


BENCHMARKS = (scale,)
