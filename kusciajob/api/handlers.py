"""Registers a servicer with a gRPC server, behind a gate; a response may also be bytes that are serialised already."""

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
BROKEN_OFF = "BROKEN_OFF"
"""The client has left, or the call was aborted."""


def generic_handler(service: ServiceDescriptor, servicer: object, gate: Gate) -> "grpc.GenericRpcHandler[Any, Any]":
    """Serve every method by the servicer's coroutine of that name; one that streams writes to the context.

    The generated registration serialises messages only, and fails with UNKNOWN and a stack trace in the log on bytes
    that are no message; here that is INVALID_ARGUMENT.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        call = getattr(servicer, method.name)
        if method.server_streaming:
            make, serve = grpc.unary_stream_rpc_method_handler, _stream(call, method.name, gate)
        else:
            make, serve = grpc.unary_unary_rpc_method_handler, _unary(call, method.name, gate)
        handlers[method.name] = make(
            _reading(GetMessageClass(method.input_type), serve),
            response_serializer=_serialize,
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(call: Callable[[Any, Context], Awaitable[Any]], name: str, gate: Gate) -> Callable[..., Awaitable[Any]]:
    meter, quota, now = gate.meter(name), gate.calls, time.perf_counter

    async def serve(request: Any, context: Context) -> Any:
        began = now()
        peer = host_of(context.peer())
        try:
            quota.take(peer)
        except LimitReached as error:
            meter.note(EXHAUSTED, now() - began)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        code: int | str = BROKEN_OFF
        try:
            response = await call(request, context)
            code = response.status.code
        finally:
            quota.give_back(peer)
            meter.note(code, now() - began)
        return response

    return serve


def _stream(call: Callable[[Any, Context], Awaitable[None]], name: str, gate: Gate) -> Callable[..., Awaitable[None]]:
    meter, now, is_watch = gate.meter(name), time.perf_counter, name == WATCH.name

    async def serve(request: Any, context: Context) -> None:
        began, code = now(), BROKEN_OFF
        try:
            with gate.stream(host_of(context.peer()), is_watch=is_watch):
                await call(request, context)
            code = OK
        except LimitReached as error:
            code = EXHAUSTED
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            meter.note(code, now() - began)

    return serve


def _reading(kind: type[Message], serve: Callable[..., Awaitable[Any]]) -> Callable[[bytes, Context], Awaitable[Any]]:
    """The same behaviour on the bytes of a request."""

    async def read_and_serve(data: bytes, context: Context) -> Any:
        try:
            request = kind.FromString(data)
        except DecodeError as error:
            text = f"the message cannot be read as {kind.DESCRIPTOR.name}: {error}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        return await serve(request, context)

    return read_and_serve


def _serialize(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
