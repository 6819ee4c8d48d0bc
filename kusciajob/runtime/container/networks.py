"""The network of a task's attempt: its parties reach each other by name, and nobody else.

It is internal: without a way to other networks, or to the world. Only what listens on the machine itself is reached,
by the network's gateway. (Podman keeps networks that are not internal apart from internal ones only.)
"""

from collections.abc import Mapping
from typing import Any

from aiodocker.exceptions import DockerError
from aiodocker.networks import DockerNetwork

from kusciajob.runtime.container.connection import CONFLICT, FORBIDDEN, NOT_FOUND, Connection, ignoring, refusal
from kusciajob.runtime.hosted.engine import EngineUnavailable

OUTSIDE = "-out"
"""What is added for the network of those that may reach more than their task."""
_NO_SUBNET = ("address pool", "subnet", "could not find")


class Networks:
    """The networks of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._gateways: dict[str, str] = {}
        """Of the networks that are known to be there."""

    async def ensure(self, name: str, labels: Mapping[str, str], *, is_internal: bool = True) -> str:
        """The address of the network's gateway; the network is made if need be. Raises EngineUnavailable."""
        if name not in self._gateways:
            self._gateways[name] = await self._made(name, labels, is_internal=is_internal)
        return self._gateways[name]

    def forget(self, name: str) -> None:
        """Somebody else has removed it."""
        self._gateways.pop(name, None)

    async def _made(self, name: str, labels: Mapping[str, str], *, is_internal: bool) -> str:
        config = {
            "Name": name,
            "Driver": "bridge",
            "Internal": is_internal,
            "Labels": dict(labels),
            "CheckDuplicate": True,  # else Docker before version 25 makes a second one of that name
        }
        try:
            async with self._connection.asking() as docker:
                await docker.networks.create(config)
        except DockerError as error:
            # Another party or an earlier server has made it: 409, from Podman before version 4.4 500.
            if (gateway := await self._gateway(name)) is not None:
                return gateway
            if any(word in str(error.message) for word in _NO_SUBNET):
                raise EngineUnavailable(
                    "the container engine has no free subnet for another task's network (default-address-pools)"
                ) from None
            raise EngineUnavailable(f"the task's network cannot be made: {refusal(error)}") from None
        return await self._gateway(name) or ""

    async def _gateway(self, name: str) -> str | None:
        """Its address, "" if it has none; None if there is no such network."""
        try:
            async with self._connection.asking() as docker:
                found = await DockerNetwork(docker, name).show()
        except DockerError as error:
            if error.status == NOT_FOUND:
                return None
            raise EngineUnavailable(f"network {name}: {refusal(error)}") from None
        pools: list[dict[str, Any]] = (found.get("IPAM") or {}).get("Config") or [{}]
        return str(pools[0].get("Gateway") or "")

    async def connect(self, name: str, container: str) -> None:
        """Connect a container that does not run to one more network; it may be connected."""
        async with self._connection.asking() as docker:
            # 403: it is connected; Podman does not mind.
            await ignoring(DockerNetwork(docker, name).connect({"Container": container}), CONFLICT, FORBIDDEN)

    async def remove(self, name: str) -> None:
        """Remove it; gone is success. One that is in use stays. Raises EngineUnavailable."""
        self.forget(name)
        try:
            async with self._connection.asking() as docker:
                await DockerNetwork(docker, name).delete()
        except DockerError:
            # Not found, or in use: 403 from Docker, 500 from Podman.
            return

    async def of(self, filters: Mapping[str, list[str]]) -> list[tuple[str, Mapping[str, str]]]:
        """The names of networks with their labels. Raises EngineUnavailable."""
        try:
            async with self._connection.asking() as docker:
                found = await docker.networks.list(filters=filters)
        except DockerError as error:
            raise EngineUnavailable(f"networks cannot be listed: {refusal(error)}") from None
        return [(each["Name"], each.get("Labels") or {}) for each in found]
