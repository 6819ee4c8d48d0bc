"""Ports that nobody uses, away from those that the system and servers under test hand out."""

import os
import socket

FIRST, LAST = 30000, 32700


def free_range(count: int) -> range:
    """So many neighbouring ports that are free now; processes that ask at the same time begin in different places."""
    starts = range(FIRST, LAST - count, count)
    for attempt in range(len(starts)):
        start = starts[(os.getpid() * 7 + attempt) % len(starts)]
        ports = range(start, start + count)
        if all(map(_is_free, ports)):
            return ports
    raise AssertionError(f"no {count} neighbouring ports are free between {FIRST} and {LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
