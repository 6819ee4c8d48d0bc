"""WatchJob over bare HTTP/2, for clients that treat their streams badly. Everything here blocks."""

from tests.support.http2 import Connection, Messages

WATCH = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService/WatchJob"


class RawWatch:
    """One stream on a connection of its own, on which nothing can be sent before it is read."""

    def __init__(self, address: str) -> None:
        self._connection = Connection(address, WATCH)
        self._connection.close_window()
        self._connection.call([b""])

    def read_until(self, mark: bytes) -> list[bytes]:
        """The encoded events before the first with the mark. ConnectionFailed: the stream ends or stands still."""
        self._connection.open_window()
        messages = Messages()
        events: list[bytes] = []
        while True:
            for piece in self._connection.receive():
                for event in messages.add(piece.data):
                    if mark in event:
                        return events
                    events.append(event)

    def leave(self) -> None:
        self._connection.close()


def open_and_drop(address: str, *, streams: int, at_once: int) -> None:
    """Open so many streams on a connection, some at a time, and drop them, every other time without reading."""
    connection = Connection(address, WATCH)
    for turn in range(streams // at_once):
        opened = connection.call([b""] * at_once)
        if turn % 2:
            _read_first(connection, opened)
        connection.cancel(opened)
    connection.close()


def connect_and_drop(address: str, *, connections: int) -> None:
    """Make so many connections, each with a stream, and drop them, every other one without reading."""
    for turn in range(connections):
        connection = Connection(address, WATCH)
        opened = connection.call([b""])
        if turn % 2:
            _read_first(connection, opened)
        connection.close()


def _read_first(connection: Connection, streams: list[int]) -> None:
    """Something of each stream; AssertionError when one has ended instead."""
    unread = set(streams)
    while unread:
        for piece in connection.receive():
            assert not piece.ended, "a stream was refused"
            unread.discard(piece.stream)
