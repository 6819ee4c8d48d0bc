"""The HTTP edge: the calls of the API by path, in JSON or binary protobuf, the OpenAPI document and the page."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2, log_pb2
from kusciajob.api.broken import Broken
from kusciajob.api.calls import ServedCalls, UnaryCall
from kusciajob.api.calls.job import InvalidWatch
from kusciajob.api.gate import Gate, LimitReached
from kusciajob.api.grpc.server import AddressInUse
from kusciajob.api.http import openapi, page, streams
from kusciajob.api.http.connections import ConnectionLimits, HttpListener
from kusciajob.api.http.messages import (
    JSON_TYPE,
    Refused,
    Unreadable,
    certificate_of,
    check_browser,
    encoding_of,
    meet_expectation,
    read_body,
    refusal,
    rich_refusal,
)
from kusciajob.api.http.paths import Handler, find_method
from kusciajob.api.http.resources import Resources, is_below
from kusciajob.api.routes import QUERY_LOG, ROUTES, TOKEN_HEADER, WATCH, Route
from kusciajob.clock import SystemClock
from kusciajob.contracts import Clock, HubClosed, Published
from kusciajob.security.browser import LOOPBACK_ONLY, BrowserRules
from kusciajob.security.errors import Unauthenticated
from kusciajob.security.guard import Guard
from kusciajob.telemetry.metrics import CONTENT_TYPE, CallMeter
from kusciajob.telemetry.request import REQUEST_ID, TRACEPARENT, begin
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code, code_and_message

logger = logging.getLogger(__name__)

OPENAPI_PATH = "/openapi.json"
METRICS_PATH = "/metrics"
RETRY_SECONDS = 1
"""When a client may try again that was refused for a limit."""
STOP_GRACE_SECONDS = 2.0
_SYSTEM_CLOCK = SystemClock()
_READING = ("GET", "HEAD", "OPTIONS")

_Message = TypeVar("_Message", bound=Message)


class HttpGateway:
    """Serves the job API on one address; without a guard every caller is the master."""

    def __init__(
        self,
        calls: ServedCalls,
        *,
        gate: Gate,
        read_metrics: Callable[[], Awaitable[bytes]],
        max_message_bytes: int,
        browser_rules: BrowserRules = LOOPBACK_ONLY,
        guard: Guard | None = None,
        connections: ConnectionLimits | None = None,
        has_page: bool = True,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """`clock`: by which silent streams show that they live."""
        self._calls = calls
        self._gate = gate
        self._read_metrics = read_metrics
        self._watch_meter, self._log_meter = gate.meter(WATCH.name), gate.meter(QUERY_LOG.name)
        self._refused_meter = gate.meter("")
        self._max_message_bytes = max_message_bytes
        self._browser_rules = browser_rules
        self._guard = guard
        self._followers: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, dict[str, Handler]] = {
            route.path: dict.fromkeys(route.http_methods, self._handler(route)) for route in ROUTES
        }
        self._changes = frozenset(route.path for route in ROUTES if route.is_change)
        self._resources = Resources(calls, gate=gate, read_body=self._read, hold=self._hold, clock=clock)
        self._has_page = has_page
        self._clock = clock
        self._handlers[OPENAPI_PATH] = {"GET": _serve_openapi}
        self._handlers[METRICS_PATH] = {"GET": self._serve_metrics}
        self._listener = HttpListener(self._serve, limits=connections, stop_grace_seconds=STOP_GRACE_SECONDS)
        gate.connections = self._listener.connections

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port. Raises AddressInUse."""
        tls = self._guard.ssl_context if self._guard else None
        try:
            return await self._listener.start(host.strip("[]"), port, tls=tls)
        except OSError as error:
            raise AddressInUse(f"cannot listen on {host}:{port}: is the port taken? ({error.strerror})") from None

    async def stop(self) -> None:
        """Refuse new calls, let the present ones finish within the grace period; logs are not followed any further."""
        for follower in self._followers:
            follower.cancel()
        self._resources.stop_following()
        await self._listener.stop()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.perf_counter()
        headers, peer = request.headers, request.remote or ""
        known = begin(headers.get(REQUEST_ID), headers.get(TRACEPARENT), peer=peer)
        response = await self._answer(request, began)
        if not response.prepared:  # else it is a stream, which has it
            response.headers[REQUEST_ID] = known.id
        return response

    async def _answer(self, request: web.BaseRequest, began: float) -> web.StreamResponse:
        try:
            is_change = request.method not in _READING if is_below(request) else request.path in self._changes
            check_browser(request, self._browser_rules, is_change=is_change)
            if self._has_page and (shown := page.answer(request)) is not None:
                return shown
            caller = await self._authenticate(request)
            handler = self._find(request)
            await meet_expectation(request)
            return await handler(request, caller)
        except LimitReached as error:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            if not request.content.at_eof():  # the rest of its body is not read
                headers["Connection"] = "close"
            return self._refuse(request, Refused(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers), began)
        except Refused as refused:
            return self._refuse(request, refused, began)
        except Broken as broken:
            if broken.cuts and request.transport is not None:
                request.transport.abort()
            told = Refused(rich_status.HTTP_STATUSES[broken.number], str(broken), code=Code.UNEXPECTED)
            return self._refuse(request, told, began)
        except Exception as error:  # the client gets a reference to the log only
            code, text = code_and_message(error, Code.UNEXPECTED)
            return self._refuse(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, text, code=code), began)

    def _refuse(self, request: web.BaseRequest, refused: Refused, began: float) -> web.Response:
        self._refused_meter.note(f"HTTP {refused.http_status}", time.perf_counter() - began)
        return rich_refusal(refused) if is_below(request) else refusal(refused)

    async def _authenticate(self, request: web.BaseRequest) -> Caller:
        if self._guard is None:
            return MASTER
        try:
            caller = Caller(self._guard.identify(_token_in(request)))
            if self._guard.has_lost_authority:
                self._guard.check_certificate(certificate_of(request))
            return caller
        except Unauthenticated as error:
            await self._guard.delays.hold(request.remote or "")
            logger.warning("refused an HTTP request from %s: %s", request.remote, error)
            raise Refused(HTTPStatus.UNAUTHORIZED, str(error), code=Code.NOT_ALLOWED) from None

    def _hold(self, request: web.BaseRequest, caller: Caller) -> streams.Hold:
        if self._guard is None:
            return nullcontext()
        return self._guard.hold(caller.domain, _token_in(request), certificate_of(request))

    def _find(self, request: web.BaseRequest) -> Handler:
        if is_below(request):
            found = self._resources.find(request)
            if found is None:
                raise _no_such_path()
            return found
        methods = self._handlers.get(request.path)
        if methods is None:
            raise _no_such_path()
        return find_method(request.path, methods, request.method)

    def _handler(self, route: Route) -> Handler:
        if route is WATCH:
            return self._serve_watch
        if route is QUERY_LOG:
            return self._serve_log
        call: UnaryCall = self._calls.of(route.call)
        request_type = route.request
        meter, gate, now = self._gate.meter(route.name), self._gate, time.perf_counter

        async def serve(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
            peer = request.remote or ""
            gate.enter(peer, now())
            try:
                encoding = encoding_of(request)
                with gate.bodies.hold(peer) as take:
                    body = await self._read(request, take)
                    began = now()
                    try:
                        response = await call(await encoding.read(body, request_type), caller)
                    except Unreadable as error:
                        response = _unreadable(error)
                meter.note(response.status.code, now() - began)
                return encoding.answer(response)
            finally:
                gate.leave(peer)

        return serve

    async def _serve_watch(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        with self._stream(request, caller, self._watch_meter):
            try:
                watching = await self._read_message(request, job_pb2.WatchJobRequest)
                batches = self._calls.of(WATCH.call)(watching, caller, idle_seconds=streams.HEARTBEAT_SECONDS)
                return await streams.send(batches, request, self._hold(request, caller), clock=self._clock)
            except Unreadable as error:
                raise Refused(HTTPStatus.BAD_REQUEST, str(error), code=Code.UNEXPECTED) from None
            except InvalidWatch as error:
                raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
            except HubClosed:
                text = "the server is stopping: connect again to go on"
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, text, code=Code.UNEXPECTED) from None

    async def _serve_log(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        with self._stream(request, caller, self._log_meter):
            self._followers.add(request.task)
            try:
                batches = await self._log_batches(request, caller)
                return await streams.send(batches, request, self._hold(request, caller), clock=self._clock)
            finally:
                self._followers.discard(request.task)

    @contextmanager
    def _stream(self, request: web.BaseRequest, caller: Caller, meter: CallMeter) -> Iterator[None]:
        """A place for a stream, which is measured. Raises LimitReached."""
        peer, is_watch = request.remote or "", meter is self._watch_meter
        with self._gate.stream(peer, is_watch=is_watch, domain=caller.domain):
            began = time.perf_counter()
            try:
                yield
            finally:
                meter.note("OK", time.perf_counter() - began)

    async def _serve_metrics(self, _: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        if caller.domain:
            text = f'domain "{caller.domain}" may not read the metrics: they tell of all domains'
            raise Refused(HTTPStatus.FORBIDDEN, text, code=Code.NOT_ALLOWED)
        return web.Response(body=await self._read_metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _log_batches(
        self, request: web.BaseRequest, caller: Caller
    ) -> AsyncGenerator[Sequence[Published | Message], None]:
        try:
            message = await self._read_message(request, log_pb2.QueryLogRequest)
        except Unreadable as error:
            return _only(_unreadable(error))
        batches: AsyncGenerator[Sequence[Published | Message], None] = self._calls.of(QUERY_LOG.call)(message, caller)
        return batches

    async def _read_message(self, request: web.BaseRequest, kind: type[_Message]) -> _Message:
        """The request's message. Raises Unreadable, LimitReached."""
        with self._gate.bodies.hold(request.remote or "") as take:
            return await encoding_of(request).read(await self._read(request, take), kind)

    async def _read(self, request: web.BaseRequest, take: Callable[[int], None]) -> bytes:
        return await read_body(request, max_bytes=self._max_message_bytes, take=take)


def _token_in(request: web.BaseRequest) -> str | None:
    """The caller's token. Scrapers of metrics can send theirs as a Bearer token only."""
    token = request.headers.get(TOKEN_HEADER)
    if token is not None:
        return token
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return bearer if scheme.lower() == "bearer" else None


def _no_such_path() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, f"there is no such path; {OPENAPI_PATH} tells all of them")


async def _serve_openapi(_: web.BaseRequest, __: Caller) -> web.StreamResponse:
    return web.Response(body=openapi.document(), headers={"Content-Type": JSON_TYPE})


async def _only(message: Message) -> AsyncGenerator[Sequence[Message], None]:
    yield ()
    yield (message,)


def _unreadable(error: Unreadable) -> common_pb2.ErrorResponse:
    """Without `data`, as Kuscia's own answer; in binary it reads as any response."""
    return common_pb2.ErrorResponse(status=common_pb2.Status(code=Code.UNEXPECTED, message=str(error)))
