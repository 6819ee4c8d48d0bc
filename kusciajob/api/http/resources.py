"""Serves kusciajob.v1 over HTTP: its paths are the annotations in the proto files."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias

from aiohttp import web
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from kusciajob.api.broken import Broken
from kusciajob.api.calls import ServedCalls
from kusciajob.api.calls.v1 import failed_code
from kusciajob.api.gate import Gate, LimitReached
from kusciajob.api.http import streams
from kusciajob.api.http.messages import Refused, Unreadable, encoding_of, rich_answer
from kusciajob.api.http.parameters import read_parameters
from kusciajob.api.http.paths import Handler, PathTable, find_method
from kusciajob.api.routes import V1_ROUTES, WATCHES, Route, annotated
from kusciajob.contracts import Clock
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.text import shown
from kusciajob.security.errors import Unauthenticated
from kusciajob.telemetry.metrics import CallMeter
from kusciajob.usecases.callers import Caller
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code

OK = "OK"
BROKEN_OFF = "BROKEN_OFF"
RESUMED_AFTER = "after_revision"
"""The field of a request for a stream that the header Last-Event-ID sets."""
LAST_EVENT_ID = "Last-Event-ID"
_PREFIX = "/v1"
_REVISION = re.compile("[0-9]{1,18}")

ReadBody: TypeAlias = Callable[[web.BaseRequest, Callable[[int], None]], Awaitable[bytes]]


class _Place:
    """A route that is served, with what serving it needs each time."""

    def __init__(self, route: Route, call: Any, meter: CallMeter) -> None:
        self.route = route
        self.call = call
        self.meter = meter
        self.failed = failed_code(route.call)
        self.is_watch = route.name in WATCHES


class Resources:
    """The handlers of all paths below /v1 whose calls somebody serves."""

    def __init__(
        self,
        calls: ServedCalls,
        *,
        gate: Gate,
        read_body: ReadBody,
        hold: Callable[[web.BaseRequest, Caller], streams.Hold],
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._read_body = read_body
        self._hold = hold
        self._clock = clock
        self._places = {
            route.name: _Place(route, call, gate.meter(route.name))
            for route in (*V1_ROUTES, *annotated(calls.more))
            if (call := calls.of(route.call)) is not None
        }
        self._table = PathTable(place.route for place in self._places.values())
        self._followers: set[asyncio.Task[None]] = set()

    def stop_following(self) -> None:
        """End all streams but watches, which end with the hub."""
        for follower in self._followers:
            follower.cancel()

    def find(self, request: web.BaseRequest) -> Handler | None:
        """What serves the request; None where nothing is at its path. Raises Refused for another method."""
        path = request.rel_url.raw_path
        try:
            found = self._table.find(path)
        except InvalidJob as error:
            return partial(_refuse, error)
        if found is None:
            return None
        methods, values = found
        at = find_method(path, methods, request.method)
        if not isinstance(at, Route):
            return at
        return partial(self._serve_stream if at.is_stream else self._serve, self._places[at.name], values)

    async def _serve(
        self, place: _Place, values: Mapping[str, str], request: web.BaseRequest, caller: Caller
    ) -> web.StreamResponse:
        peer, code = request.remote or "", BROKEN_OFF
        self._gate.enter(peer, time.perf_counter())
        began = time.perf_counter()
        try:
            with self._gate.bodies.hold(peer) as take:
                message = await self._read(place.route, values, request, take)
                response = await place.call(message, caller)
            code = OK
            return encoding_of(request).answer(response)
        except (LimitReached, Refused, Broken):
            raise
        except Exception as error:
            told = _status_of(error, place)
            code = rich_status.name_of(told)
            return rich_answer(told)
        finally:
            self._gate.leave(peer)
            place.meter.note(code, time.perf_counter() - began)

    async def _serve_stream(
        self, place: _Place, values: Mapping[str, str], request: web.BaseRequest, caller: Caller
    ) -> web.StreamResponse:
        peer, code = request.remote or "", BROKEN_OFF
        began = time.perf_counter()

        def describe(error: Exception) -> bytes:
            nonlocal code
            told = _status_of(error, place)
            code = rich_status.name_of(told)
            return rich_status.error_json(told)

        if not place.is_watch:
            self._followers.add(request.task)
        try:
            with self._gate.stream(peer, is_watch=place.is_watch, domain=caller.domain):
                with self._gate.bodies.hold(peer) as take:
                    message = await self._read(place.route, values, request, take)
                _resume(message, request)
                form = streams.EVENTS if _takes_events(request) else streams.LINES
                batches = place.call(message, caller)
                code = OK
                return await streams.send(
                    batches,
                    request,
                    self._hold(request, caller),
                    clock=self._clock,
                    form=form,
                    describe=describe,
                )
        except (LimitReached, Refused, Broken):
            raise
        except Exception as error:
            told = _status_of(error, place)
            code = rich_status.name_of(told)
            return rich_answer(told)
        finally:
            self._followers.discard(request.task)
            place.meter.note(code, time.perf_counter() - began)

    async def _read(
        self, route: Route, values: Mapping[str, str], request: web.BaseRequest, take: Callable[[int], None]
    ) -> Message:
        """The request's message. Raises InvalidJob, LimitReached, Refused."""
        query = request.rel_url.raw_query_string
        if not route.has_body:
            if request.body_exists:
                raise Refused(
                    HTTPStatus.BAD_REQUEST,
                    f"a GET of {route.name} has no body: its fields are parameters of the path and the query",
                    headers={"Connection": "close"},
                )
            return read_parameters(route.request, path=values, query=query)
        read_parameters(route.request, path=values, query=query, takes_query=False)
        try:
            message: Message = await encoding_of(request).read(await self._read_body(request, take), route.request)
        except Unreadable as error:
            raise InvalidJob(str(error), problems=[error.problem] if error.problem else []) from None
        for name, value in values.items():
            setattr(message, name, value)
        return message


def is_below(request: web.BaseRequest) -> bool:
    """Whether the path is one of kusciajob.v1, or would be if there were such a path."""
    path = request.rel_url.raw_path
    return path == _PREFIX or path.startswith(f"{_PREFIX}/")


def _takes_events(request: web.BaseRequest) -> bool:
    """Whether the client asks for server-sent events: any mention of their type, which no other client makes."""
    return any(streams.EVENTS_TYPE in accept.lower() for accept in request.headers.getall("Accept", ()))


def _resume(message: Message, request: web.BaseRequest) -> None:
    """Go on after the last event that the client had, as its browser tells. Raises InvalidJob."""
    last = request.headers.get(LAST_EVENT_ID, "")
    if not last or RESUMED_AFTER not in message.DESCRIPTOR.fields_by_name:
        return
    if not _REVISION.fullmatch(last):
        text = f"header {LAST_EVENT_ID} is {shown(last)}: it must be the id of an event, which is a revision"
        raise InvalidJob(text, problems=[Problem(LAST_EVENT_ID, text)])
    setattr(message, RESUMED_AFTER, int(last))
    message.ClearField("include_existing")  # that was told before the first event with an id


async def _refuse(error: InvalidJob, _: web.BaseRequest, __: Caller) -> web.StreamResponse:
    return rich_answer(rich_status.status_of(error, Code.INVALID_REQUEST))


def _status_of(error: Exception, place: _Place) -> status_pb2.Status:
    if isinstance(error, Unauthenticated):
        return rich_status.status(
            code_pb2.UNAUTHENTICATED, str(error), reason="UNAUTHENTICATED", kuscia_code=Code.NOT_ALLOWED
        )
    return rich_status.status_of(error, place.failed)
