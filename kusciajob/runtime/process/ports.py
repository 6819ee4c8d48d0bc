"""The ports that parties listen on: every one is given to one party at a time."""

import os
import socket
from collections.abc import Iterable, Mapping

from kusciajob.contracts import NoCapacity, PartyKey

STRIDE = 997


class PortPool:
    """Hands out ports of a range in rotation, so that one given back is not used again soon."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        # Servers on one machine begin in different places: a port that is given is not in use before its program runs.
        self._next = os.getpid() * STRIDE % len(ports)
        self._given: dict[PartyKey, list[int]] = {}
        self._used: set[int] = set()

    def allocate(self, wanted: Mapping[PartyKey, int]) -> dict[PartyKey, list[int]]:
        """So many ports for each party: all or none. NoCapacity when too few are free."""
        given: dict[PartyKey, list[int]] = {}
        try:
            for key, count in wanted.items():
                given[key] = []
                for _ in range(count):
                    port = self._find()
                    self.reserve(key, [port])
                    given[key].append(port)
        except NoCapacity:
            self.release(given)
            raise
        return given

    def reserve(self, key: PartyKey, ports: Iterable[int]) -> None:
        """Note that a party has these ports already."""
        own = self._given.setdefault(key, [])
        own.extend(ports)
        self._used.update(own)

    def release(self, keys: Iterable[PartyKey]) -> None:
        """Take back whatever these parties have."""
        for key in keys:
            self._used.difference_update(self._given.pop(key, ()))

    def release_job(self, job: int) -> None:
        """Take back whatever the parties of a job have."""
        self.release([key for key in self._given if key.job == job])

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
