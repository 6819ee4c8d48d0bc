"""The calls of ServerService."""

from collections.abc import Awaitable, Callable, Mapping

import kusciajob
from kusciajob._gen.kusciajob.v1 import server_pb2 as pb
from kusciajob.api.usage import Usage
from kusciajob.config import Settings
from kusciajob.contracts import Clock
from kusciajob.usecases.callers import Caller

CAPABILITIES = ("job_files", "operations", "usage", "all_parties", "min_revision")
"""What was added to the package since its first version; server.proto says what each is."""
_LIMITS = (
    *(name for name in Settings.__struct_fields__ if name.startswith("max_") and name != "max_token_delay_seconds"),
    "output_limit_mib",
    "log_retention_events",
    "log_retention_mib",
)


class ServerCalls:
    """Tells what the server is and allows. It has just started when this is made."""

    def __init__(
        self,
        *,
        runtime: str,
        limits: Mapping[str, int],
        clock: Clock,
        head: Callable[[], Awaitable[int]],
        usage: Usage,
        http_port: Callable[[], int | None],
    ) -> None:
        self._runtime = runtime
        self._limits = dict(limits)
        self._clock = clock
        self._head = head
        self._usage = usage
        self._http_port = http_port
        self._started_at = clock.now()

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, caller: Caller) -> pb.GetServerInfoResponse:
        response = pb.GetServerInfoResponse(
            version=kusciajob.__version__,
            runtime=self._runtime,
            capabilities=CAPABILITIES,
            limits=self._limits,
            caller=pb.CallerRights(
                domain_id=caller.domain,
                is_master=not caller.domain,
                sees_jobs="own" if caller.domain else "all",
                may_create_for=[caller.domain] if caller.domain else [],
            ),
            revision=await self._head(),
            used=await (self._usage.used_by(caller.domain) if caller.domain else self._usage.used()),
            load=None if caller.domain else await self._usage.load(),
            http_port=self._http_port() or 0,
        )
        response.start_time.FromMicroseconds(int(self._started_at * 1e6))
        response.uptime.FromMicroseconds(max(0, int((self._clock.now() - self._started_at) * 1e6)))
        return response


def limits_in_force(settings: Settings, *, connections: int, connections_per_peer: int) -> dict[str, int]:
    """The settings that limit something, by name; of connections there may be fewer than was set."""
    limits: dict[str, int] = {name: getattr(settings, name) for name in _LIMITS}
    return limits | {"max_connections": connections, "max_connections_per_peer": connections_per_peer}
