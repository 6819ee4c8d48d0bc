"""WatchJob: deliveries to many streams, how late they come, and what an idle stream costs.

Fan-out is measured without what makes the events: the streams' HTTP/2 windows are closed while jobs are created, then
opened, and the events that have gathered are delivered as fast as the server can. The bare handler is treated alike.
What gRPC buffers before the window opens (64 KiB a stream) is left out of the count.
"""

import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, process_time

from msgspec import Struct

from benchmarks import jobs
from benchmarks.h2 import LoadError, Watchers, call_all
from benchmarks.harness import (
    Effort,
    Rate,
    Result,
    alternate,
    at_most,
    compare,
    percentile,
    ratio_at_least,
    single,
)
from benchmarks.jobs import CREATE, WATCH, JobMessages
from benchmarks.servers import ServerProcess, floor, kusciajob
from tests.support.http2 import MESSAGE_PREFIX_BYTES, PATIENCE_SECONDS, Connection

STREAMS_PER_CONNECTION = 100
BARE_STREAM, BARE_BURST, BARE_REPLY = "/bare/Stream", "/bare/Burst", b"started"
BUFFERED_BYTES = 64 * 1024
QUIET_SECONDS = 0.3
LATENCY_STREAMS = 100
EVENTS_PER_SECOND = 50
LATENCY_SECONDS = 5
IDLE_STREAMS = 1000
MAX_IDLE_ROUNDS = 3


class _Burst(Struct, frozen=True):
    """Events that gather, and how often in a round; no more than the server keeps in memory for its streams."""

    events: int
    times: int = 1


BURSTS = {1: _Burst(1000, times=3), 100: _Burst(500), 1000: _Burst(140)}


def fan_out(effort: Effort, directory: Path) -> Iterator[Result]:
    """Deliveries to 1, 100 and 1,000 streams."""
    for streams, burst in BURSTS.items():
        yield _fan_out(effort, directory / str(streams), streams, burst)


def latency(effort: Effort, directory: Path) -> Iterator[Result]:
    """From sending CreateJob, which is a commit and more, to receipt of its event by each of 100 streams."""
    with _fans(directory, LATENCY_STREAMS) as (base, ours):
        pairs = alternate(effort.rounds, lambda: _p99_ms(base), lambda: _p99_ms(ours))
    yield single(
        f"WatchJob, create to receipt, {LATENCY_STREAMS} streams, {EVENTS_PER_SECOND} events/s, p99",
        "ms",
        at_most(10.0),
        [mine.value for _, mine in pairs],
        floor=percentile([bare.value for bare, _ in pairs], 50),
    )


def idle(effort: Effort, directory: Path) -> Iterator[Result]:
    """Server memory of streams that wait, above that of a handler that only waits."""
    values, floors = [], []
    for number in range(min(effort.rounds, MAX_IDLE_ROUNDS)):
        place = directory / str(number)
        with kusciajob(place, runtime="simulated", http_port=-1) as ours:
            mine = _kilobytes_per_stream(ours, WATCH)
            with floor("stream", place, like=ours) as base:
                bare = _kilobytes_per_stream(base, BARE_STREAM)
        values.append(mine - bare)
        floors.append(bare)
    yield single(
        f"Memory per idle watch stream of {IDLE_STREAMS:,}, above the bare handler's",
        "kB",
        at_most(40.0),
        values,
        floor=percentile(floors, 50),
    )


class _Fan(Struct, frozen=True):
    """Open streams, and the calls that make one event for each of them, always as long."""

    server: ServerProcess
    watchers: Watchers
    streams: int
    event: bytes
    path: str
    take: Callable[[int], list[bytes]]
    """So many messages for `path`, each of which makes an event."""
    reply_bytes: int


class _Deliveries(Struct, frozen=True):
    count: float
    seconds: float
    busy_seconds: float


@contextmanager
def _fans(directory: Path, streams: int) -> Iterator[tuple[_Fan, _Fan]]:
    """The bare one and that of a server whose jobs all wait, so that each makes one event."""
    with ExitStack() as stack:
        ours = stack.enter_context(kusciajob(directory, runtime="simulated", require_approval=True, http_port=-1))
        messages = JobMessages(jobs.make_job())
        watchers = Watchers(ours.address, WATCH, streams=streams, connections=_connections(streams))
        stack.callback(watchers.close)
        watchers.drain(QUIET_SECONDS)
        reply = jobs.create_one(ours.address, messages.take(1)[0])
        event = _first_event(watchers)
        base = stack.enter_context(floor("stream", directory, like=ours, reply=event))
        waiting = Watchers(base.address, BARE_STREAM, streams=streams, connections=_connections(streams))
        stack.callback(waiting.close)
        waiting.drain(QUIET_SECONDS)
        yield (
            _Fan(base, waiting, streams, event, BARE_BURST, lambda count: [b"1"] * count, len(BARE_REPLY)),
            _Fan(ours, watchers, streams, event, CREATE, messages.take, len(reply)),
        )


