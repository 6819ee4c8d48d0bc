"""How many parties run at once: every one has its slots from its placement until nothing of it is left."""

from collections.abc import Iterable, Mapping

from kusciajob.contracts import NoCapacity, PartyKey, StartFailed


class Slots:
    """Hands out up to `limit` slots; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._holders: dict[PartyKey, int] = {}
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._taken

    def take(self, wanted: Mapping[PartyKey, int]) -> None:
        """So many for each party of a task, one per replica: all or none.

        NoCapacity; StartFailed where waiting would never help.
        """
        if self._limit:
            needed_slots = sum(wanted.values())
            if needed_slots > self._limit:
                raise StartFailed(
                    f"the task has {needed_slots} parties, more than may ever run here at once: {self._limit} "
                    "(setting max_running_parties; each replica counts)"
                )
            if self.taken + needed_slots > self._limit:
                needed = f", {needed_slots} needed" if self.taken < self._limit else ""
                raise NoCapacity(f"waiting for a free slot ({self.taken} of {self._limit} parties running{needed})")
        for key, count in wanted.items():
            self.hold(key, count)

    def hold(self, key: PartyKey, count: int = 1) -> None:
        """Note that a party runs already, be it beyond the limit."""
        self._taken += count - self._holders.get(key, 0)
        self._holders[key] = count

    def free(self, keys: Iterable[PartyKey]) -> None:
        """Take back the slots of these parties; those that have none do not matter."""
        for key in keys:
            self._taken -= self._holders.pop(key, 0)

    def free_job(self, job: int) -> None:
        """Take back the slots of all parties of a job."""
        self.free([key for key in self._holders if key.job == job])
