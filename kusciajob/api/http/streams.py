"""Streams over HTTP. Each item is sent at once, whatever the request's encoding, in one of three forms.

Kuscia's own: one JSON object a line, with heartbeats. Those of kusciajob.v1: one JSON object a line, or server-sent
events.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, TypeAlias

from aiohttp import web
from google.protobuf.message import Message
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls.v1 import Told
from kusciajob.api.http.messages import JSON_TYPE
from kusciajob.clock import pause
from kusciajob.contracts import Clock, HubClosed, Published
from kusciajob.model.errors import LogTruncated, StoreFailed
from kusciajob.model.status import JobEvent
from kusciajob.security.errors import Unauthenticated
from kusciajob.telemetry.request import REQUEST_ID, present
from kusciajob.wire import job_status
from kusciajob.wire.json import to_json

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
LINES_TYPE = "application/x-ndjson"
EVENTS_TYPE = "text/event-stream"
RETRY_MILLISECONDS = 1000
"""When a client of server-sent events connects again."""

Hold: TypeAlias = AbstractAsyncContextManager[None]
"""Around all that a stream sends: raises Unauthenticated when what it was opened with is withdrawn."""
Batches: TypeAlias = AsyncGenerator[Sequence[Published | Message | Told], None]


class Form(Struct, frozen=True):
    """How a stream is written."""

    content_type: str
    item: Callable[[Any], bytes]
    begin: bytes = b""
    empty_batch: bytes = b""
    silence: bytes = b""
    """What is sent when nothing else was for HEARTBEAT_SECONDS."""
    end: bytes = b""
    """What is sent at the end of a stream that is whole."""
    error: Callable[[bytes], bytes] = lambda _: b""
    """Of the error with which it breaks off, in JSON."""


def encode_event(event: JobEvent) -> bytes:
    """A WatchJobEventResponse as a line of JSON."""
    return _line(job_status.event_message(event))


def _line(message: Message) -> bytes:
    return to_json(message) + b"\n"


HEARTBEAT = _line(pb.WatchJobEventResponse(type=pb.HEARTBEAT, object=pb.JobStatus()))


def _kuscia_line(item: Any) -> bytes:
    line: bytes = _line(item) if isinstance(item, Message) else item.encoded(encode_event)
    return line


def _line_of(item: Any) -> bytes:
    line: bytes = _line(item) if isinstance(item, Message) else item.to_json() + b"\n"
    return line


def _sent_event(item: Any) -> bytes:
    if isinstance(item, Message):
        return b"data: " + to_json(item) + b"\n\n"
    place = f"id: {item.id}\n" if item.id else ""
    data: bytes = item.to_json()
    return f"{place}event: {item.event}\ndata: ".encode() + data + b"\n\n"


KUSCIA_LINES = Form(JSON_TYPE, _kuscia_line, empty_batch=HEARTBEAT)
LINES = Form(LINES_TYPE, _line_of, error=lambda error: error + b"\n")
EVENTS = Form(
    EVENTS_TYPE,
    _sent_event,
    begin=f"retry: {RETRY_MILLISECONDS}\n\n".encode(),
    silence=b":\n\n",
    end=b"event: end\ndata: {}\n\n",
    error=lambda error: b"event: broken\ndata: " + error + b"\n\n",
)


async def send(
    batches: Batches,
    request: web.BaseRequest,
    hold: Hold,
    *,
    clock: Clock,
    form: Form = KUSCIA_LINES,
    describe: Callable[[Exception], bytes] = lambda _: b"",
) -> web.StreamResponse:
    """Send each item, until there are no more or the client leaves; `describe` makes JSON of what breaks it off.

    Raises what the first batch raises, before anything is sent.

    A client that does not read costs one write buffer: the next item is fetched after the last one was sent.
    """
    async with aclosing(batches):
        await anext(batches)
        async with _stream(request, form, describe) as response, hold:
            if request.method == "HEAD":
                return response
            if form.begin:
                await response.write(form.begin)
            write = response.write
            async with _broken_silence(response, form, clock) as note:
                async for batch in batches:
                    for item in batch:
                        await write(form.item(item))
                    if not batch and form.empty_batch:
                        await write(form.empty_batch)
                    note()
            if form.end:
                await write(form.end)
    return response


@asynccontextmanager
async def _broken_silence(response: web.StreamResponse, form: Form, clock: Clock) -> AsyncIterator[Callable[[], None]]:
    """Write the form's sign of life in long pauses, where it has one. Call what this gives after something was sent."""
    if not form.silence:
        yield lambda: None
        return
    last = clock.monotonic()

    def note() -> None:
        nonlocal last
        last = clock.monotonic()

    async def speak() -> None:
        while True:
            await pause(max(0.0, last + HEARTBEAT_SECONDS - clock.monotonic()), clock=clock)
            if clock.monotonic() >= last + HEARTBEAT_SECONDS:
                with suppress(ConnectionError):  # the stream itself notices
                    await response.write(form.silence)
                note()

    speaking = asyncio.create_task(speak(), name="silence of a stream")
    try:
        yield note
    finally:
        speaking.cancel()
        await asyncio.wait([speaking])


@asynccontextmanager
async def _stream(
    request: web.BaseRequest, form: Form, describe: Callable[[Exception], bytes]
) -> AsyncIterator[web.StreamResponse]:
    """A response whose head is sent. It breaks off where it would leave a hole, so that the client asks again."""
    headers = {"Content-Type": form.content_type, "Cache-Control": "no-cache", REQUEST_ID: present().id}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        yield response
    except (HubClosed, ConnectionError):
        pass  # the server stops, or the client has gone
    except Exception as error:
        if isinstance(error, LogTruncated | StoreFailed | Unauthenticated):
            logger.warning("broke off a stream to %s: %s", request.remote, error)
        elif form is KUSCIA_LINES:  # else `describe` logs it
            logger.exception("broke off a stream to %s", request.remote)
        if told := form.error(describe(error)):
            with suppress(ConnectionError):
                await response.write(told)
        _break_off(request)


def _break_off(request: web.BaseRequest) -> None:
    """Close without the last chunk: that tells the client that the stream is incomplete."""
    if request.transport is not None:
        request.transport.close()
