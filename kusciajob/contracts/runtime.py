"""What runs parties."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from msgspec import Struct

from kusciajob.contracts.parties import ExitResult, PartyKey, PartySpec
from kusciajob.model.status import Endpoint


class Node(Struct, frozen=True):
    """A machine that runs parties."""

    name: str
    ip: str


class NodeSource(Protocol):
    """Where parties run, have run or are going to run."""

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        """See Runtime."""


class Runtime(Protocol):
    """Runs the parties of tasks. Every call may be repeated; `start` of a known key attaches to its run."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while nothing can be started or stopped."""

    async def open(self) -> None:
        """Get ready. Comes before any other call."""

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        """How many of the runtime's ports each party of a task needs. Raises StartFailed."""

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        """Reserve the addresses of a task's parties, all or none. Raises NoCapacity, StartFailed."""

    async def attach(self, party: PartySpec) -> None:
        """After a restart of the server: reserve again what a running party has, before anything else is allocated."""

    async def start(self, party: PartySpec) -> None:
        """Start the party, or attach to its run. Raises StartFailed.

        Whatever it raises, the party may run: its reservations stay until `stop` has returned.
        """

    async def wait(self, key: PartyKey) -> ExitResult:
        """Wait for the party's end. Cancelling this stops nothing. After an error the end is unknown: `stop` it."""

    async def stop(self, key: PartyKey) -> None:
        """End the party, by force after the grace period, and free its reservations. A party that is gone is success.

        It returns only when nothing of the party runs and nothing can still be started.
        """

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        """The machine where one replica of the party runs, has run or is going to run."""

    async def owned(self) -> Collection[int]:
        """The numbers of the jobs for which the runtime has anything: programs, reservations or files."""

    async def stop_job(self, job: int) -> None:
        """Stop all programs of the job, also those that an earlier server started, and free its reservations."""

    async def remove(self, job: int) -> None:
        """Delete all files of a job. None of its programs may run."""

    async def close(self) -> None:
        """Release everything but the programs: they go on running."""


WaitReport = Callable[[PartyKey, str], None]
"""Where a runtime tells why a party has not started yet, such as an image that is being pulled; "" takes that back.

Each new text is an event for all who watch the job: while the same is awaited it must not change.
"""


ProgressReport = Callable[[PartyKey, float], None]
"""Where a runtime tells how far a task is, 0 to 1."""
