"""A gRPC call over bare HTTP/2 whose request never becomes whole. Everything here blocks."""

import select
import socket
import time

from tests.support.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    header_blocks,
)

CREATE = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService/CreateJob"
FRAME_BYTES = 16_384
STREAM = 1


class RawUpload:
    """One call, whose request is announced with so many bytes."""

    def __init__(self, address: str, announced_bytes: int) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        block, _ = header_blocks(CREATE, address)
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, b"")
            + frame(HEADERS, END_HEADERS, STREAM, block)
            + frame(DATA, 0, STREAM, b"\0" + announced_bytes.to_bytes(4, "big"))
        )
        self._windows = {0: FIRST_WINDOW - 5, STREAM: FIRST_WINDOW - 5}
        self._first_window = FIRST_WINDOW
        self._buffer = b""
        self.end = b""
        """The last headers, or the reset, with which the server has ended the call."""

    def send(self, count: int, *, timeout_seconds: float = 20.0) -> int:
        """Send more of it as far as the server takes it, until it ends the call; how many bytes were sent."""
        deadline, left = time.monotonic() + timeout_seconds, count
        while left and not self.end and time.monotonic() < deadline:
            size = min(left, FRAME_BYTES, *self._windows.values())
            if size > 0:
                self._socket.sendall(frame(DATA, 0, STREAM, b"x" * size))
                left -= size
                for stream in self._windows:
                    self._windows[stream] -= size
            self._read(0 if size > 0 else 0.1)
        return count - left

    def wait_end(self, timeout_seconds: float = 20.0) -> bytes:
        """How the server has ended the call; AssertionError when it has not."""
        deadline = time.monotonic() + timeout_seconds
        while not self.end:
            assert time.monotonic() < deadline, "the call goes on"
            self._read(0.1)
        return self.end

    def close(self) -> None:
        self._socket.close()

    def _read(self, timeout_seconds: float) -> None:
        if not select.select([self._socket], [], [], timeout_seconds)[0]:
            return
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.end = self.end or b"closed"
        self._buffer += data
        while len(self._buffer) >= 9:
            size, kind, flags = int.from_bytes(self._buffer[:3], "big"), self._buffer[3], self._buffer[4]
            if len(self._buffer) < 9 + size:
                return
            stream, payload = int.from_bytes(self._buffer[5:9], "big"), self._buffer[9 : 9 + size]
            self._buffer = self._buffer[9 + size :]
            self._note(kind, flags, stream, payload)

    def _note(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for start in range(0, len(payload), 6):
                if int.from_bytes(payload[start : start + 2], "big") == INITIAL_WINDOW_SIZE:
                    window = int.from_bytes(payload[start + 2 : start + 6], "big")
                    self._windows[STREAM] += window - self._first_window
                    self._first_window = window
            self._socket.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(frame(PING, ACK, 0, payload))
        elif kind in (HEADERS, RST_STREAM, GOAWAY) and not self.end:
            self.end = payload
