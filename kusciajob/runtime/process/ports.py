"""The ports that parties listen on. Each belongs to at most one party at a time."""

import os
import socket
from collections.abc import Iterable, Sequence
from itertools import islice

from kusciajob.contracts import NoCapacity

STRIDE = 997


class PortPool:
    """Hands out ports of a range in rotation, so that one given back is not used again soon."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        # Servers on one machine begin at different ports: an allocated port looks free until its program listens.
        self._next = os.getpid() * STRIDE % len(ports)
        self._used: set[int] = set()

    def take(self, counts: Sequence[int]) -> list[list[int]]:
        """Take ports for each party, all or none. Raises NoCapacity if too few are free."""
        taken: list[int] = []
        try:
            for _ in range(sum(counts)):
                taken.append(self._find())
                self._used.add(taken[-1])
        except NoCapacity:
            self.release(taken)
            raise
        ports = iter(taken)
        return [list(islice(ports, count)) for count in counts]

    def reserve(self, ports: Iterable[int]) -> None:
        """Note that a party has these ports already."""
        self._used.update(ports)

    def release(self, ports: Iterable[int]) -> None:
        """Take them back."""
        self._used.difference_update(ports)

    def _find(self) -> int:
        """The next free one."""
        for offset in range(len(self._ports)):
            index = (self._next + offset) % len(self._ports)
            port = self._ports[index]
            if port not in self._used and _is_free(port):
                self._next = index + 1
                return port
        raise NoCapacity(
            f"waiting for a free port: all of {self._ports[0]} to {self._ports[-1]} are in use "
            "(settings first_port, last_port)"
        )


def _is_free(port: int) -> bool:
    """Whether nobody on this machine listens there; without SO_REUSEADDR a lingering connection counts as well."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
