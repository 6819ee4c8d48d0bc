"""Messages between the two parties: one JSON object a line over one TCP connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from psi_example.task import Task, TaskError

MESSAGE_SECONDS = 60
RETRY_SECONDS = 0.1
MAX_MESSAGE_BYTES = 256 * 1024 * 1024


class Peer:
    """The other party at the end of a connection; when it is gone, every call raises TaskError."""

    def __init__(self, connection: socket.socket, domain_id: str) -> None:
        """Take over a connected socket."""
        connection.settimeout(MESSAGE_SECONDS)
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._domain_id = domain_id

    def send(self, **message: Any) -> None:
        """Send one message; must be JSON."""
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise TaskError(f"{self._domain_id} went away while it was sent a message: {error}") from error

    def receive(self, *names: str) -> list[Any]:
        """The named values of the next message. Raises TaskError when the other party gave up or sent another one."""
        try:
            line = self._lines.readline(MAX_MESSAGE_BYTES)
        except OSError as error:
            raise TaskError(f"no message from {self._domain_id} in {MESSAGE_SECONDS} s: {error}") from error
        if not line.endswith(b"\n"):
            raise TaskError(f"{self._domain_id} closed the connection before its work was done")
        try:
            message = dict(json.loads(line))
        except (TypeError, ValueError) as error:
            raise TaskError(f"{self._domain_id} sent something that is no message: {error}") from error
        if "gave_up" in message:
            raise TaskError(f"{self._domain_id} gave up: {message['gave_up']}")
        if set(message) != set(names):
            raise TaskError(f"{self._domain_id} sent {sorted(message)}, expected {sorted(names)}")
        return [message[name] for name in names]

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._connection.close()


@contextmanager
def listen(task: Task, port_name: str, *, wait_seconds: int) -> Iterator[Peer]:
    """Offer the named port and wait for the other party; a TaskError inside the block is told to it."""
    with socket.create_server((task.listen_host(port_name), task.listen_port(port_name))) as server:
        server.settimeout(wait_seconds)
        try:
            connection, _ = server.accept()
        except TimeoutError as error:
            raise TaskError(f"{task.peer.domain_id} did not connect within {wait_seconds} s") from error
    with _conversation(task, connection) as peer:
        yield peer


def wait_for_name(address: tuple[str, int], *, wait_seconds: int) -> None:
    """Return once the host's name is known. A cluster knows a party's name only when that party has an address."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            socket.getaddrinfo(*address)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TaskError(f"{address[0]} is not known after {wait_seconds} s: {error}") from error
            time.sleep(RETRY_SECONDS)
        else:
            return


@contextmanager
def dial(task: Task, port_name: str, *, wait_seconds: int) -> Iterator[Peer]:
    """Connect to the other party's port, which may open late; a TaskError inside the block is told to it."""
    address = task.peer.address(port_name)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection = socket.create_connection(address, timeout=wait_seconds)
            if connection.getsockname() != connection.getpeername():
                break
            # The kernel may pick the very port that nobody listens on yet, and connect us to ourselves.
            connection.close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TaskError(f"{task.peer.domain_id} cannot be reached at {address}: {error}") from error
            time.sleep(RETRY_SECONDS)
    with _conversation(task, connection) as peer:
        yield peer


@contextmanager
def _conversation(task: Task, connection: socket.socket) -> Iterator[Peer]:
    with closing(Peer(connection, task.peer.domain_id)) as peer:
        # Another task's party may have been given a port that was ours a moment ago.
        peer.send(task_id=task.task_id)
        (other,) = peer.receive("task_id")
        if other != task.task_id:
            raise TaskError(f"the process at the other end belongs to task {other!r}, not to {task.task_id!r}")
        try:
            yield peer
        except TaskError as error:
            with suppress(TaskError):
                peer.send(gave_up=str(error))
            raise
