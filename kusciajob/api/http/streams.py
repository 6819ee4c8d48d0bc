"""Answers over HTTP that go on: one JSON object a line, as soon as it is there, whatever the request's encoding."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import web
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.grpc.servicers import MAX_WATCH_SECONDS
from kusciajob.api.http.messages import JSON_TYPE, Refused
from kusciajob.contracts import HubClosed, WatchStream
from kusciajob.model.errors import LogTruncated, StoreFailed
from kusciajob.model.status import JobEvent
from kusciajob.security.errors import Unauthenticated
from kusciajob.usecases.jobs import Caller, JobService
from kusciajob.wire import job_status
from kusciajob.wire.json import to_json

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0

Hold: TypeAlias = AbstractAsyncContextManager[None]
"""Around all that a stream sends: raises Unauthenticated when what it was opened with is withdrawn."""


def encode_event(event: JobEvent) -> bytes:
    """A WatchJobEventResponse as a line of JSON."""
    return _line(pb.WatchJobEventResponse.FromString(job_status.encode_event(event)))


def _line(message: Message) -> bytes:
    return to_json(message) + b"\n"


HEARTBEAT = _line(pb.WatchJobEventResponse(type=pb.HEARTBEAT, object=pb.JobStatus()))


async def watch(
    service: JobService, watching: pb.WatchJobRequest, request: web.BaseRequest, caller: Caller, hold: Hold
) -> web.StreamResponse:
    """WatchJob: until the client leaves, `timeout_seconds` are over or the server stops. Refused.

    A client that does not read costs one write buffer: no event is fetched before those before it are on their way.
    """
    seconds = watching.timeout_seconds
    if not 0 <= seconds <= MAX_WATCH_SECONDS:
        raise Refused(
            HTTPStatus.BAD_REQUEST, f"timeout_seconds {seconds} is out of range: 0 (no limit) to {MAX_WATCH_SECONDS}"
        )
    deadline = time.monotonic() + (seconds or float("inf"))
    async with _stream(request) as response, hold, service.watch(caller, form=encode_event) as events:
        await _send(events, response, deadline)
    return response


async def send_lines(messages: AsyncIterator[Message], request: web.BaseRequest, hold: Hold) -> web.StreamResponse:
    """Each message as a line."""
    async with _stream(request) as response, hold:
        async for message in messages:
            await response.write(_line(message))
    return response


async def _send(events: WatchStream, response: web.StreamResponse, deadline: float) -> None:
    now = last_sent = time.monotonic()
    while now < deadline:
        # Can come back early and empty: what the caller may not see is left out.
        batch = await events.read(max(0, min(deadline, last_sent + HEARTBEAT_SECONDS) - now))
        for published in batch:
            await response.write(published.encoded(encode_event))
        now = time.monotonic()
        is_idle = not batch and now >= last_sent + HEARTBEAT_SECONDS
        if is_idle:
            await response.write(HEARTBEAT)
        if batch or is_idle:
            last_sent = now


@asynccontextmanager
async def _stream(request: web.BaseRequest) -> AsyncIterator[web.StreamResponse]:
    """A response whose head is sent. It breaks off where it would leave a hole, so that the client asks again."""
    response = web.StreamResponse(headers={"Content-Type": JSON_TYPE, "Cache-Control": "no-cache"})
    await response.prepare(request)
    try:
        yield response
    except (HubClosed, ConnectionError):
        pass  # the server stops, or the client has gone
    except (LogTruncated, StoreFailed, Unauthenticated) as error:
        logger.warning("broke off a stream to %s: %s", request.remote, error)
        _break_off(request)
    except Exception:
        logger.exception("broke off a stream to %s", request.remote)
        _break_off(request)


def _break_off(request: web.BaseRequest) -> None:
    """Close without the last chunk, by which the client knows that there was more."""
    if request.transport is not None:
        request.transport.close()
