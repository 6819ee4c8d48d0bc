"""The newest events of a log, in memory."""

from collections import deque
from collections.abc import Iterable, Sequence

from kusciajob.model import weight
from kusciajob.model.status import JobEvent


class Tail:
    """The newest events without gaps: at most so many, and fewer if they take more than so many bytes."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: deque[tuple[JobEvent, int]] = deque()
        self._bytes = 0

    def extend(self, events: Iterable[JobEvent]) -> None:
        """Take the events that follow."""
        for event in events:
            size = weight.status_bytes(event.job.status) + weight.traits_bytes(event.job.traits)
            self._events.append((event, size))
            self._bytes += size
        while self._events and (len(self._events) > self._max_events or self._bytes > self._max_bytes):
            self._pop()

    def after(self, revision: int, limit: int) -> Sequence[JobEvent] | None:
        """Up to `limit` events after a revision; None if the first of them is no longer here."""
        events = self._events
        if not events or revision + 1 < events[0][0].revision:
            return None
        start = revision + 1 - events[0][0].revision
        return [events[index][0] for index in range(start, min(start + limit, len(events)))]

    def forget(self, through: int) -> None:
        """Drop the events up to that revision."""
        while self._events and self._events[0][0].revision <= through:
            self._pop()

    def _pop(self) -> None:
        self._bytes -= self._events.popleft()[1]
