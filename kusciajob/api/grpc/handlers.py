"""Registers the calls with a gRPC server, behind a gate."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from kusciajob.api.calls import Calls, StreamCall, UnaryCall
from kusciajob.api.calls.job import InvalidWatch
from kusciajob.api.decoding import BIG_BYTES, decode_beside, parse_protobuf
from kusciajob.api.gate import Gate, LimitReached, host_of
from kusciajob.api.grpc import requests
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.api.routes import WATCH
from kusciajob.contracts import HubClosed, Published
from kusciajob.model.errors import LogTruncated, StoreDamaged, StoreFailed
from kusciajob.usecases.jobs import MASTER, Caller
from kusciajob.wire.bounds import TooManyElements
from kusciajob.wire.job_status import encode_event

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
CallerOf: TypeAlias = Callable[[Context], Caller]

OK = "OK"
BROKEN_OFF = "BROKEN_OFF"
"""The client has left, or the call was aborted."""


def generic_handler(
    service: ServiceDescriptor,
    calls: Calls,
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
        call, kind = calls.of(method), GetMessageClass(method.input_type)
        if method.server_streaming:
            stream = _stream(call, kind, method.name, gate, uploads, caller_of=caller_of)
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(stream)
        else:
            unary = _unary(call, kind, method.name, gate, uploads, caller_of=caller_of)
            handlers[method.name] = grpc.stream_unary_rpc_method_handler(unary)
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(
    call: UnaryCall, kind: type[Message], name: str, gate: Gate, uploads: Uploads, *, caller_of: CallerOf
) -> Callable[[object, Context], Awaitable[bytes]]:
    meter, now = gate.meter(name), time.perf_counter

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
            code = response.status.code
            return response.SerializeToString()  # type: ignore[no-any-return]  # a Message or an EncodedResponse
        except (LimitReached, TooManyElements, DecodeError) as error:
            status, text = _refusal(error, kind)
            code = status.name
            await context.abort(status, text)
        finally:
            if is_in:
                gate.leave(host)
            meter.note(code, now() - began)

    return serve


def _stream(
    call: StreamCall, kind: type[Message], name: str, gate: Gate, uploads: Uploads, *, caller_of: CallerOf
) -> Callable[[object, Context], Awaitable[None]]:
    meter, now, is_watch = gate.meter(name), time.perf_counter, name == WATCH.name

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
                await _send(call(request, caller), context)
            code = OK
        except (LimitReached, TooManyElements, DecodeError) as error:
            status, text = _refusal(error, kind)
            code = status.name
            await context.abort(status, text)
        except (InvalidWatch, HubClosed, LogTruncated, StoreFailed) as error:
            await context.abort(*_end_of(error))
        finally:
            meter.note(code, now() - began)

    return serve


async def _send(batches: AsyncGenerator[Sequence[Published | Message], None], context: Context) -> None:
    async with aclosing(batches):
        await anext(batches)
        # Headers before any message: they tell the client that from now on it misses nothing.
        await context.send_initial_metadata(requests.answer_metadata())
        async for batch in batches:
            for item in batch:
                data = item.SerializeToString() if isinstance(item, Message) else item.encoded(encode_event)
                await context.write(data)


def _end_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status of a stream that cannot go on, and what the client can do."""
    match error:
        case InvalidWatch():
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)
        case HubClosed():
            return grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again to go on"
        case LogTruncated():
            return grpc.StatusCode.OUT_OF_RANGE, (
                f"this watcher fell too far behind: {error}: connect again for the present state of every job"
            )
        case StoreDamaged():
            return grpc.StatusCode.DATA_LOSS, str(error)
    return grpc.StatusCode.UNAVAILABLE, f"the store cannot be read: {error}"


def _refusal(error: Exception, kind: type[Message]) -> tuple[grpc.StatusCode, str]:
    """The status of a call whose request is not served, and why."""
    if isinstance(error, DecodeError):
        return grpc.StatusCode.INVALID_ARGUMENT, f"the message cannot be read as {kind.DESCRIPTOR.name}: {error}"
    return grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
