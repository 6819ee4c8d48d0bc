"""The names of directories in which runtimes keep what is of a domain or of a run."""

import hashlib
from urllib.parse import quote

from kusciajob.contracts import PartyKey

MAX_NAME_BYTES = 255
"""Of one path component, on Linux."""


def directory_name(domain_id: str) -> str:
    """The domain id as one harmless path component, unique for it; a usual id stays unchanged."""
    name = quote(domain_id, safe="")
    if len(name) > MAX_NAME_BYTES:
        # quote() leaves no "=", so that no other name looks like this one.
        return f"{name[:100]}={hashlib.sha256(domain_id.encode()).hexdigest()}"
    return name.replace(".", "%2E") if name.strip(".") == "" else name


def replica_name(key: PartyKey, replica: int) -> str:
    """The name of a replica's run and of its directory. The first replica has the name of its party."""
    return f"{key}.{replica}" if replica else str(key)
