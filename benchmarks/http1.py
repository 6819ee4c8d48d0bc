"""The same for HTTP/1.1: one request after the other on each of many connections that stay open."""

import re
import select
import socket
import time

from benchmarks.h2 import Load, LoadError
from tests.support.http2 import PATIENCE_SECONDS, READ_BYTES

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Connection:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._rest = b""

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The body of the response, once it is there. LoadError unless it is a success."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise LoadError("the server has closed the connection")
        self._rest += data
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return None
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise LoadError(f"unexpected response: {self._rest[:300]!r}")
        if len(body) < int(length[1]):
            return None
        self._rest = b""
        return body


def post_all(address: str, path: str, body: bytes, *, calls: int, in_flight: int, reply_bytes: int) -> Load:
    """Post the same JSON that often, so many at a time. LoadError unless every body has exactly that many bytes."""
    request = _post(address, path, body)
    connections = [_Connection(address) for _ in range(min(in_flight, calls))]
    by_fd = {connection.socket.fileno(): connection for connection in connections}
    poll = select.epoll()
    latencies: list[float] = []
    start, start_cpu = time.perf_counter(), time.process_time()
    try:
        for connection in connections:
            poll.register(connection.socket, select.EPOLLIN)
            connection.send(request)
        left = calls - len(connections)
        while len(latencies) < calls:
            for fd, _ in poll.poll(PATIENCE_SECONDS):
                connection = by_fd[fd]
                reply = connection.receive()
                if reply is None:
                    continue
                if len(reply) != reply_bytes:
                    raise LoadError(f"{path}: expected {reply_bytes} bytes, not {len(reply)}: {reply[:300]!r}")
                latencies.append(time.perf_counter() - connection.sent_at)
                if left:
                    left -= 1
                    connection.send(request)
        seconds = time.perf_counter() - start
        return Load(calls, seconds, (time.process_time() - start_cpu) / seconds, latencies)
    finally:
        poll.close()
        for connection in connections:
            connection.socket.close()


def post_once(address: str, path: str, body: bytes) -> bytes:
    """One reply's body."""
    connection = _Connection(address)
    try:
        connection.send(_post(address, path, body))
        while (reply := connection.receive()) is None:
            pass
        return reply
    finally:
        connection.socket.close()


def _post(address: str, path: str, body: bytes) -> bytes:
    fields = f"Host: {address}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body
