"""What a party is told about its peers and its own ports: TASK_CLUSTER_DEFINE, ALLOCATED_PORTS, KUSCIA_PORT_*.

Field names and their order are those of Kuscia's `appconfig.ClusterDefine` and `AllocatedPorts` in proto JSON
(lowerCamelCase, default values written out).
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct


class Service(Struct, frozen=True, rename="camel"):
    """One port of a party that its peers may reach; endpoints are `host:port`, one per replica."""

    port_name: str
    endpoints: tuple[str, ...]


class ClusterParty(Struct, frozen=True, rename="camel"):
    """One party of the task: its domain, its role and its Cluster- and Domain-scoped ports."""

    name: str
    role: str
    services: tuple[Service, ...]


class AllocatedPort(Struct, frozen=True, rename="camel"):
    """One port of the party itself, whatever its scope."""

    name: str
    port: int
    scope: str
    protocol: str


class _ClusterDefine(Struct, frozen=True, rename="camel"):
    parties: Sequence[ClusterParty]
    self_party_idx: int
    self_endpoint_idx: int


class _AllocatedPorts(Struct, frozen=True):
    ports: Sequence[AllocatedPort]


def cluster_define(parties: Sequence[ClusterParty], *, self_party: int, self_endpoint: int = 0) -> str:
    """TASK_CLUSTER_DEFINE as JSON for the party at index `self_party`. Raises IndexError if there is none."""
    if not 0 <= self_party < len(parties):
        raise IndexError(f"self_party {self_party} is not the index of one of {len(parties)} parties")
    return msgspec.json.encode(_ClusterDefine(parties, self_party, self_endpoint)).decode()


def allocated_ports(ports: Sequence[AllocatedPort]) -> str:
    """ALLOCATED_PORTS as JSON, in the given order."""
    return msgspec.json.encode(_AllocatedPorts(ports)).decode()


def port_variable(name: str) -> str:
    """The environment variable for a port's number: `client-server` → `KUSCIA_PORT_CLIENT_SERVER_NUMBER`."""
    return f"KUSCIA_PORT_{name.upper().replace('-', '_')}_NUMBER"
