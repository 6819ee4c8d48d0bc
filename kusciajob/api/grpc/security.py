"""TLS and tokens on the gRPC port."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from google.rpc import code_pb2

from kusciajob.api.gate import host_of
from kusciajob.api.grpc import requests
from kusciajob.api.grpc.endings import End, end_with, is_rich
from kusciajob.security.delays import FailureDelays
from kusciajob.security.errors import Unauthenticated
from kusciajob.security.guard import Guard
from kusciajob.security.tls import ServerTls
from kusciajob.usecases.callers import Caller
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code

logger = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

TOKEN_METADATA = "token"  # noqa: S105  # its name, not its value

_present_caller: ContextVar[Caller] = ContextVar("caller")


def caller_of(_: object) -> Caller:
    """Who makes the call that is being served, as TokenCheck has found."""
    return _present_caller.get()


class TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses every call without a known token, also to reflection and health."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        try:
            domain = self._guard.identify(_token_in(handler_call_details.invocation_metadata))
        except Unauthenticated as error:
            return _refusal(handler_call_details.method, str(error), self._guard.delays)
        _present_caller.set(Caller(domain))  # each call is served by a task of its own
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.response_streaming:
            return self._held(handler, domain, handler_call_details)
        if not self._guard.has_lost_authority:
            return handler
        return self._looked_at(handler, handler_call_details.method)

    def _held(self, handler: Any, domain: str, details: Any) -> Any:
        """Streams that end when their token or authority is withdrawn."""
        serve = handler.stream_stream if handler.request_streaming else handler.unary_stream
        token = _token_in(details.invocation_metadata)

        async def stream(request: Any, context: Context) -> None:
            try:
                async with self._guard.hold(domain, token, _certificate_in(context)):
                    answers = serve(request, context)
                    if not inspect.isasyncgen(answers):
                        await answers
                        return
                    async for answer in answers:
                        await context.write(answer)
            except Unauthenticated as error:
                await requests.begin(context, is_stream=True)
                logger.warning("ended a gRPC stream to %s: %s", context.peer(), error)
                await context.abort(*_end_of(details.method, str(error)))

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(stream, handler.request_deserializer, handler.response_serializer)

    def _looked_at(self, handler: Any, method: str) -> Any:
        """Calls whose certificate is checked again: their connection may be older than the authorities in force."""
        serve = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def call(request: Any, context: Context) -> Any:
            try:
                self._guard.check_certificate(_certificate_in(context))
            except Unauthenticated as error:
                await requests.begin(context)
                logger.warning("refused a gRPC call from %s: %s", context.peer(), error)
                await context.abort(*_end_of(method, str(error)))
            return await serve(request, context)

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(call, handler.request_deserializer, handler.response_serializer)


def server_credentials(guard: Guard) -> grpc.ServerCredentials:
    """The guard's TLS. A new connection gets the certificates in force at that time."""
    used = guard.tls

    def fetch_changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if guard.tls is used:
            return None
        used = guard.tls
        return _configuration(used)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        fetch_changed,  # type: ignore[arg-type]  # None means unchanged; the stubs do not know
        require_client_authentication=guard.requires_client_certificate,
    )


def _configuration(tls: ServerTls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate_chain)], root_certificates=tls.client_ca
    )


def _certificate_in(context: Context) -> bytes:
    """The client's certificate, PEM; empty where the protocol asks for none."""
    certificate: bytes = next(iter(context.auth_context().get("x509_pem_cert", ())), b"")
    return certificate


def _token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str | bytes | None:
    return next((value for key, value in metadata if key == TOKEN_METADATA), None)


def _end_of(method: str, text: str) -> End:
    """The end of a call of somebody unknown."""
    if not is_rich(method):
        return grpc.StatusCode.UNAUTHENTICATED, text, ()
    told = rich_status.status(code_pb2.UNAUTHENTICATED, text, reason="UNAUTHENTICATED", kuscia_code=Code.NOT_ALLOWED)
    return end_with(told)


def _refusal(method: str, text: str, delays: FailureDelays) -> Any:
    """Serves a call of any kind: a handler of streams is called before anything of the request is read."""

    async def refuse(_: object, context: Context) -> NoReturn:
        await requests.begin(context, is_stream=True)
        await delays.hold(host_of(context.peer()))
        logger.warning("refused a gRPC call from %s: %s", context.peer(), text)
        await context.abort(*_end_of(method, text))
        raise AssertionError("abort raises")

    return grpc.stream_stream_rpc_method_handler(refuse)
