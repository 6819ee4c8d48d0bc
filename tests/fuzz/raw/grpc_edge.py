"""The gRPC edge without its sockets: two bytes choose a method and who calls, the rest is the request."""

import asyncio
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct

from kusciajob.api.calls import build_calls
from kusciajob.api.calls.job import MAX_WATCH_SECONDS
from kusciajob.api.calls.v1 import PACKAGE
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc.handlers import generic_handler
from kusciajob.api.grpc.server import SERVICES
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.telemetry.metrics import Metrics
from kusciajob.usecases.callers import MASTER, Caller
from tests.fuzz.raw.contract import check_answer
from tests.fuzz.raw.requests import good_requests
from tests.fuzz.raw.world import World, finish, opened_world

METHODS: tuple[MethodDescriptor, ...] = tuple(
    method for service in SERVICES if service.file.package != PACKAGE for method in service.methods
)
CALLERS = (MASTER, Caller("alice"))
LEAVES_AFTER = 2
"""So many messages of a stream; there is always one more."""
_gate, _ = open_gates(Limits(), Metrics())


class _Details(Struct, frozen=True):
    """How gRPC asks for a handler."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class _Context:
    """What a handler sees of a call."""

    def __init__(self, caller: Caller, request: bytes) -> None:
        self.caller = caller
        self._request = request
        self.code = grpc.StatusCode.OK
        self.written: list[Any] = []

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4711"

    async def read(self) -> bytes:
        return self._request

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, _: object) -> None:
        pass

    async def send_initial_metadata(self, _: object) -> None:
        pass

    async def write(self, message: Any) -> None:
        self.written.append(message)
        if len(self.written) == LEAVES_AFTER:
            raise asyncio.CancelledError

    async def abort(self, code: grpc.StatusCode, details: str, _: object = ()) -> NoReturn:
        assert details
        self.code = code
        raise grpc.aio.AbortError


def run(data: bytes) -> None:
    """An answer of the contract, or INVALID_ARGUMENT for what is no request."""
    method, code, answers = call(data)
    if not _is_possible(method, data[2:]):
        assert (code, answers) == (grpc.StatusCode.INVALID_ARGUMENT, [])
        return
    assert code is grpc.StatusCode.OK
    assert answers
    for answer in answers:
        check_answer(method, answer)


def call(data: bytes) -> tuple[MethodDescriptor, grpc.StatusCode, list[Any]]:
    """The method, how the call ended, and the answers."""
    chosen, caller, *_ = *data[:2], 0, 0
    method = METHODS[chosen % len(METHODS)]
    code, answers = finish(_call(method, data[2:], CALLERS[caller % len(CALLERS)]))
    return method, code, [GetMessageClass(method.output_type).FromString(answer) for answer in answers]


def seeds() -> list[bytes]:
    numbers = {method.name: number for number, method in enumerate(METHODS)}
    return [
        bytes((numbers[name], caller)) + request.SerializeToString()
        for name, request in good_requests()
        for caller in range(len(CALLERS))
    ]


async def _call(method: MethodDescriptor, request: bytes, caller: Caller) -> tuple[grpc.StatusCode, list[bytes]]:
    context = _Context(caller, request)
    async with opened_world() as world:
        handler = _handler(method, world)
        try:
            if method.server_streaming:
                await handler.stream_stream(None, context)
            else:
                context.written.append(await handler.stream_unary(None, context))
        except asyncio.CancelledError:
            assert len(context.written) == LEAVES_AFTER
        except grpc.aio.AbortError:
            assert context.code is not grpc.StatusCode.OK
    return context.code, context.written


def _handler(method: MethodDescriptor, world: World) -> Any:
    service = method.containing_service
    calls = build_calls(world.service, world.output, app_images=world.app_images)
    generic = generic_handler(service, calls, _gate, Uploads(_gate.bodies), _caller_of)
    handler = generic.service(_Details(f"/{service.full_name}/{method.name}"))  # type: ignore[arg-type]
    assert handler is not None
    return handler


def _caller_of(context: Any) -> Caller:
    caller: Caller = context.caller
    return caller


def _is_possible(method: MethodDescriptor, request: bytes) -> bool:
    try:
        message: Any = GetMessageClass(method.input_type).FromString(request)
    except DecodeError:
        return False
    return method.name != "WatchJob" or 0 <= message.timeout_seconds <= MAX_WATCH_SECONDS
