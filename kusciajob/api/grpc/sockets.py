"""The TCP connections of this process, as the system shows them: gRPC tells neither their number nor their traffic."""

import os
import socket
import stat
import struct

from msgspec import Struct

DESCRIPTORS = "/proc/self/fd"
_TCP_INFO_BYTES = 136
_BYTES_RECEIVED_AT = 128
"""Where struct tcp_info of Linux has tcpi_bytes_received."""
_MAPPED = "::ffff:"


class Connection(Struct, frozen=True):
    """A connection that was accepted on a port."""

    descriptor: int
    host: str
    port: int
    """That of its client."""
    received_bytes: int
    """Over its life, what has not been read yet included."""


def accepted_on(port: int) -> list[Connection]:
    """All connections that were accepted on the port; none if the system does not tell."""
    try:
        descriptors = [int(name) for name in os.listdir(DESCRIPTORS)]
    except OSError:
        return []
    found = (_look_at(descriptor, port) for descriptor in descriptors)
    return [connection for connection in found if connection]


def hang_up(connection: Connection, port: int) -> bool:
    """End it for both sides. False: it has gone already, its descriptor may be another's."""
    duplicate = _duplicate(connection.descriptor)
    if duplicate is None:
        return False
    with duplicate:
        if _ends_of(duplicate, port) != (connection.host, connection.port):
            return False
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
    return True


def _look_at(descriptor: int, port: int) -> Connection | None:
    duplicate = _duplicate(descriptor)
    if duplicate is None:
        return None
    with duplicate:
        ends = _ends_of(duplicate, port)
        return Connection(descriptor, *ends, _received_bytes(duplicate)) if ends else None


def _duplicate(descriptor: int) -> socket.socket | None:
    """It stays what it is, whatever becomes of the original; None if that is no socket.

    A file is never duplicated: closing any descriptor of a file drops all locks that this process has on it, and
    without SQLite's the next program that opens and closes the database would remove the log that we write.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        return socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None  # if it has become a file just now, its duplicate stays open, for the same reason


def _ends_of(connection: socket.socket, port: int) -> tuple[str, int] | None:
    """The client's address and port, of a connection that was accepted on `port`."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return None
    try:
        if connection.getsockname()[1] != port:
            return None
        host, peer_port = connection.getpeername()[:2]
    except OSError:  # it listens, or is closed
        return None
    return host.removeprefix(_MAPPED), peer_port


def _received_bytes(connection: socket.socket) -> int:
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except (OSError, AttributeError):  # another system
        return 0
    if len(information) < _TCP_INFO_BYTES:
        return 0
    (count,) = struct.unpack_from("=Q", information, _BYTES_RECEIVED_AT)
    return int(count)
