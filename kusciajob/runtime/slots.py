"""How many parties run at once: every one has a slot from its placement until nothing of it is left."""

from collections.abc import Collection, Iterable

from kusciajob.contracts import NoCapacity, PartyKey, StartFailed


class Slots:
    """Hands out up to `limit` slots; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._holders: set[PartyKey] = set()

    @property
    def taken(self) -> int:
        """How many parties have one."""
        return len(self._holders)

    def take(self, keys: Collection[PartyKey]) -> None:
        """One for each party of a task: all or none. NoCapacity; StartFailed where waiting would never help."""
        if self._limit:
            if len(keys) > self._limit:
                raise StartFailed(
                    f"the task has {len(keys)} parties, more than may ever run here at once: {self._limit} "
                    "(setting max_running_parties)"
                )
            if self.taken + len(keys) > self._limit:
                needed = f", {len(keys)} needed" if self.taken < self._limit else ""
                raise NoCapacity(f"waiting for a free slot ({self.taken} of {self._limit} parties running{needed})")
        self._holders.update(keys)

    def hold(self, key: PartyKey) -> None:
        """Note that a party runs already, be it beyond the limit."""
        self._holders.add(key)

    def free(self, keys: Iterable[PartyKey]) -> None:
        """Take back the slots of these parties; those that have none do not matter."""
        self._holders.difference_update(keys)

    def free_job(self, job: int) -> None:
        """Take back the slots of all parties of a job."""
        self.free([key for key in self._holders if key.job == job])
