"""The gRPC edge: services, reflection, health, limits."""

import asyncio

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2, job_pb2, log_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2 as kuscia_health_pb2
from kusciajob.api.calls import ServedCalls
from kusciajob.api.gate import Gate
from kusciajob.api.grpc.handlers import Context, generic_handler
from kusciajob.api.grpc.reflection import serve_reflection
from kusciajob.api.grpc.security import TokenCheck, caller_of, server_credentials
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.api.http.connections import ConnectionLimits
from kusciajob.api.routes import V1_SERVICES
from kusciajob.security.guard import Guard
from kusciajob.usecases.callers import MASTER, Caller

JOB_SERVICE = job_pb2.DESCRIPTOR.services_by_name["JobService"]
LOG_SERVICE = log_pb2.DESCRIPTOR.services_by_name["LogService"]
HEALTH_SERVICE = kuscia_health_pb2.DESCRIPTOR.services_by_name["HealthService"]
APP_IMAGE_SERVICE = appimage_pb2.DESCRIPTOR.services_by_name["AppImageService"]
SERVICES = (JOB_SERVICE, LOG_SERVICE, APP_IMAGE_SERVICE, HEALTH_SERVICE, *V1_SERVICES)
STOP_GRACE_SECONDS = 5.0
HANDSHAKE_MILLISECONDS = 10_000
"""How long a new connection may take until it is one of HTTP/2, TLS included."""
IDLE_MILLISECONDS = 600_000
"""A connection without a call is closed after so long; clients make a new one by themselves."""
ASK_MILLISECONDS = 60_000
"""A client of which nothing came for so long is asked whether it is still there, also while its watch is silent."""
PRESENT_MILLISECONDS = 120_000
"""Without an answer by then it has vanished: its connection is closed, and its calls and streams count no more.

One that only reads nothing for a while answers late. By gRPC's default, a minute, it would be gone sooner.
"""
PING_MILLISECONDS = 10_000
"""So often a client may ask whether an idle connection lives. By gRPC's default, 5 minutes, it would be sent away."""
NO_LIMIT = 2**31 - 2
"""One more and gRPC ends the process."""


class AddressInUse(Exception):
    """The server cannot listen on the address."""


class GrpcServer:
    """Serves the job API on one address; without a guard every caller is the master."""

    def __init__(
        self,
        calls: ServedCalls,
        *,
        gate: Gate,
        max_message_bytes: int,
        guard: Guard | None = None,
        connections: ConnectionLimits | None = None,
    ) -> None:
        self._calls = calls
        self._services = (*SERVICES, *calls.more)
        connections = connections or ConnectionLimits()
        self._uploads = Uploads(gate.bodies, connections_per_peer=connections.per_peer)
        gate.connections = self._uploads.connections
        self._watch: asyncio.Task[None] | None = None
        # gRPC calls back into the credentials but does not keep them alive.
        self._credentials = server_credentials(guard) if guard else None
        caller = caller_of if guard else _master
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
        self._server = grpc.aio.server(
            interceptors=[TokenCheck(guard)] if guard else (),
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # else a second server could share the port unnoticed
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MILLISECONDS),
                ("grpc.max_connection_idle_ms", IDLE_MILLISECONDS),
                ("grpc.keepalive_time_ms", ASK_MILLISECONDS),
                ("grpc.keepalive_timeout_ms", PRESENT_MILLISECONDS),
                ("grpc.http2.ping_timeout_ms", PRESENT_MILLISECONDS),
                ("grpc.http2.max_pings_without_data", 0),  # else it asks twice, and no more until something is sent
                ("grpc.http2.min_ping_interval_without_data_ms", PING_MILLISECONDS),
                ("grpc.max_allowed_incoming_connections", connections.in_all or NO_LIMIT),
            ],
        )
        self._server.add_generic_rpc_handlers(
            tuple(generic_handler(service, calls, gate, self._uploads, caller) for service in self._services)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        serve_reflection((*(service.full_name for service in self._services), health.SERVICE_NAME), self._server)

    async def start(self, address: str) -> int:
        """Listen and return the port. Raises AddressInUse."""
        try:
            if self._credentials:
                port = self._server.add_secure_port(address, self._credentials)
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError:  # its text only says how to make gRPC tell more
            raise AddressInUse(f"cannot listen on {address}: is the port taken?") from None
        await self._server.start()
        self._watch = asyncio.create_task(self._uploads.watch(port), name="gRPC connections")
        return port

    async def set_serving(self, *, is_serving: bool) -> None:
        """Set the answer of both health services."""
        self._calls.HealthService.is_serving = is_serving
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.full_name for service in self._services)):
            await self._health.set(name, status)

    async def stop(self) -> None:
        """Refuse new calls, let the present ones finish within the grace period."""
        await self._server.stop(STOP_GRACE_SECONDS)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])


def _master(_: Context) -> Caller:
    return MASTER
