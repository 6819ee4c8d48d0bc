"""Names of workloads: unique among all servers of an engine, and known before anything exists."""

import hashlib

from kusciajob.contracts import PartyKey

PREFIX = "kj"
STORE_CHARACTERS = 8


def short(store_id: str) -> str:
    """A store's id as a part of names: 8 hex digits."""
    return hashlib.sha256(store_id.encode()).hexdigest()[:STORE_CHARACTERS]


def of_task(store_id: str, key: PartyKey) -> str:
    """The name of an attempt of a task, a DNS label."""
    return f"{PREFIX}-{short(store_id)}-{key.job}-{key.task}-{key.attempt}"


def of_replica(store_id: str, key: PartyKey, replica: int) -> str:
    """The name of one replica of a party, a DNS label."""
    return f"{of_task(store_id, key)}-{key.party}" + (f"-{replica}" if replica else "")
