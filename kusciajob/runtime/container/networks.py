"""The network of a task's attempt: its parties reach each other by name, and nobody else.

It is internal: without a way to other networks, or to the world. Only what listens on the machine itself is reached,
by the network's gateway. (Podman keeps networks that are not internal apart from internal ones only.)
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiodocker.exceptions import DockerError
from aiodocker.networks import DockerNetwork
from msgspec import Struct

from kusciajob.runtime.container.connection import CONFLICT, FORBIDDEN, Connection, ignoring, refusal
from kusciajob.runtime.hosted.engine import EngineUnavailable

OUTSIDE = "-out"
"""What is added for the network of those that may reach more than their task."""
_NO_SUBNET = ("address pool", "subnet", "could not find")


class _Network(Struct, frozen=True):
    """One that is there. `gateway`: "" if it has none."""

    id: str
    gateway: str


class Networks:
    """The networks of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, _Network] = {}
        """Those that are known to be there, by name."""
        self._making = asyncio.Lock()
        """Two networks of one name are made where two are asked for at the same time, whatever CheckDuplicate says."""

    async def ensure(self, name: str, labels: Mapping[str, str], *, is_internal: bool = True) -> str:
        """The address of the network's gateway; the network is made if need be. Raises EngineUnavailable."""
        async with self._making:
            if name not in self._known:
                self._known[name] = await self._made(name, labels, is_internal=is_internal)
            return self._known[name].gateway

    def forget(self, name: str) -> None:
        """Somebody else has removed it."""
        self._known.pop(name, None)

    async def _made(self, name: str, labels: Mapping[str, str], *, is_internal: bool) -> _Network:
        config = {
            "Name": name,
            "Driver": "bridge",
            "Internal": is_internal,
            "Labels": dict(labels),
            "CheckDuplicate": True,  # else Docker before version 25 makes a second one of that name
        }
        refused = ""
        try:
            async with self._connection.asking() as docker:
                await docker.networks.create(config)
        except DockerError as error:
            # An earlier server may have made it: 409, from Podman before version 4.4 500.
            refused = refusal(error)
        if (network := await self._only_one(name)) is not None:
            return network
        if any(word in refused for word in _NO_SUBNET):
            raise EngineUnavailable(
                "the container engine has no free subnet for another task's network (default-address-pools)"
            )
        raise EngineUnavailable(f"the task's network cannot be made: {refused or 'it is not there'}")

    async def _only_one(self, name: str) -> _Network | None:
        """The network of that name; others of it, which a killed server has asked for as well, are removed."""
        try:
            async with self._connection.asking() as docker:
                listed = await docker.networks.list(filters={"name": [name]})
        except DockerError as error:
            raise EngineUnavailable(f"network {name}: {refusal(error)}") from None
        found = sorted((each["Created"], each["Id"], each) for each in listed if each["Name"] == name)
        for _, number, _ in found[1:]:
            await self.remove(number)
        for _, number, network in found[:1]:
            pools: list[dict[str, Any]] = (network.get("IPAM") or {}).get("Config") or [{}]
            return _Network(number, str(pools[0].get("Gateway") or ""))
        return None

    async def connect(self, name: str, container: str) -> None:
        """Connect a container that does not run to one more network; it may be connected."""
        async with self._connection.asking() as docker:
            # 403: it is connected; Podman does not mind.
            await ignoring(DockerNetwork(docker, name).connect({"Container": container}), CONFLICT, FORBIDDEN)

    async def remove(self, name: str) -> None:
        """Remove the network of a name or an id; gone is success. One that is in use stays. EngineUnavailable."""
        self.forget(name)
        try:
            async with self._connection.asking() as docker:
                await DockerNetwork(docker, name).delete()
        except DockerError:
            # Not found, or in use: 403 from Docker, 500 from Podman.
            return

    async def of(self, filters: Mapping[str, list[str]]) -> list[tuple[str, Mapping[str, str]]]:
        """The ids of networks with their labels. Raises EngineUnavailable."""
        try:
            async with self._connection.asking() as docker:
                found = await docker.networks.list(filters=filters)
        except DockerError as error:
            raise EngineUnavailable(f"networks cannot be listed: {refusal(error)}") from None
        return [(each["Id"], each.get("Labels") or {}) for each in found]
