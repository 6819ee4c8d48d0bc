"""Values kept in memory for those who ask again."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps what was last put or asked for, up to a weight in all; whoever puts a value says what it weighs.

    One that is too heavy by itself is not kept, and nothing goes for it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.weight = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value; None where there is none, or none any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, *, weight: int) -> None:
        """Keep the value, instead of an earlier one of that key."""
        before = self._entries.pop(key, None)
        if before:
            self.weight -= before[1]
        if weight > self._limit:
            return
        self.weight += weight
        self._entries[key] = value, weight
        while self.weight > self._limit:
            self.weight -= self._entries.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        """Keep nothing of that key; there need not be anything."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.weight -= entry[1]
