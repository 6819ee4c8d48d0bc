"""What kind of engine this is: Docker and Podman answer the same calls, and differ in what they make of them."""

import logging
from typing import Any
from urllib.parse import urlsplit

from aiodocker.exceptions import DockerError
from msgspec import Struct

from kusciajob.contracts import Node
from kusciajob.runtime.container.connection import Connection, refusal
from kusciajob.runtime.container.files import ROOT, User
from kusciajob.runtime.hosted.engine import EngineUnavailable
from kusciajob.runtime.machine import this_machine

logger = logging.getLogger(__name__)

UNLIMITED_BYTES = 1 << 50
"""Docker's local log has a limit always; this is one that no disk reaches."""


class Traits(Struct, frozen=True):
    """What differs."""

    node: Node
    is_podman: bool = False
    is_rootless: bool = False

    def log_config(self, limit_bytes: int) -> dict[str, Any]:
        """A log that keeps bytes as they are, in a file of its own; 0 is no limit.

        Docker's json-file would replace what is no UTF-8. Podman's default may be the machine's journal.
        """
        if self.is_podman:
            return {"Type": "k8s-file", "Config": {"max-size": str(limit_bytes)} if limit_bytes else {}}
        return {"Type": "local", "Config": {"max-size": f"{limit_bytes or UNLIMITED_BYTES}b", "max-file": "2"}}

    def user_namespace(self, user: User) -> str:
        """Without root, Podman makes the program's user the one that runs Podman, who owns the domain's directory."""
        if not self.is_podman or not self.is_rootless or user.uid == ROOT:
            return ""  # root is the one who runs Podman by itself
        return f"keep-id:uid={user.uid},gid={user.gid}"


async def read_traits(connection: Connection) -> Traits:
    """Ask the engine. Raises EngineUnavailable."""
    try:
        async with connection.asking() as docker:
            version = await docker.version()
            info = await docker.system.info()
    except DockerError as error:
        raise EngineUnavailable(f"the container engine does not tell what it is: {refusal(error)}") from None
    is_podman = any("podman" in part.get("Name", "").lower() for part in version.get("Components") or ())
    is_rootless = bool(info.get("Rootless")) or any("rootless" in text for text in info.get("SecurityOptions") or ())
    if is_rootless and str(info.get("CgroupVersion")) == "1":
        logger.warning("limits of memory, cpu and processes are not in force: without root, engines need cgroup v2")
    name = str(info.get("Name") or "")
    if connection.is_local:
        machine = await this_machine()
        node = Node(name or machine.name, machine.ip)
    else:
        node = Node(name, urlsplit(connection.address).hostname or "")
    return Traits(node, is_podman, is_rootless)
