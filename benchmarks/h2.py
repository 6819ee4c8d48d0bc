"""A gRPC load generator: HTTP/2 frames that are put together before they are timed, over a plain socket.

CreateJob needs another job id in every call, which h2load cannot send, and a Python gRPC client costs as much as the
server that it should load. This one costs 10 to 20 µs a call and 2 µs a delivery, and sees every byte arrive.
"""

import select
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tests.support.http2 import (
    MESSAGE_PREFIX_BYTES,
    PATIENCE_SECONDS,
    Connection,
    ConnectionFailed,
    Piece,
)

LoadError = ConnectionFailed
"""The server did not answer as it should; a rate measured from that would mean nothing."""


class Load(Struct, frozen=True):
    """What a round of calls has shown."""

    calls: int
    seconds: float
    busy: float
    """The generator's share of its core, 0 to 1: near 1 it is the generator that was measured."""
    latencies: list[float]
    """Seconds from sending to the last byte, in the order of completion."""

    @property
    def rate(self) -> float:
        return self.calls / self.seconds


def call_all(address: str, path: str, messages: Iterable[bytes], *, in_flight: int, reply_bytes: int) -> Load:
    """Call once per message, so many at a time. LoadError unless every reply has exactly that many bytes."""
    todo = iter(messages)
    wanted = reply_bytes + MESSAGE_PREFIX_BYTES
    sent_at: dict[int, float] = {}
    received: dict[int, bytes] = {}
    latencies: list[float] = []
    connection = Connection(address, path)
    clock = time.perf_counter
    start, start_cpu = clock(), time.process_time()
    try:
        while True:
            batch = [message for _, message in zip(range(in_flight - len(sent_at)), todo, strict=False)]
            if batch:
                now = clock()
                for stream in connection.call(batch):
                    sent_at[stream] = now
            if not sent_at:
                break
            for piece in connection.receive():
                if piece.data:
                    received[piece.stream] = received.get(piece.stream, b"") + piece.data
                if piece.ended:
                    latencies.append(clock() - sent_at.pop(piece.stream))
                    reply = received.pop(piece.stream, b"")
                    if len(reply) != wanted:
                        raise LoadError(f"{path}: expected {wanted} bytes, not {len(reply)}: {reply[:300]!r}")
        seconds = clock() - start
        return Load(len(latencies), seconds, (time.process_time() - start_cpu) / seconds, latencies)
    finally:
        connection.close()


def call_once(address: str, path: str, message: bytes) -> bytes:
    """One reply; LoadError when there is none."""
    connection = Connection(address, path)
    try:
        connection.call([message])
        reply = b""
        while True:
            for piece in connection.receive():
                reply += piece.data
                if piece.ended:
                    if not reply:
                        raise LoadError(f"{path}: refused without a reply")
                    return reply[MESSAGE_PREFIX_BYTES:]
    finally:
        connection.close()


OPENED_AT_ONCE = 500
"""gRPC turns calls away by chance while more than about 1,000 wait to be taken up."""
OPENING_SECONDS = 0.3
MOST_OPENING_SECONDS = 3.0


class Watchers:
    """Many streams of one method, spread over some connections. LoadError when one ends."""

    def __init__(
        self, address: str, path: str, *, streams: int, connections: int, requests: Sequence[bytes] = ()
    ) -> None:
        """Without requests all streams have empty ones."""
        self.connections = [Connection(address, path) for _ in range(connections)]
        self._poll = select.poll()
        self._by_fd = {connection.fileno(): connection for connection in self.connections}
        waiting = 0
        for index, connection in enumerate(self.connections):
            self._poll.register(connection.fileno(), select.POLLIN)
            calls = requests[index::connections] or [b""] * len(range(index, streams, connections))
            connection.call(calls)
            waiting += len(calls)
            if waiting >= OPENED_AT_ONCE:
                self.drain(OPENING_SECONDS, MOST_OPENING_SECONDS)
                waiting = 0

    def receive(self, timeout_seconds: float = PATIENCE_SECONDS) -> list[tuple[Connection, list[Piece]]]:
        """What has come on any connection; empty when that took too long."""
        found = []
        for fd, _ in self._poll.poll(timeout_seconds * 1000):
            pieces = self._by_fd[fd].receive()
            if any(piece.ended for piece in pieces):
                raise LoadError("a stream has ended")
            found.append((self._by_fd[fd], pieces))
        return found

    def drain(self, quiet_seconds: float, most_seconds: float = PATIENCE_SECONDS) -> int:
        """Read until nothing has come for so long; how many bytes of messages came.

        Of many streams, which are told now and then how far they are, there is always one that is: not longer than
        `most_seconds`.
        """
        taken, end = 0, time.monotonic() + most_seconds
        while time.monotonic() < end and (found := self.receive(quiet_seconds)):
            taken += sum(len(piece.data) for _, pieces in found for piece in pieces)
        return taken

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
