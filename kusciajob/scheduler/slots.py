"""The resources that running parties share, and how much is taken: slots, slots of one domain, ports."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from kusciajob.model.text import bare

SLOTS = "slots"
PORTS = "ports"
_DOMAIN = "domain "

Need = Mapping[str, int]
"""How much of which resource: SLOTS, PORTS, or the slots of a domain. SLOTS is the last one."""


class SlotLimits(Struct, frozen=True):
    """How much there is. 0, or an empty range of ports, means no limit."""

    parties: int = 0
    parties_per_domain: int = 0
    ports: range = range(0)


NO_LIMITS = SlotLimits()


class Slots:
    """Counts what is taken; `waiting_room` decides who gets what is free."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._taken: dict[str, int] = {}

    def taken(self, resource: str) -> int:
        """How much of a resource is in use; it can exceed the limit."""
        return self._taken.get(resource, 0)

    def taken_by_domains(self) -> dict[str, int]:
        """How many slots each domain has, where these are limited; a domain that has none is left out."""
        return {_domain(resource): count for resource, count in self._taken.items() if resource.startswith(_DOMAIN)}

    def need(self, domain: str, ports: int) -> Need:
        """What one party needs of each limited resource, and always a slot."""
        need = {}
        if self._limits.parties_per_domain:
            need[_DOMAIN + domain] = 1
        if ports and self._limits.ports:
            need[PORTS] = ports
        return {**need, SLOTS: 1}

    def has(self, resource: str, count: int) -> bool:
        """Whether that much of a resource is free."""
        limit = self._limit(resource)
        return not limit or self.taken(resource) + count <= limit

    def take(self, need: Need) -> None:
        """Take that much, even if it is not free."""
        for resource, count in need.items():
            self._taken[resource] = self.taken(resource) + count

    def free(self, need: Need) -> None:
        """Give back what was taken."""
        for resource, count in need.items():
            self._taken[resource] -= count
            if not self._taken[resource]:
                del self._taken[resource]

    def refusal(self, need: Need) -> str:
        """Why a task that needs that much could never start here; empty if it could."""
        for resource, count in need.items():
            limit = self._limit(resource)
            if limit and count > limit:
                if resource == PORTS:
                    return f"the task needs {count} ports, more than there are: {limit} ({self._setting(resource)})"
                whose = "" if resource == SLOTS else f" of domain {_domain(resource)}"
                return (
                    f"the task has {count} parties{whose}, more than may ever run here at once: {limit} "
                    f"(setting {self._setting(resource)})"
                )
        return ""

    def reason(self, resource: str, count: int) -> str:
        """Why a task that needs that much waits. The text stays the same while it waits for the same."""
        kind = "port" if resource == PORTS else "slot"
        what = f"a free {kind}" if count == 1 else f"{count} free {kind}s"
        whose = "" if resource in (SLOTS, PORTS) else f" of domain {_domain(resource)}"
        limit = "" if resource == PORTS else f" is {self._limit(resource)}"
        return f"waiting for {what}{whose} ({self._setting(resource)}{limit})"

    def _limit(self, resource: str) -> int:
        if resource == SLOTS:
            return self._limits.parties
        return len(self._limits.ports) if resource == PORTS else self._limits.parties_per_domain

    def _setting(self, resource: str) -> str:
        if resource == PORTS:
            return f"first_port is {self._limits.ports[0]}, last_port {self._limits.ports[-1]}"
        return "max_running_parties" if resource == SLOTS else "max_running_parties_per_domain"


def total(needs: Collection[Need]) -> Need:
    """What all parties of a task need together."""
    sums: dict[str, int] = {}
    for need in needs:
        for resource, count in need.items():
            if resource != SLOTS:
                sums[resource] = sums.get(resource, 0) + count
    return {**sums, SLOTS: len(needs)}


def _domain(resource: str) -> str:
    return bare(resource.removeprefix(_DOMAIN))
