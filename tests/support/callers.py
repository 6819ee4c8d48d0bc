"""Clients as strangers write them: every operation by its name, over plain connections or TLS, with any token."""

import asyncio
import http.client
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2, health_pb2, job_pb2, log_pb2
from tests.support.polling import PATIENCE_SECONDS

CALL_SECONDS = PATIENCE_SECONDS
API = "kuscia.proto.api.v1alpha1.kusciaapi"
GRPC_OPERATIONS = (
    *(
        f"/{service.full_name}/{method.name}"
        for module in (job_pb2, log_pb2, appimage_pb2, health_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ),
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    f"/{API}.JobService/NoSuchMethod",
)
HTTP_OPERATIONS = (
    *(
        f"POST /api/v1/job/{name}"
        for name in (
            "create",
            "query",
            "status/batchQuery",
            "delete",
            "stop",
            "suspend",
            "restart",
            "cancel",
            "approve",
            "watch",
        )
    ),
    *(f"POST /api/v1/appimage/{name}" for name in ("create", "query", "update", "delete", "batchQuery")),
    "POST /api/v1/log/task/query",
    "POST /api/v1/log/node/query",
    "POST /healthZ",
    "GET /healthZ",
    "GET /openapi.json",
    "GET /no/such/path",
)

REFUSED = "refused"
UNAUTHENTICATED = "unauthenticated"
ANSWERED = "answered"
_GRPC_OUTCOMES = {
    grpc.StatusCode.UNAVAILABLE: REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED: ANSWERED,
}
_HTTP_OUTCOMES = {200: ANSWERED, 401: UNAUTHENTICATED, 404: ANSWERED}


class Answer(Struct, frozen=True):
    """What became of a call: REFUSED before it was one, UNAUTHENTICATED, ANSWERED or an error's name; and the words."""

    outcome: str
    text: str


class Caller(Struct, frozen=True):
    """How to connect and who to be. `trusted` is the directory of the authority, None for no TLS at all."""

    trusted: Path | None = None
    identity: Path | None = None
    """The directory of the client certificate."""
    token: str | None = None

    def channel(self, address: str) -> grpc.aio.Channel:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.trusted is None:
            return grpc.aio.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            (self.trusted / "ca.crt").read_bytes(),
            (self.identity / "client.key").read_bytes() if self.identity else None,
            (self.identity / "client.crt").read_bytes() if self.identity else None,
        )
        return grpc.aio.secure_channel(address, credentials, options=options)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        return [] if self.token is None else [("token", self.token)]

    async def call_grpc(self, address: str, operations: Sequence[str] = GRPC_OPERATIONS) -> dict[str, Answer]:
        """Each operation once with an empty request; of a stream only the first message."""
        async with self.channel(address) as channel:
            return {operation: await self._call_grpc(channel, operation) for operation in operations}

    async def _call_grpc(self, channel: grpc.aio.Channel, operation: str) -> Answer:
        call = channel.unary_stream(operation, bytes, bytes)(b"", metadata=self.metadata, timeout=CALL_SECONDS)
        try:
            answer = await call.read()
        except grpc.aio.AioRpcError as error:
            return Answer(_GRPC_OUTCOMES.get(error.code(), error.code().name), f"{error.code()} {error.details()}")
        finally:
            call.cancel()
        return Answer(ANSWERED, repr(answer))

    async def call_http(self, address: str, operations: Sequence[str] = HTTP_OPERATIONS) -> dict[str, Answer]:
        """Each operation once with an empty object; of a stream only the first line."""
        return {operation: await asyncio.to_thread(self._call_http, address, operation) for operation in operations}

    def _call_http(self, address: str, operation: str) -> Answer:
        method, path = operation.split()
        connection = self.connect_http(address)
        headers = {"Content-Type": "application/json"} | ({} if self.token is None else {"Token": self.token})
        try:
            connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
            response = connection.getresponse()
            text = f"{response.status} {response.readline().decode()}"
        except (OSError, http.client.HTTPException) as error:
            return Answer(REFUSED, repr(error))
        finally:
            connection.close()
        return Answer(_HTTP_OUTCOMES.get(response.status, str(response.status)), text)

    def connect_http(self, address: str) -> http.client.HTTPConnection:
        """A connection that is made with the first request."""
        if self.trusted is None:
            return http.client.HTTPConnection(address, timeout=CALL_SECONDS)
        return http.client.HTTPSConnection(address, timeout=CALL_SECONDS, context=self.ssl_context)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        assert self.trusted, "without an authority there is no TLS"
        context = ssl.create_default_context(cafile=self.trusted / "ca.crt")
        if self.identity:
            context.load_cert_chain(self.identity / "client.crt", self.identity / "client.key")
        return context
