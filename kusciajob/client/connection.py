"""A connection to a job server: Kuscia's stubs, with every failure as an exception."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import (
    health_pb2,
    health_pb2_grpc,
    job_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
)
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import app_images_pb2_grpc, jobs_pb2_grpc, server_pb2_grpc
from kusciajob.security.tls import CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY
from kusciajob.security.tokens import MASTER_FILE, read_token
from kusciajob.wire.rich_status import CODE_KEY, DETAILS_KEY

CALL_SECONDS = 60.0
CONNECT_SECONDS = 10.0
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class ClientError(Exception):
    """Base of the errors of a call; `str(error)` is fit for a user's eyes."""


class CallFailed(ClientError):
    """The server answered a call with an error code of Kuscia's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message


class RpcFailed(ClientError):
    """gRPC ended a call with an error of its own, not with one of Kuscia's codes."""


class NotOffered(RpcFailed):
    """The server does not have this call."""


class NotKnown(RpcFailed):
    """The server accepts neither this caller's token nor its withdrawn certificate, or there is no token."""


class Unreachable(ClientError):
    """No server answers at the address, or the connection was lost."""

    def __init__(self, address: str, details: str) -> None:
        super().__init__(f"no job server can be reached at {address}: {details}")
        self.address = address
        self.details = details


def tls_credentials(directory: Path, token_file: Path | None = None) -> grpc.ChannelCredentials:
    """The certificates and the token in a directory made by `kusciajob init`, or another token.

    Raises OSError; SecurityError if a file holds no token.
    """
    certificate = directory / CLIENT_CERTIFICATE
    has_certificate = certificate.exists()  # tls, unlike mtls, needs none
    token = read_token(token_file_of(directory, token_file))
    channel = grpc.ssl_channel_credentials(
        root_certificates=(directory / CA_CERTIFICATE).read_bytes(),
        private_key=(directory / CLIENT_KEY).read_bytes() if has_certificate else None,
        certificate_chain=certificate.read_bytes() if has_certificate else None,
    )

    def add_token(_: grpc.AuthMetadataContext, done: grpc.AuthMetadataPluginCallback) -> None:
        done((("token", token),), None)

    return grpc.composite_channel_credentials(channel, grpc.metadata_call_credentials(add_token))  # type: ignore[arg-type]


def token_file_of(directory: Path, token_file: Path | None = None) -> Path:
    """The file of the token for calls."""
    return token_file or directory / MASTER_FILE


class Connection:
    """`async with` opens the channel; it connects with the first call."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._address = address
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
        self.jobs = job_pb2_grpc.JobServiceStub(self._channel)
        self.logs = log_pb2_grpc.LogServiceStub(self._channel)
        self.health = health_pb2_grpc.HealthServiceStub(self._channel)
        self.v1 = jobs_pb2_grpc.JobsServiceStub(self._channel)
        self.app_images = app_images_pb2_grpc.AppImagesServiceStub(self._channel)
        self.server = server_pb2_grpc.ServerServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)

    async def call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        """The response of a successful call. Raises CallFailed, RpcFailed, Unreachable."""
        try:
            response = await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error) from None
        _check(response.status)  # type: ignore[attr-defined]  # every response of Kuscia's has one
        return response

    async def ask(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        """The response to a call of kusciajob.v1. Raises CallFailed, NotOffered, RpcFailed, Unreachable."""
        try:
            return await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error) from None

    async def pages(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncIterator[_Response]:
        """The pages of a list of kusciajob.v1, from the request's on. Raises as `ask`."""
        page: Any
        asked: Any = request
        while True:
            page = await self.ask(method, asked)
            yield page
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def stream(
        self, method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncIterator[_Response]:
        """The messages of a stream of kusciajob.v1. Raises as `ask`."""
        try:
            async for message in method(request):
                yield message
        except grpc.aio.AioRpcError as error:
            raise self._translate(error) from None

    async def watch(self) -> AsyncIterator[pb.WatchJobEventResponse]:
        """Every job as ADDED, then each change, without end. Raises RpcFailed, Unreachable."""
        try:
            async for event in self.jobs.WatchJob(pb.WatchJobRequest()):
                yield event
        except grpc.aio.AioRpcError as error:
            raise self._translate(error) from None

    async def read_log(self, task_id: str, *, domain: str = "", follow: bool = False) -> AsyncIterator[str]:
        """What the task's party in that domain (empty: its first party) writes. CallFailed, RpcFailed, Unreachable."""
        header = common_pb2.RequestHeader(custom_headers={"domain": domain} if domain else {})
        request = log_pb2.QueryLogRequest(header=header, task_id=task_id, follow=follow)
        try:
            async for response in self.logs.QueryLog(request):
                _check(response.status)
                yield response.log
        except grpc.aio.AioRpcError as error:
            raise self._translate(error) from None

    async def is_serving(self) -> bool:
        """Whether the server can do its work. Raises CallFailed, RpcFailed, Unreachable."""
        return (await self.call(self.health.healthZ, health_pb2.HealthRequest())).data.ready

    async def wait_ready(self) -> None:
        """Connect now. Unreachable when the first attempt fails or takes longer than CONNECT_SECONDS."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise Unreachable(self._address, "it does not accept connections")
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state()
        except TimeoutError:
            raise Unreachable(self._address, f"no connection within {CONNECT_SECONDS:g} seconds") from None

    def _translate(self, error: grpc.aio.AioRpcError) -> ClientError:
        code, details = error.code(), error.details() or "no details given"
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                return Unreachable(self._address, details)
            case grpc.StatusCode.UNAUTHENTICATED:
                return NotKnown(f"{details} (gRPC {code.name})")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return RpcFailed(f"the server at {self._address} did not answer within {CALL_SECONDS:g} seconds")
            case grpc.StatusCode.UNIMPLEMENTED:
                return NotOffered(f"the server at {self._address} does not offer this operation (gRPC UNIMPLEMENTED)")
        if kuscia_code := _kuscia_code(error):
            return CallFailed(kuscia_code, details)
        return RpcFailed(f"{details} (gRPC {code.name})")


def _kuscia_code(error: grpc.aio.AioRpcError) -> int:
    """Kuscia's code in the details of an error of kusciajob.v1; 0 where there is none."""
    status = status_pb2.Status()
    metadata: Any = error.trailing_metadata() or ()
    details = dict(metadata).get(DETAILS_KEY)
    if isinstance(details, bytes):
        status.ParseFromString(details)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.metadata[CODE_KEY].isdigit():
            return int(info.metadata[CODE_KEY])
    return 0


def _check(status: common_pb2.Status) -> None:
    if status.code:
        raise CallFailed(status.code, status.message)
