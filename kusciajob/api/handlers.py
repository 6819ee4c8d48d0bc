"""Registers a servicer with a gRPC server, behind a gate."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from kusciajob.api.gate import Gate, LimitReached, host_of
from kusciajob.api.routes import WATCH

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

OK = "OK"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.name
UNREADABLE = grpc.StatusCode.INVALID_ARGUMENT.name
BROKEN_OFF = "BROKEN_OFF"
"""The client has left, or the call was aborted."""


def generic_handler(service: ServiceDescriptor, servicer: object, gate: Gate) -> "grpc.GenericRpcHandler[Any, Any]":
    """Serve every method by the servicer's coroutine of that name; one that streams writes bytes to the context.

    The generated registration serialises messages only, and fails with UNKNOWN and a stack trace in the log on bytes
    that are no message; here that is INVALID_ARGUMENT.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        serve = _stream if method.server_streaming else _unary
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            serve(getattr(servicer, method.name), GetMessageClass(method.input_type), method.name, gate)
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(
    call: Callable[[Any, Context], Awaitable[Any]], kind: type[Message], name: str, gate: Gate
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    meter, now, parse = gate.meter(name), time.perf_counter, kind.FromString

    async def serve(data: bytes, context: Context) -> bytes:
        began = now()
        peer = host_of(context.peer())
        code: int | str = BROKEN_OFF
        try:
            gate.enter(peer, began)
        except LimitReached as error:
            meter.note(EXHAUSTED, now() - began)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        try:
            response = await call(parse(data), context)
            code = response.status.code
            return response.SerializeToString()  # type: ignore[no-any-return]  # a Message or a ReadyResponse
        except DecodeError as error:
            code = UNREADABLE
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _unreadable_text(kind, error))
        finally:
            gate.leave(peer)
            meter.note(code, now() - began)

    return serve


def _stream(
    call: Callable[[Any, Context], Awaitable[None]], kind: type[Message], name: str, gate: Gate
) -> Callable[[bytes, Context], Awaitable[None]]:
    meter, now, is_watch = gate.meter(name), time.perf_counter, name == WATCH.name

    async def serve(data: bytes, context: Context) -> None:
        began, code = now(), BROKEN_OFF
        try:
            with gate.stream(host_of(context.peer()), is_watch=is_watch):
                await call(kind.FromString(data), context)
            code = OK
        except LimitReached as error:
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
