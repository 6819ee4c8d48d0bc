"""Shares the file descriptors of the process among the ports."""

import resource

from kusciajob.api.http.connections import ConnectionLimits

KEPT = 256
"""What stays for the store, the programs' output and the server itself."""
MAX_PROGRESS_CONNECTIONS = 1024


def share_descriptors(*, in_all: int, per_peer: int) -> tuple[ConnectionLimits, ConnectionLimits]:
    """The limits of the gRPC and the HTTP port, each, and those of the port for progress; of settings, 0 is no limit.

    Together they leave descriptors for the rest; and one address, except on loopback's own port, leaves half.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 20
    free = max(soft - KEPT, 16)
    most = min(in_all or free, free * 3 // 8)
    half = most // 2
    progress = min(MAX_PROGRESS_CONNECTIONS, free // 4)
    return ConnectionLimits(per_peer=min(per_peer or half, half), in_all=most), ConnectionLimits(in_all=progress)
