"""Registers the calls with a gRPC server, behind a gate."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from kusciajob.api.broken import Broken
from kusciajob.api.calls import ServedCalls, StreamCall, UnaryCall
from kusciajob.api.calls.v1 import Told, is_v1
from kusciajob.api.decoding import BIG_BYTES, decode_beside, parse_protobuf
from kusciajob.api.gate import Gate, host_of
from kusciajob.api.grpc import requests
from kusciajob.api.grpc.endings import OK, Ending, KusciaEnding, RichEnding
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.api.routes import WATCHES
from kusciajob.contracts import Published
from kusciajob.usecases.callers import MASTER, Caller

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
CallerOf: TypeAlias = Callable[[Context], Caller]

BROKEN_OFF = "BROKEN_OFF"
"""The client has left, or the call was aborted."""


def generic_handler(
    service: ServiceDescriptor,
    calls: ServedCalls,
    gate: Gate,
    uploads: Uploads,
    caller_of: CallerOf = lambda _: MASTER,
) -> "grpc.GenericRpcHandler[Any, Any]":
    """Serve every method by the call of that name.

    All are registered as if their requests were streams: such a handler is called when a call begins. Any other is
    called once the whole request is there, however large it is and however long that takes. On the wire it is the same.

    The generated registration fails with UNKNOWN and a stack trace in the log on bytes that are no message; here that
    is INVALID_ARGUMENT.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        call = calls.of(method)
        if call is None:  # UNIMPLEMENTED, by gRPC
            continue
        ending: Ending = RichEnding(method) if is_v1(service.file.package) else KusciaEnding(method)
        if method.server_streaming:
            stream = _stream(call, ending, gate, uploads, caller_of=caller_of)
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(stream)
        else:
            unary = _unary(call, ending, gate, uploads, caller_of=caller_of)
            handlers[method.name] = grpc.stream_unary_rpc_method_handler(unary)
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(
    call: UnaryCall, ending: Ending, gate: Gate, uploads: Uploads, *, caller_of: CallerOf
) -> Callable[[object, Context], Awaitable[bytes]]:
    meter, now, kind = gate.meter(ending.name), time.perf_counter, ending.kind
    errors, code_of = ending.call_errors, ending.code_of

    async def serve(_: object, context: Context) -> bytes:
        began = now()
        peer = context.peer()
        host = host_of(peer)
        code: int | str = BROKEN_OFF
        is_in = False
        try:
            await requests.begin(context)
            gate.enter(host, began)
            is_in = True
            data = await uploads.receive(context, peer)
            if len(data) > BIG_BYTES:
                with gate.bodies.hold(host) as take:
                    take(len(data))
                    response = await call(await decode_beside(parse_protobuf, data, kind), caller_of(context))
            else:
                response = await call(kind.FromString(data), caller_of(context))
            code = code_of(response)
            return response.SerializeToString()  # type: ignore[no-any-return]  # a Message or an EncodedResponse
        except errors as error:
            status, text, metadata = ending.end_of(error)
            code = status.name
            if isinstance(error, Broken) and error.cuts:
                uploads.hang_up(peer)
            await context.abort(status, text, metadata)
        finally:
            if is_in:
                gate.leave(host)
            meter.note(code, now() - began)

    return serve


def _stream(
    call: StreamCall, ending: Ending, gate: Gate, uploads: Uploads, *, caller_of: CallerOf
) -> Callable[[object, Context], Awaitable[None]]:
    meter, now, kind = gate.meter(ending.name), time.perf_counter, ending.kind
    is_watch = ending.name in WATCHES

    async def serve(_: object, context: Context) -> None:
        began, code = now(), BROKEN_OFF
        peer, caller = context.peer(), caller_of(context)
        host = host_of(peer)
        try:
            await requests.begin(context, is_stream=True)
            with gate.stream(host, is_watch=is_watch, domain=caller.domain):
                data = await uploads.receive(context, peer)
                if len(data) > BIG_BYTES:
                    with gate.bodies.hold(host) as take:
                        take(len(data))
                        request = await decode_beside(parse_protobuf, data, kind)
                else:
                    request = kind.FromString(data)
                await _send(call(request, caller), ending.data_of, context)
            code = OK
        except ending.stream_errors as error:
            status, text, metadata = ending.end_of(error)
            code = status.name
            if isinstance(error, Broken) and error.cuts:
                uploads.hang_up(peer)
            await context.abort(status, text, metadata)
        finally:
            meter.note(code, now() - began)

    return serve


async def _send(
    batches: AsyncGenerator[Sequence[Published | Message | Told], None],
    data_of: Callable[[Any], bytes],
    context: Context,
) -> None:
    async with aclosing(batches):
        await anext(batches)
        # Headers before any message: they tell the client that from now on it misses nothing.
        await context.send_initial_metadata(requests.answer_metadata())
        async for batch in batches:
            for item in batch:
                await context.write(data_of(item))
