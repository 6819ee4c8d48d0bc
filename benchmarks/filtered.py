"""WatchJobs with filters: deliveries to streams that want every event, and what streams that want none cost."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter, process_time

from msgspec import Struct

from benchmarks import jobs
from benchmarks.h2 import Watchers, call_all
from benchmarks.harness import Effort, Rate, Result, alternate, at_most, compare, ratio_at_least, single
from benchmarks.jobs import CREATE, WATCH, JobMessages
from benchmarks.servers import ServerProcess, kusciajob
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb

WATCH_JOBS = "/kusciajob.v1.JobsService/WatchJobs"
STREAMS_PER_CONNECTION = 100
QUIET_SECONDS = 0.3
SETTLING_SECONDS = 5.0
FAN_OUT_STREAMS = 1000
FAN_OUT_EVENTS = 140
UNINTERESTED_STREAMS = 10_000
EVENTS = 500


class _Fan(Struct):
    """A server with FAN_OUT_STREAMS streams that are told of every job, by so many bytes together."""

    server: ServerProcess
    messages: JobMessages
    watchers: Watchers
    event_bytes: int
    reply_bytes: int


def filtered_fan_out(effort: Effort, directory: Path) -> Iterator[Result]:
    """Deliveries to 1,000 streams with a filter that every event passes, against as many of WatchJob."""
    every = pb.WatchJobsRequest(initiator=jobs.DOMAINS[0], states=["AwaitingApproval"]).SerializeToString()
    with _fan(directory / "plain", WATCH, b"") as plain, _fan(directory / "filtered", WATCH_JOBS, every) as filtered:
        pairs = alternate(effort.rounds, lambda: _deliveries(plain), lambda: _deliveries(filtered))
    name = f"WatchJobs fan-out to {FAN_OUT_STREAMS:,} filtered streams, against WatchJob"
    yield compare(name, "deliveries/s", ratio_at_least(0.5), pairs)


def uninterested(effort: Effort, directory: Path) -> Iterator[Result]:
    """The server's CPU time for an event, with 10,000 streams that do not want it and without them.

    Bookmarks for the time that passes are no part of it, those for the events are.
    """
    with _server(directory) as server:
        messages = JobMessages(jobs.make_job())
        alone = _cpu_per_event(server, messages)
        requests = [
            pb.WatchJobsRequest(initiator=f"nobody-{number}").SerializeToString()
            for number in range(UNINTERESTED_STREAMS)
        ]
        watchers = _open(server, WATCH_JOBS, requests)
        beside = _cpu_per_event(server, messages, watchers)
        watchers.close()
    yield single(
        f"WatchJobs, an event for each of {UNINTERESTED_STREAMS:,} streams that do not want it",
        "µs",
        at_most(1.0),
        [max(0.0, beside - alone) * 1e6 / UNINTERESTED_STREAMS],
        floor=alone * 1e6,
    )


def _server(directory: Path) -> AbstractContextManager[ServerProcess]:
    return kusciajob(
        directory,
        runtime="simulated",
        require_approval=True,
        http_port=-1,
        max_watch_streams=0,
        max_streams_per_peer=0,
    )


def _open(server: ServerProcess, path: str, requests: list[bytes]) -> Watchers:
    watchers = Watchers(
        server.address,
        path,
        streams=len(requests),
        connections=len(requests) // STREAMS_PER_CONNECTION,
        requests=requests,
    )
    watchers.drain(QUIET_SECONDS, SETTLING_SECONDS)
    return watchers


@contextmanager
def _fan(directory: Path, path: str, request: bytes) -> Iterator[_Fan]:
    directory.mkdir()
    with _server(directory) as server:
        messages = JobMessages(jobs.make_job())
        watchers = _open(server, path, [request] * FAN_OUT_STREAMS)
        taken: list[int] = []
        for _ in range(3):
            reply = len(jobs.create_one(server.address, messages.take(1)[0]))
            taken.append(watchers.drain(QUIET_SECONDS))
        # The least: bookmarks come beside, each of them every ten seconds.
        yield _Fan(server, messages, watchers, min(taken), reply)
        watchers.close()


def _deliveries(fan: _Fan) -> Rate:
    """Create jobs while no stream is read, then read them all; the time from the first read to the last byte."""
    for connection in fan.watchers.connections:
        connection.close_window()
    fan.watchers.drain(QUIET_SECONDS)
    todo = fan.messages.take(FAN_OUT_EVENTS)
    call_all(fan.server.address, CREATE, todo, in_flight=64, reply_bytes=fan.reply_bytes)
    time.sleep(QUIET_SECONDS)
    start, start_cpu, received = perf_counter(), process_time(), 0
    for connection in fan.watchers.connections:
        connection.open_window()
    # What a revision takes can grow by a byte meanwhile, and bookmarks come beside.
    while received < fan.event_bytes * FAN_OUT_EVENTS:
        received += sum(len(piece.data) for _, pieces in fan.watchers.receive() for piece in pieces)
    seconds, busy = perf_counter() - start, process_time() - start_cpu
    fan.watchers.drain(QUIET_SECONDS)
    return Rate(FAN_OUT_EVENTS * FAN_OUT_STREAMS / seconds, busy / seconds)


def _cpu_per_event(server: ServerProcess, messages: JobMessages, watchers: Watchers | None = None) -> float:
    """Seconds of CPU, above what it takes to do nothing for as long."""
    reply = len(jobs.create_one(server.address, messages.take(1)[0]))
    todo = messages.take(EVENTS)
    before, start = server.cpu_seconds(), perf_counter()
    call_all(server.address, CREATE, todo, in_flight=1, reply_bytes=reply)
    seconds, used = perf_counter() - start, server.cpu_seconds() - before
    _read(watchers, QUIET_SECONDS)
    before = server.cpu_seconds()
    _read(watchers, max(seconds, 5.0))
    idle = (server.cpu_seconds() - before) / max(seconds, 5.0)
    return (used - idle * seconds) / EVENTS


def _read(watchers: Watchers | None, seconds: float) -> None:
    """What comes in that time."""
    end = perf_counter() + seconds
    while (left := end - perf_counter()) > 0:
        if watchers is None:
            time.sleep(left)
        else:
            watchers.receive(left)


BENCHMARKS = (filtered_fan_out, uninterested)
