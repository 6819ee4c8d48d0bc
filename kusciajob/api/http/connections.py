"""HTTP connections: their number, how long they may be silent, and how to refuse what is no HTTP."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from msgspec import Struct

from kusciajob.api.gate import LimitReached, Quota, take_places
from kusciajob.api.http.log import SlipLog, protocol_logger
from kusciajob.api.http.messages import Refused, refusal
from kusciajob.wire.status import Code

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
"""How long a new connection may take for its TLS handshake."""
HEAD_SECONDS = 15.0
"""How long it may take from then on to its first complete request head."""
IDLE_SECONDS = 75.0
"""A connection that was of use is closed when it brings no complete request head for so long."""
ANSWER_SECONDS = 300.0
"""How long a client may take to read the end of an answer."""
MAX_HEAD_LINE_BYTES = 8190
MAX_HEAD_LINES = 128
BACKLOG = 128
ACCEPT_RETRY_SECONDS = 0.1

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ConnectionLimits(Struct, frozen=True):
    """The most at one time; 0 means no limit."""

    per_peer: int = 0
    in_all: int = 0


class HttpListener:
    """Listens on an address and serves each HTTP request by one coroutine."""

    def __init__(self, serve: Handler, *, limits: ConnectionLimits | None = None, stop_grace_seconds: float) -> None:
        limits = limits or ConnectionLimits()
        self._peers = Quota(limits.per_peer, "{holder} has {limit} connections (setting max_connections_per_peer)")
        self._all = Quota(limits.in_all, "there are {limit} connections (setting max_connections)")
        self._stop_grace_seconds = stop_grace_seconds
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = _Server(serve)
        self._is_refusing = False

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen and return the port. Raises OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.create_server(address, family=family, backlog=BACKLOG)
            listening.setblocking(False)
            self._sockets.append(listening)
        for listening in self._sockets:
            self._run(self._accept(listening, tls))
        return int(self._sockets[0].getsockname()[1])

    @property
    def connections(self) -> Mapping[str, int]:
        """How many each address has."""
        return self._peers.held

    async def stop(self) -> None:
        """Accept nothing more, let the present requests finish within the grace period."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        self._server.pre_shutdown()
        await self._server.shutdown(self._stop_grace_seconds)

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except ConnectionError:  # it has gone before it was accepted
                continue
            except OSError as error:
                logger.warning("cannot accept connections just now: %s", error.strerror)
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                continue
            place = self._take_place(address[0])
            if place is None:
                connection.close()
            else:
                self._run(self._begin(connection, address[0], tls, place))

    def _take_place(self, host: str) -> Callable[[], None] | None:
        """Take a place for a new connection: the function that gives it back, or None if there is no place."""
        try:
            places = take_places((self._all, ""), (self._peers, host))
        except LimitReached as error:
            if not self._is_refusing:
                logger.warning("refused a connection: %s", error)
            self._is_refusing = True
            return None
        self._is_refusing = False
        return places.close

    async def _begin(
        self,
        connection: socket.socket,
        peer: str,
        tls: ssl.SSLContext | None,
        give_back: Callable[[], None],
    ) -> None:
        """Do the handshake of a new connection, and serve its requests from then on."""
        made = self._server()
        made.give_back, made.peer = give_back, peer
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: made, connection, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None
            )
        except BaseException as error:
            made.leave()
            connection.close()
            if isinstance(error, ssl.SSLError):
                self._server.slips.note_handshake(peer, error)
            if not isinstance(error, OSError):
                raise


class _Server(web.Server):
    def __init__(self, serve: Handler) -> None:
        super().__init__(serve, handler_cancellation=True)  # who has gone is served no longer
        self.slips = SlipLog()

    def __call__(self) -> "_Connection":
        return _Connection(
            self,
            self.slips,
            loop=self._loop,
            access_log=None,
            logger=protocol_logger,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_HEAD_LINE_BYTES,
            max_field_size=MAX_HEAD_LINE_BYTES,
            max_headers=MAX_HEAD_LINES,
        )


class _Connection(web.RequestHandler):
    """aiohttp's connection. It gives its place back, ends when silent, and quotes nothing that it was sent."""

    __slots__ = ("_has_begun", "_head_deadline", "_is_slip", "_slips", "give_back", "peer")

    def __init__(self, server: web.Server, slips: SlipLog, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._slips = slips
        self._has_begun = False
        self._is_slip = False
        self.give_back: Callable[[], None] | None = None
        self.peer = ""
        self._head_deadline: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        """Give its place back; only the first call counts."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
        if self.give_back is not None:
            self.give_back()
            self.give_back = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_deadline = self._loop.call_later(HEAD_SECONDS, self._close_unused)

    def data_received(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            is_tls = self.transport is not None and self.transport.get_extra_info("ssl_object") is not None
            self._is_slip = self._slips.note_start(self.peer, data, is_tls=is_tls)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.leave()
        super().connection_lost(exc)

    def _close_unused(self) -> None:
        if not self._request_count:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's own answer quotes what it was sent, tokens included."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.logger.error("a request from %s has failed", request.remote, exc_info=exc)
        elif not self._is_slip:  # that was told
            self.logger.warning("refused what is no HTTP request from %s (%s)", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, another cannot be sent")
        answer = refusal(_refusal_of(HTTPStatus(status), exc))
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the rest of an answer within ANSWER_SECONDS, or not at all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return await super().finish_response(request, resp, start_time)
        self.force_close()
        return resp, True


def _refusal_of(status: HTTPStatus, error: BaseException | None) -> Refused:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refused(status, "unexpected server error; the server's log has the details", code=Code.UNEXPECTED)
    if isinstance(error, LineTooLong):
        return Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"a line of the request's head is too long: at most {MAX_HEAD_LINE_BYTES} bytes",
        )
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "this is no HTTP/1.1 request: its first line, a header (at most "
        f"{MAX_HEAD_LINES}, each `Name: value` without control characters) or its body's encoding is malformed",
    )
