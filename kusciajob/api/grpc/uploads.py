"""Limits gRPC requests while they arrive. gRPC shows only whole requests, so their sockets are watched."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from kusciajob.api.gate import BodyBudget, LimitReached, host_of
from kusciajob.api.grpc import sockets

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
LOOKING_SHARE = 20
"""Looking at very many connections takes at most the 20th part of the time."""
UPLOAD_SECONDS = 300.0
"""How long a request may take to arrive."""
WARN_SECONDS = 60.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Place: TypeAlias = tuple[str, int]
"""A client's address and port."""


class _Upload:
    """A request that has not arrived yet."""

    __slots__ = ("began", "peer", "refusal", "task")

    def __init__(self, peer: str, began: float) -> None:
        self.peer = peer
        self.began = began
        self.task = asyncio.current_task()
        self.refusal = ""

    def refuse(self, text: str) -> None:
        self.refusal = text
        if self.task is not None:
            self.task.cancel()


class Uploads:
    """Receives requests; refuses those that take too long or exceed the budget of bytes in reception.

    How much of a request has arrived follows from its connection: bytes received, less those of whole requests.
    """

    def __init__(self, budget: BodyBudget, *, connections_per_peer: int = 0) -> None:
        self._budget = budget
        self._port = 0
        self._connections_per_peer = connections_per_peer
        self.connections: Counter[str] = Counter()
        """How many each address had at the last look."""
        self._open: dict[_Upload, None] = {}
        self._whole: dict[str, int] = {}
        """Bytes of the requests that became whole since the last look, by peer."""
        self._received: dict[Place, int] = {}
        self._pending: dict[Place, int] = {}
        self._warned_at: dict[str, float] = {}

    async def receive(self, context: Context, peer: str) -> bytes:
        """The call's request. Raises LimitReached, DecodeError."""
        upload = _Upload(peer, time.monotonic())
        self._open[upload] = None
        try:
            data = await context.read()
        except asyncio.CancelledError:
            if not upload.refusal:
                raise
            if upload.task is not None:
                upload.task.uncancel()
            raise LimitReached(upload.refusal) from None
        finally:
            del self._open[upload]
        if not isinstance(data, bytes):
            raise DecodeError("there is none")
        self._whole[peer] = self._whole.get(peer, 0) + len(data)
        return data

    def hang_up(self, peer: str) -> None:
        """Cut the connection of a client, by gRPC's name for it."""
        place = _place_of(peer)
        for connection in sockets.accepted_on(self._port):
            if (connection.host, connection.port) == place:
                sockets.hang_up(connection, self._port)

    async def watch(self, port: int) -> None:
        """Check the connections of a port at regular intervals."""
        self._port = port
        while True:
            began = time.monotonic()
            whole, self._whole = self._whole, {}
            connections = await asyncio.to_thread(sockets.accepted_on, port)
            now = time.monotonic()
            self.connections.clear()
            self.connections.update(connection.host for connection in connections)
            self._limit_connections(connections, port, now)
            self._note_received(connections, whole)
            self._refuse_excess(now)
            await asyncio.sleep(max(LOOK_SECONDS, (now - began) * LOOKING_SHARE))

    def _limit_connections(self, connections: list[sockets.Connection], port: int, now: float) -> None:
        """If an address has too many connections, end those that have received the least."""
        if not self._connections_per_peer or len(connections) <= self._connections_per_peer:
            return
        by_host: defaultdict[str, list[sockets.Connection]] = defaultdict(list)
        for connection in connections:
            by_host[connection.host].append(connection)
        for host, present in by_host.items():
            excess = len(present) - self._connections_per_peer
            if excess <= 0:
                continue
            present.sort(key=lambda connection: connection.received_bytes)
            for connection in present[:excess]:
                sockets.hang_up(connection, port)
            self._warn(host, now)

    def _warn(self, host: str, now: float) -> None:
        self._warned_at = {who: at for who, at in self._warned_at.items() if now - at < WARN_SECONDS}
        if self._warned_at.setdefault(host, now) == now:
            logger.warning(
                "%s has more than %d gRPC connections, some are ended (setting max_connections_per_peer)",
                host,
                self._connections_per_peer,
            )

    def _note_received(self, connections: list[sockets.Connection], whole: Mapping[str, int]) -> None:
        arrived = {_place_of(peer): count for peer, count in whole.items()}
        uploading = {_place_of(upload.peer) for upload in self._open}
        received: dict[Place, int] = {}
        pending: dict[Place, int] = {}
        for connection in connections:
            place = connection.host, connection.port
            received[place] = connection.received_bytes
            if place in uploading:
                came = connection.received_bytes - self._received.get(place, 0) - arrived.get(place, 0)
                pending[place] = max(0, self._pending.get(place, 0) + came)
        self._received, self._pending = received, pending

    def _refuse_excess(self, now: float) -> None:
        by_place: defaultdict[Place, list[_Upload]] = defaultdict(list)
        for upload in self._open:
            if now - upload.began > UPLOAD_SECONDS:
                upload.refuse(f"the request did not arrive within {UPLOAD_SECONDS:g} s")
            else:
                by_place[_place_of(upload.peer)].append(upload)
        by_host: defaultdict[str, int] = defaultdict(int)
        for (host, _), count in self._pending.items():
            by_host[host] += count
        total = sum(by_host.values())
        for place in sorted(self._pending, key=self._pending.__getitem__, reverse=True):
            host = place[0]
            try:
                self._budget.check(host, by_host[host], others=total - by_host[host])
            except LimitReached as error:
                for upload in by_place[place]:
                    upload.refuse(str(error))
                count = self._pending.pop(place)
                by_host[host] -= count
                total -= count


def _place_of(peer: str) -> Place:
    """Of gRPC's name of a peer; what has no port is a place of its own."""
    port = peer.rpartition(":")[2]
    return host_of(peer), int(port) if port.isdecimal() else 0