def _first_event(watchers: Watchers) -> bytes:
    """What the first stream receives, once all have received theirs."""
    received = b""
    stream = None
    while found := watchers.receive(QUIET_SECONDS):
        for connection, pieces in found:
            for piece in pieces:
                if connection is watchers.connections[0] and stream in (None, piece.stream):
                    stream = piece.stream
                    received += piece.data
    return received[MESSAGE_PREFIX_BYTES:]


def _fan_out(effort: Effort, directory: Path, streams: int, burst: _Burst) -> Result:
    with _fans(directory, streams) as (base, ours):

        def rate(fan: _Fan) -> Rate:
            found = [_deliver(fan, burst.events) for _ in range(burst.times)]
            seconds = sum(each.seconds for each in found)
            busy = sum(each.busy_seconds for each in found) / seconds
            return Rate(sum(each.count for each in found) / seconds, busy)

        pairs = alternate(effort.rounds, lambda: rate(base), lambda: rate(ours))
    name = f"WatchJob fan-out to {streams:,} stream{'s' if streams > 1 else ''}"
    return compare(name, "deliveries/s", ratio_at_least(0.90), pairs)


def _deliver(fan: _Fan, events: int) -> _Deliveries:
    """Let events gather, open the windows; the deliveries from when the buffers must be empty to the last byte."""
    size = len(fan.event) + MESSAGE_PREFIX_BYTES
    total = events * size * fan.streams
    buffered = (BUFFERED_BYTES // size + 2) * size * fan.streams
    assert buffered < total, f"{events} events are buffered before they could be delivered"
    for connection in fan.watchers.connections:
        connection.close_window()
    fan.watchers.drain(QUIET_SECONDS)
    call_all(fan.server.address, fan.path, fan.take(events), in_flight=64, reply_bytes=fan.reply_bytes)
    fan.server.settle()
    for connection in fan.watchers.connections:
        connection.open_window()
    received = first = 0
    start, start_cpu = perf_counter(), process_time()
    while received < total:
        received += sum(len(piece.data) for _, pieces in fan.watchers.receive() for piece in pieces)
        if not first and received >= buffered:
            first, start, start_cpu = received, perf_counter(), process_time()
    assert received == total, f"{received - total} bytes more than the events have"
    return _Deliveries((received - first) / size, perf_counter() - start, process_time() - start_cpu)


def _p99_ms(fan: _Fan) -> Rate:
    """Make events at a steady pace; of all streams' waiting times."""
    size = len(fan.event) + MESSAGE_PREFIX_BYTES
    todo = fan.take(EVENTS_PER_SECOND * LATENCY_SECONDS)
    sent_at: list[float] = []
    received: dict[tuple[int, int], int] = {}
    seconds: list[float] = []
    calling = Connection(fan.server.address, fan.path)
    poll = select.poll()
    for connection in (calling, *fan.watchers.connections):
        poll.register(connection.fileno(), select.POLLIN)
    start = perf_counter()
    while len(seconds) < len(todo) * fan.streams:
        due = start + len(sent_at) / EVENTS_PER_SECOND
        is_more = len(sent_at) < len(todo)
        if is_more and perf_counter() >= due:
            sent_at.append(perf_counter())
            calling.call([todo[len(sent_at) - 1]])
            continue
        wait_seconds = max(0.0, due - perf_counter()) if is_more else PATIENCE_SECONDS
        ready = {fd for fd, _ in poll.poll(wait_seconds * 1000)}
        if not ready and not is_more:
            raise LoadError(f"{len(todo) * fan.streams - len(seconds)} deliveries are missing")
        if calling.fileno() in ready:
            calling.receive()
        for connection in fan.watchers.connections:
            if connection.fileno() not in ready:
                continue
            pieces, now = connection.receive(), perf_counter()
            for piece in pieces:
                key = connection.fileno(), piece.stream
                before = received.get(key, 0)
                received[key] = before + len(piece.data)
                seconds += (now - sent_at[event] for event in range(before // size, received[key] // size))
    calling.close()
    return Rate(percentile(seconds, 99) * 1e3)


def _kilobytes_per_stream(server: ServerProcess, path: str) -> float:
    def open_streams(count: int) -> Watchers:
        connections = _connections(IDLE_STREAMS)
        watchers = Watchers(server.address, path, streams=count, connections=connections)
        watchers.drain(QUIET_SECONDS)
        server.settle()
        return watchers

    few = open_streams(_connections(IDLE_STREAMS))  # connections have a price of their own
    before = server.rss_bytes()
    many = open_streams(IDLE_STREAMS)
    per_stream = (server.rss_bytes() - before) / IDLE_STREAMS / 1e3
    few.close()
    many.close()
    return per_stream


def _connections(streams: int) -> int:
    return max(1, streams // STREAMS_PER_CONNECTION)


BENCHMARKS = (fan_out, latency, idle)
