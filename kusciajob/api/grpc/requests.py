"""The id and the trace of a gRPC call, from its metadata and in those of its answer."""

from typing import Any, TypeAlias

import grpc.aio

from kusciajob.api.gate import host_of
from kusciajob.telemetry import request
from kusciajob.telemetry.request import REQUEST_ID, TRACEPARENT

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def begin(context: Context, *, is_stream: bool = False) -> None:
    """Note the call's id and trace, once, and put its id into the answer's metadata.

    If the client sent an id, or the answer is a stream, the id is in the initial metadata. Else it is in the trailing
    metadata: sending initial metadata separately would make each call a tenth slower.
    """
    if request.present().id:  # each call is served by a task of its own
        return
    known: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if name in (REQUEST_ID, TRACEPARENT) and isinstance(value, str):
            known[name] = value
    given_id = known.get(REQUEST_ID)
    begun = request.begin(given_id, known.get(TRACEPARENT), peer=host_of(context.peer()))
    metadata = ((REQUEST_ID, begun.id),)
    if given_id is not None and not is_stream:
        await context.send_initial_metadata(metadata)
    else:
        context.set_trailing_metadata(metadata)


def answer_metadata() -> tuple[tuple[str, str], ...]:
    """The initial metadata of the present call's answer."""
    return ((REQUEST_ID, request.present().id),)
