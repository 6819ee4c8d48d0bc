"""Calls: each against an empty handler that answers the same bytes.

Jobs that only wait are made by requiring an approval that nobody gives.
"""

import itertools
import json
import select
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from benchmarks import http1, jobs
from benchmarks.h2 import Load, LoadError, Watchers, call_all, call_once
from benchmarks.harness import Effort, Rate, Result, alternate, at_most, compare, ratio_at_least, single
from benchmarks.jobs import BATCH_QUERY, CREATE, QUERY, WATCH, JobMessages
from benchmarks.servers import ServerProcess, floor, kusciajob
from tests.support.http2 import PATIENCE_SECONDS, Connection, Messages

IN_FLIGHT = 64
ONE_IN_FLIGHT_SHARE = 5
RUN_SHARE = 4
BATCH_JOBS = 100
BATCH_SHARE = 8
HTTP_QUERY = "/api/v1/job/query"


def create(effort: Effort, directory: Path) -> Iterator[Result]:
    """CreateJob of 8 KB: durable when it is answered."""
    messages = JobMessages.large()
    with kusciajob(directory, runtime="simulated", require_approval=True, http_port=-1) as ours:
        reply = jobs.create_one(ours.address, messages.take(1)[0])

        def load(server: ServerProcess, *, calls: int, in_flight: int) -> Load:
            todo = messages.take(calls)
            return call_all(server.address, CREATE, todo, in_flight=in_flight, reply_bytes=len(reply))

        def rate(server: ServerProcess) -> Rate:
            return _rate(load(server, calls=effort.calls, in_flight=IN_FLIGHT))

        def median_ms(server: ServerProcess) -> Rate:
            found = load(server, calls=effort.calls // ONE_IN_FLIGHT_SHARE, in_flight=1)
            return Rate(median(found.latencies) * 1e3, found.busy)

        with floor("unary", directory, like=ours, reply=reply) as base:
            pairs = alternate(effort.rounds, lambda: rate(base), lambda: rate(ours))
            yield compare(f"CreateJob 8 KB, {IN_FLIGHT} in flight", "calls/s", ratio_at_least(0.75), pairs)
            pairs = alternate(effort.rounds, lambda: median_ms(base), lambda: median_ms(ours))
            yield single(
                "CreateJob 8 KB, one in flight, p50",
                "ms",
                at_most(1.0),
                [mine.value for _, mine in pairs],
                floor=median(bare.value for bare, _ in pairs),
            )


def run(effort: Effort, directory: Path) -> Iterator[Result]:
    """The same, and the jobs are run: on the simulated runtime to Succeeded, before a watcher's eyes."""
    messages = JobMessages.large()
    calls = effort.calls // RUN_SHARE
    with kusciajob(directory, runtime="simulated", http_port=-1) as ours:
        reply = jobs.create_one(ours.address, messages.take(1)[0])
        with floor("unary", directory, like=ours, reply=reply) as base:

            def rate() -> Rate:
                todo = messages.take(effort.calls)
                return _rate(call_all(base.address, CREATE, todo, in_flight=IN_FLIGHT, reply_bytes=len(reply)))

            watcher = Watchers(ours.address, WATCH, streams=1, connections=1)
            events = Messages()
            jobs_seen = _count_succeeded(watcher, events, 1)
            assert jobs_seen == 1, jobs_seen
            pairs = alternate(
                effort.rounds, rate, lambda: _run_jobs(ours.address, watcher, events, messages.take(calls))
            )
            watcher.close()
    yield compare("CreateJob and run to Succeeded, watched", "jobs/s", ratio_at_least(0.30), pairs)


def query(effort: Effort, directory: Path) -> Iterator[Result]:
    """QueryJob of finished jobs, over gRPC and as JSON over HTTP."""
    with kusciajob(directory, runtime="simulated") as ours:
        job_ids = jobs.create(ours.address, JobMessages.large(), IN_FLIGHT)
        jobs.wait_succeeded(ours.address, job_ids)
        cycle = itertools.cycle([jobs.query_message(job_id) for job_id in job_ids])
        reply = jobs.query(ours.address, job_ids[0])
        with floor("unary", directory, like=ours, reply=reply) as base:

            def rate(server: ServerProcess) -> Rate:
                todo = [next(cycle) for _ in range(effort.calls)]
                return _rate(call_all(server.address, QUERY, todo, in_flight=IN_FLIGHT, reply_bytes=len(reply)))

            pairs = alternate(effort.rounds, lambda: rate(base), lambda: rate(ours))
        yield compare(f"QueryJob, finished job, {IN_FLIGHT} in flight", "calls/s", ratio_at_least(0.80), pairs)
        yield _query_http(effort, directory, ours, job_ids[0])


def batch(effort: Effort, directory: Path) -> Iterator[Result]:
    """BatchQueryJobStatus."""
    with kusciajob(directory, runtime="simulated", http_port=-1) as ours:
        job_ids = jobs.create(ours.address, JobMessages.large(), BATCH_JOBS)
        jobs.wait_succeeded(ours.address, job_ids)
        message = jobs.batch_message(job_ids)
        reply = call_once(ours.address, BATCH_QUERY, message)
        with floor("unary", directory, like=ours, reply=reply) as base:

            def rate(server: ServerProcess) -> Rate:
                todo = [message] * (effort.calls // BATCH_SHARE)
                return _rate(call_all(server.address, BATCH_QUERY, todo, in_flight=IN_FLIGHT, reply_bytes=len(reply)))

            pairs = alternate(effort.rounds, lambda: rate(base), lambda: rate(ours))
    yield compare(f"BatchQueryJobStatus of {BATCH_JOBS} jobs", "calls/s", ratio_at_least(0.5), pairs)


def _query_http(effort: Effort, directory: Path, ours: ServerProcess, job_id: str) -> Result:
    body = json.dumps({"job_id": job_id}).encode()
    reply = http1.post_once(ours.http_address, HTTP_QUERY, body)
    with floor("http", directory, like=ours, reply=reply) as base:

        def rate(server: ServerProcess) -> Rate:
            found = http1.post_all(
                server.http_address,
                HTTP_QUERY,
                body,
                calls=effort.calls,
                in_flight=IN_FLIGHT,
                reply_bytes=len(reply),
            )
            return _rate(found)

        pairs = alternate(effort.rounds, lambda: rate(base), lambda: rate(ours))
    return compare("HTTP JSON query, finished job", "calls/s", ratio_at_least(0.5), pairs)


def _run_jobs(address: str, watcher: Watchers, events: Messages, todo: list[bytes]) -> Rate:
    """From the first request to the event of the last success. So many requests are in flight as there may be."""
    connection = Connection(address, CREATE)
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    poll.register(watcher.connections[0].fileno(), select.POLLIN)
    left = list(reversed(todo))
    succeeded = 0
    start, start_cpu = perf_counter(), process_time()
    connection.call([left.pop() for _ in range(min(IN_FLIGHT, len(left)))])
    while succeeded < len(todo):
        ready = poll.poll(PATIENCE_SECONDS * 1000)
        if not ready:
            raise LoadError(f"{succeeded} of {len(todo)} jobs have succeeded, then nothing happened")
        for fd, _ in ready:
            if fd == connection.fileno():
                answered = sum(piece.ended for piece in connection.receive())
                connection.call([left.pop() for _ in range(min(answered, len(left)))])
            else:
                succeeded += _succeeded_in(watcher, events)
    seconds = perf_counter() - start
    connection.close()
    return Rate(len(todo) / seconds, (process_time() - start_cpu) / seconds)


def _count_succeeded(watcher: Watchers, events: Messages, wanted: int) -> int:
    found = 0
    while found < wanted:
        found += _succeeded_in(watcher, events)
    return found


def _succeeded_in(watcher: Watchers, events: Messages) -> int:
    data = b"".join(piece.data for _, pieces in watcher.receive() for piece in pieces)
    return jobs.event_states(events.add(data)).count("Succeeded")


def _rate(load: Load) -> Rate:
    return Rate(load.rate, load.busy)


BENCHMARKS = (create, run, query, batch)
