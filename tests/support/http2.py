"""HTTP/2 frames over a plain socket, for clients that no library lets us be, and for loads that it would slow down."""

import socket
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4
FIRST_WINDOW = 65535
NO_ERROR = bytes(4)
MAX_WINDOW = 2**31 - 1
MAX_BODY_BYTES = 16384 - 5
READ_BYTES = 1 << 18
PATIENCE_SECONDS = 60.0
MESSAGE_PREFIX_BYTES = 5
CANCEL = (8).to_bytes(4, "big")


class ConnectionFailed(Exception):
    """The server did not answer as it should."""


class Piece(Struct, frozen=True):
    """Some of a stream's data, as it came; `ended` with the last of it."""

    stream: int
    data: bytes
    ended: bool


class Connection:
    """One TCP connection on which one method is called, any number of times."""

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._first, self._next = header_blocks(path, address)
        self._last_stream = -1
        self._window = FIRST_WINDOW
        self._taken = 0
        self._rest = b""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _window_setting(MAX_WINDOW)
            + frame(WINDOW_UPDATE, 0, 0, (MAX_WINDOW - FIRST_WINDOW).to_bytes(4, "big"))
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def open_window(self) -> None:
        """Let the server send again what it will."""
        self._socket.sendall(_window_setting(MAX_WINDOW))

    def close_window(self) -> None:
        """Let the server send no more messages but those that are on their way."""
        self._socket.sendall(_window_setting(0))

    def call(self, messages: Sequence[bytes]) -> list[int]:
        """Send a request per message, as far as the server's window allows now; the streams they have."""
        streams = []
        for message in messages:
            if len(message) > MAX_BODY_BYTES:
                raise ValueError(f"a request of {len(message)} bytes needs more than one frame")
            self._last_stream += 2
            streams.append(self._last_stream)
            self._waiting.append((self._last_stream, message))
        self._send()
        return streams

    def cancel(self, streams: Iterable[int]) -> None:
        """Give up calls that were sent; some of their data may be on its way."""
        self._socket.sendall(b"".join(frame(RST_STREAM, 0, stream, CANCEL) for stream in streams))

    def receive(self) -> list[Piece]:
        """What has come, at least one frame of any kind. ConnectionFailed: the server hangs up or resets a stream."""
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            raise ConnectionFailed(f"nothing has come for {PATIENCE_SECONDS:g} s") from None
        if not data:
            raise ConnectionFailed("the server has closed the connection")
        pieces, self._rest = self._split(self._rest + data)
        if self._waiting:
            self._send()
        return pieces

    def close(self) -> None:
        self._socket.close()

    def _send(self) -> None:
        frames: list[bytes] = []
        while self._waiting and len(self._waiting[0][1]) + MESSAGE_PREFIX_BYTES <= self._window:
            stream, message = self._waiting.popleft()
            block, self._first = self._first or self._next, b""
            body = b"\0" + len(message).to_bytes(4, "big") + message
            self._window -= len(body)
            frames += (frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, body))
        if frames:
            self._socket.sendall(b"".join(frames))

    def _split(self, buffer: bytes) -> tuple[list[Piece], bytes]:
        pieces: list[Piece] = []
        start, size = 0, len(buffer)
        while start + 9 <= size:
            end = start + 9 + int.from_bytes(buffer[start : start + 3], "big")
            if end > size:
                break
            kind, flags = buffer[start + 3], buffer[start + 4]
            stream = int.from_bytes(buffer[start + 5 : start + 9], "big")
            if kind == DATA:
                pieces.append(Piece(stream, buffer[start + 9 : end], bool(flags & END_STREAM)))
                self._taken += end - start - 9
            elif kind == HEADERS:
                if flags & END_STREAM:
                    pieces.append(Piece(stream, b"", True))
            else:
                self._control(kind, flags, stream, buffer[start + 9 : end])
            start = end
        if self._taken > MAX_WINDOW // 4:
            self._socket.sendall(frame(WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0
        return pieces, buffer[start:]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
        elif kind in (SETTINGS, PING):
            if not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == RST_STREAM and payload == NO_ERROR:
            pass  # The answer is complete, and the server wants no more of the request (RFC 9113, 8.1).
        elif kind in (RST_STREAM, GOAWAY):
            raise ConnectionFailed(f"the server has sent a frame of type {kind} on stream {stream}: {payload!r}")


class Messages:
    """Cuts one stream's data into gRPC messages."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        buffer = self._rest + data
        messages, start = [], 0
        while len(buffer) - start >= MESSAGE_PREFIX_BYTES:
            body = start + MESSAGE_PREFIX_BYTES
            end = body + int.from_bytes(buffer[start + 1 : body], "big")
            if end > len(buffer):
                break
            messages.append(buffer[body:end])
            start = end
        self._rest = buffer[start:]
        return messages


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, as it is sent."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _window_setting(size: int) -> bytes:
    return frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + size.to_bytes(4, "big"))


def header_blocks(path: str, authority: str) -> tuple[bytes, bytes]:
    """A call's headers in HPACK: those of the first call, which are entered in a table, and those that refer to it."""
    fixed = b"\x83\x86"  # :method POST, :scheme http
    fields = ((b"\x44", path), (b"\x41", authority), (b"\x40\x02te", "trailers"), (b"\x5f", "application/grpc"))
    first = b"".join(name + bytes([len(value)]) + value.encode() for name, value in fields)
    return fixed + first, fixed + bytes(0x80 | 62 + index for index in reversed(range(len(fields))))
