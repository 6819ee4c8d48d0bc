"""How events reach those who watch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobEvent

Form = Callable[[JobEvent], bytes]
"""What makes the wire form of an event; the same function each time."""


class Published(Protocol):
    """An event in the hub, shared by all its watchers."""

    @property
    def event(self) -> JobEvent: ...

    def encoded(self, encode: Form) -> bytes:
        """The encoded event; each form is produced once for all watchers."""

    def seen_by(self, domain: str) -> "Published":
        """The event without what that domain may not see; mostly the event itself."""


class WatchStream(Protocol):
    """One watcher's place in the log."""

    @property
    def position(self) -> int | None:
        """Where a stream can be resumed: what was read is all until that revision, and nothing after it.

        None before the existing jobs are told, and as long as events follow that they make superfluous.
        """

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """The next events, at least one; empty after `timeout` seconds without any.

        A filtered stream returns empty earlier where `position` is worth telling: when the existing jobs are told, and
        after 1,000 events that it does not want.

        Raises LogTruncated if the stream cannot go on without a hole, HubClosed if the server is stopping.
        """


class EventHub(Protocol):
    """Tails the log once, for all watchers. There is no publish(): a commit publishes."""

    @property
    def head(self) -> int:
        """The newest revision that streams can read."""

    def subscribe(
        self, *, after: int | None = None, chosen: JobFilter | None = None
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Watch what follows a revision. With None: first every existing job as ADDED, then what follows.

        With a filter the stream has only events of jobs that pass it before or after the change, and of those whose
        record is so damaged that nobody can know.
        """


class HubClosed(Exception):
    """The hub has been closed; its streams end."""
