"""Streams over HTTP: one JSON object a line, sent at once, whatever the request's encoding."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TypeAlias

from aiohttp import web
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.http.messages import JSON_TYPE
from kusciajob.contracts import HubClosed, Published
from kusciajob.model.errors import LogTruncated, StoreFailed
from kusciajob.model.status import JobEvent
from kusciajob.security.errors import Unauthenticated
from kusciajob.telemetry.request import REQUEST_ID, present
from kusciajob.wire import job_status
from kusciajob.wire.json import to_json

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0

Hold: TypeAlias = AbstractAsyncContextManager[None]
"""Around all that a stream sends: raises Unauthenticated when what it was opened with is withdrawn."""


def encode_event(event: JobEvent) -> bytes:
    """A WatchJobEventResponse as a line of JSON."""
    return _line(job_status.event_message(event))


def _line(message: Message) -> bytes:
    return to_json(message) + b"\n"


HEARTBEAT = _line(pb.WatchJobEventResponse(type=pb.HEARTBEAT, object=pb.JobStatus()))


async def send(
    batches: AsyncGenerator[Sequence[Published | Message], None], request: web.BaseRequest, hold: Hold
) -> web.StreamResponse:
    """Send each item as a line, and an empty batch as a heartbeat, until there are no more or the client leaves.

    Raises InvalidWatch, HubClosed before anything is sent.

    A client that does not read costs one write buffer: the next item is fetched after the last one was sent.
    """
    async with aclosing(batches):
        await anext(batches)
        async with _stream(request) as response, hold:
            async for batch in batches:
                for item in batch:
                    await response.write(_line(item) if isinstance(item, Message) else item.encoded(encode_event))
                if not batch:
                    await response.write(HEARTBEAT)
    return response


@asynccontextmanager
async def _stream(request: web.BaseRequest) -> AsyncIterator[web.StreamResponse]:
    """A response whose head is sent. It breaks off where it would leave a hole, so that the client asks again."""
    headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-cache", REQUEST_ID: present().id}
    response = web.StreamResponse(headers=headers)
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
    """Close without the last chunk: that tells the client that the stream is incomplete."""
    if request.transport is not None:
        request.transport.close()
