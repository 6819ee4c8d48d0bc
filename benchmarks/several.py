"""`python -m benchmarks.several`: one to three servers on one PostgreSQL beside a server on SQLite, in the same run.

Writes benchmarks/several.json. PostgreSQL, all servers and the load share this machine's cores: the figures say what a
commit costs, not how far it scales. Jobs wait for an approval, so that each create makes one event. PostgreSQL is the
tests', with fsync on.
"""

import argparse
import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks import jobs
from benchmarks.h2 import Watchers, call_all
from benchmarks.harness import percentile
from benchmarks.jobs import CREATE, WATCH, JobMessages
from benchmarks.report import DIRECTORY
from benchmarks.servers import ServerProcess, kusciajob
from tests.support.postgres import PostgresServer, programs

JSON_FILE = DIRECTORY / "several.json"
IN_FLIGHT = 64
QUIET_SECONDS = 0.5
OPENED_SECONDS = 3.0
LATENCY_CREATES = 300
LATENCY_PAUSE_SECONDS = 0.02
WATCHERS = 10_000
NO_LIMITS = (
    "max_watch_streams",
    "max_streams_per_peer",
    "max_streams_per_domain",
    "max_connections_per_peer",
    "max_calls_per_peer",
)
"""All streams come from one address."""
WATCHED_CREATES = 10
STREAMS_PER_CONNECTION = 100

T = TypeVar("T")


@contextmanager
def servers(directory: Path, url: str, count: int, **settings: object) -> Iterator[Sequence[ServerProcess]]:
    """So many on that database; without one, a server on SQLite."""
    cpus = sorted(os.sched_getaffinity(0))
    shared = {"runtime": "simulated", "require_approval": True, "http_port": -1, **settings}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                kusciajob(directory / str(number), cpus=cpus, **({"store": url} if url else {}), **shared)
            )
            for number in range(count)
        ]


def creates(found: Sequence[ServerProcess], messages: JobMessages, calls: int) -> tuple[float, float]:
    """Creates a second, and events a second received by one watcher of each server, with 64 in flight in all."""
    reply = jobs.create_one(found[0].address, messages.take(1)[0])
    watchers = [Watchers(server.address, WATCH, streams=1, connections=1) for server in found]
    for watcher in watchers:
        watcher.drain(QUIET_SECONDS)
    share = calls // len(found)
    began = time.perf_counter()
    with ThreadPoolExecutor(2 * len(found)) as pool:
        ends = [pool.submit(_until, watcher, share * len(found), len(reply)) for watcher in watchers]
        loads = [
            pool.submit(
                call_all,
                server.address,
                CREATE,
                messages.take(share),
                in_flight=IN_FLIGHT // len(found),
                reply_bytes=len(reply),
            )
            for server in found
        ]
        for load in loads:
            load.result()
        seconds = time.perf_counter() - began
        received = max(end.result() for end in ends) - began
    for watcher in watchers:
        watcher.close()
    return share * len(found) / seconds, share * len(found) * len(found) / received


def _until(watchers: Watchers, events: int, _reply_bytes: int) -> float:
    """When so many events have come."""
    seen = 0
    while seen < events:
        found = watchers.receive()
        if not found:
            raise TimeoutError(f"{seen} of {events} events have come")
        seen += sum(len(pieces) for _, pieces in found)
    return time.perf_counter()


def latencies(found: Sequence[ServerProcess], messages: JobMessages) -> list[float]:
    """Milliseconds from sending a create to one server to the receipt of its event from another one."""
    watcher = Watchers(found[-1].address, WATCH, streams=1, connections=1)
    watcher.drain(QUIET_SECONDS)
    times = []
    for message in messages.take(LATENCY_CREATES):
        began = time.perf_counter()
        creating = threading.Thread(target=jobs.create_one, args=(found[0].address, message))
        creating.start()
        _until(watcher, 1, 0)
        times.append((time.perf_counter() - began) * 1000)
        creating.join()
        time.sleep(LATENCY_PAUSE_SECONDS)
    watcher.close()
    return times


