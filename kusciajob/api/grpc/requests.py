"""The id and the trace of a gRPC call, from its metadata and in those of its answer."""

from typing import Any, TypeAlias

import grpc.aio

from kusciajob.telemetry import request
from kusciajob.telemetry.request import REQUEST_ID, TRACEPARENT

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def begin(context: Context, *, is_stream: bool = False) -> None:
    """Note what the call brings, unless that is done; its id is in the answer's metadata.

    A client that gives an id, or gets a stream, has it at the beginning of the answer. Others, who look for it in case
    of need, have it at the end: metadata that are sent by themselves would cost each call a tenth of its time.
    """
    if request.present().id:  # each call is served by a task of its own
        return
    known: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if name in (REQUEST_ID, TRACEPARENT) and isinstance(value, str):
            known[name] = value
    given_id = known.get(REQUEST_ID)
    metadata = ((REQUEST_ID, request.begin(given_id, known.get(TRACEPARENT)).id),)
    if given_id is not None and not is_stream:
        await context.send_initial_metadata(metadata)
    else:
        context.set_trailing_metadata(metadata)


def answer_metadata() -> tuple[tuple[str, str], ...]:
    """What the answer to the call that is being served begins with."""
    return ((REQUEST_ID, request.present().id),)
