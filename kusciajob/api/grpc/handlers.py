"""Registers a servicer with a gRPC server, behind a gate."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from kusciajob.api.decoding import BIG_BYTES, decode_beside, parse_protobuf
from kusciajob.api.gate import Gate, LimitReached, host_of
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.api.routes import WATCH
from kusciajob.wire.bounds import TooManyElements

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
DomainOf: TypeAlias = Callable[[Context], str]
"""Which domain calls; empty for the master."""

OK = "OK"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.name
UNREADABLE = grpc.StatusCode.INVALID_ARGUMENT.name
BROKEN_OFF = "BROKEN_OFF"
"""The client has left, or the call was aborted."""


def generic_handler(
    service: ServiceDescriptor,
    servicer: object,
    gate: Gate,
    uploads: Uploads,
    domain_of: DomainOf = lambda _: "",
) -> "grpc.GenericRpcHandler[Any, Any]":
    """Serve every method by the servicer's coroutine of that name; one that streams writes bytes to the context.

    All are registered as if their requests were streams: gRPC calls such a handler when a call begins, any other only
    when its request is there, however large it is and however long it takes. It is the same on the wire.

    The generated registration fails with UNKNOWN and a stack trace in the log on bytes that are no message; here that
    is INVALID_ARGUMENT.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        call, kind = getattr(servicer, method.name), GetMessageClass(method.input_type)
        if method.server_streaming:
            serve = _stream(call, kind, method.name, gate, uploads, domain_of=domain_of)
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(serve)
        else:
            handlers[method.name] = grpc.stream_unary_rpc_method_handler(_unary(call, kind, method.name, gate, uploads))
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(
    call: Callable[[Any, Context], Awaitable[Any]], kind: type[Message], name: str, gate: Gate, uploads: Uploads
) -> Callable[[object, Context], Awaitable[bytes]]:
    meter, now = gate.meter(name), time.perf_counter

    async def serve(_: object, context: Context) -> bytes:
        began = now()
        peer = context.peer()
        host = host_of(peer)
        code: int | str = BROKEN_OFF
        is_in = False
        try:
            gate.enter(host, began)
            is_in = True
            data = await uploads.receive(context, peer)
            if len(data) > BIG_BYTES:
                with gate.bodies.hold(host) as take:
                    take(len(data))
                    response = await call(await decode_beside(parse_protobuf, data, kind), context)
            else:
                response = await call(kind.FromString(data), context)
            code = response.status.code
            return response.SerializeToString()  # type: ignore[no-any-return]  # a Message or a ReadyResponse
        except (LimitReached, TooManyElements) as error:
            code = EXHAUSTED
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except DecodeError as error:
            code = UNREADABLE
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _unreadable_text(kind, error))
        finally:
            if is_in:
                gate.leave(host)
            meter.note(code, now() - began)

    return serve


def _stream(
    call: Callable[[Any, Context], Awaitable[None]],
    kind: type[Message],
    name: str,
    gate: Gate,
    uploads: Uploads,
    *,
    domain_of: DomainOf,
) -> Callable[[object, Context], Awaitable[None]]:
    meter, now, is_watch = gate.meter(name), time.perf_counter, name == WATCH.name

    async def serve(_: object, context: Context) -> None:
        began, code = now(), BROKEN_OFF
        peer = context.peer()
        host = host_of(peer)
        try:
            with gate.stream(host, is_watch=is_watch, domain=domain_of(context)):
                data = await uploads.receive(context, peer)
                if len(data) > BIG_BYTES:
                    with gate.bodies.hold(host) as take:
                        take(len(data))
                        request = await decode_beside(parse_protobuf, data, kind)
                else:
                    request = kind.FromString(data)
                await call(request, context)
            code = OK
        except (LimitReached, TooManyElements) as error:
            code = EXHAUSTED
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except DecodeError as error:
            code = UNREADABLE
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _unreadable_text(kind, error))
        finally:
            meter.note(code, now() - began)

    return serve


def _unreadable_text(kind: type[Message], error: DecodeError) -> str:
    return f"the message cannot be read as {kind.DESCRIPTOR.name}: {error}"