def many_watchers(found: Sequence[ServerProcess], messages: JobMessages) -> dict[str, float]:
    """All of 10,000 streams over three servers receive some events: deliveries a second, and memory a stream."""
    one = Watchers(found[0].address, WATCH, streams=1, connections=1)
    one.drain(QUIET_SECONDS)
    jobs.create_one(found[0].address, messages.take(1)[0])
    event_bytes = one.drain(QUIET_SECONDS)
    one.close()
    before = sum(server.rss_bytes() for server in found)
    share = WATCHERS // len(found)
    groups = [
        Watchers(server.address, WATCH, streams=share, connections=-(-share // STREAMS_PER_CONNECTION))
        for server in found
    ]
    with ThreadPoolExecutor(len(groups)) as pool:
        list(pool.map(lambda group: group.drain(OPENED_SECONDS), groups))  # the job that exists
        after = sum(server.rss_bytes() for server in found)
        began = time.perf_counter()
        ends = [pool.submit(_drain, group, event_bytes * share * WATCHED_CREATES) for group in groups]
        for message in messages.take(WATCHED_CREATES):
            jobs.create_one(found[0].address, message)
        seconds = max(end.result() for end in ends) - began
    for group in groups:
        group.close()
    streams = share * len(found)
    return {
        "streams": streams,
        "deliveries/s": streams * WATCHED_CREATES / seconds,
        "kB a stream": (after - before) / 1024 / streams,
    }


def _drain(watchers: Watchers, wanted: int) -> float:
    """When so many bytes of messages have come. TimeoutError."""
    taken = 0
    while taken < wanted:
        found = watchers.receive()
        if not found:
            raise TimeoutError(f"{taken} of {wanted} bytes have come")
        taken += sum(len(piece.data) for _, pieces in found for piece in pieces)
    return time.perf_counter()


def measured(rounds: int, measure: Callable[[], T]) -> list[T]:
    return [measure() for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=6_000, help="creates in a round")
    parser.add_argument("--no-watchers", action="store_true", help="leave out the 10,000 streams")
    arguments = parser.parse_args()
    binaries = programs()
    if binaries is None:
        parser.error("PostgreSQL is not installed: on Debian it is the package postgresql")
    postgres = PostgresServer(binaries, is_durable=True)
    results: dict[str, object] = {}
    messages = JobMessages(jobs.make_job())
    with tempfile.TemporaryDirectory(prefix="kusciajob-bench-") as place:
        for name, count in (("SQLite", 1), ("PostgreSQL", 1), ("PostgreSQL", 2), ("PostgreSQL", 3)):
            url = asyncio.run(postgres.new_database()) if name == "PostgreSQL" else ""
            with servers(Path(place) / f"{name}-{count}", url, count) as found:
                told = measured(arguments.rounds, lambda found=found: creates(found, messages, arguments.calls))  # type: ignore[misc]
                late = latencies(found, messages)
            results[f"{count} on {name}"] = {
                "creates/s": round(median([each for each, _ in told])),
                "events/s": round(median([each for _, each in told])),
                "create to receipt on the last server, p50 ms": round(percentile(late, 50), 1),
                "p99 ms": round(percentile(late, 99), 1),
            }
            print(f"{count} on {name}: {results[f'{count} on {name}']}", flush=True)
        if not arguments.no_watchers:
            url = asyncio.run(postgres.new_database())
            no_limits = dict.fromkeys(NO_LIMITS, 0)
            with servers(Path(place) / "watchers", url, 3, **no_limits) as found:
                results["10,000 watchers over 3"] = {
                    name: round(value, 1) for name, value in many_watchers(found, messages).items()
                }
            print(results["10,000 watchers over 3"], flush=True)
    JSON_FILE.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
