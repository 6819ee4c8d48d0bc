"""What the server knows of parties that an engine hosts, from their start until their end is told."""

import asyncio
from typing import NamedTuple

from msgspec import Struct

from kusciajob.contracts import ExitResult, Node, PartyKey
from kusciajob.runtime.hosted.engine import Ref
from kusciajob.runtime.hosted.kept import End, KeptRun, Note


class Found(NamedTuple):
    """What the disk tells of a run."""

    ref: Ref
    kept: KeptRun
    note: Note | None = None
    end: End | None = None


class Run:
    """One replica of a party in the server's memory."""

    def __init__(self, found: Found) -> None:
        self.ref, self.kept, self.note, self.end = found
        self.is_of_earlier_server = self.note is not None
        self.is_followed = False
        """Whether what the engine sees of it counts."""
        self.is_finishing = False
        self.node: Node | None = None
        self.has_begun = asyncio.Event()
        self.collecting: asyncio.Task[None] | None = None
        self.output_failed = asyncio.Event()
        """Set while its output cannot be had."""
        self._result: asyncio.Future[ExitResult] = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        return self._result.done()

    async def ended(self) -> ExitResult:
        return await asyncio.shield(self._result)

    def finish(self, result: ExitResult) -> None:
        self.has_begun.set()
        if not self._result.done():
            self._result.set_result(result)


class HostedParty(Struct):
    """What is kept of a party until its end is told."""

    runs: dict[int, Run] = {}
    """By their replicas."""
    creating: asyncio.Task[None] | None = None
    is_noted: bool = False
    """Whether each run may have begun."""
    is_stopped: bool = False


class Gang:
    """The parties of one attempt of a task, which begin together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._created: set[PartyKey] = set()
        self.is_complete = asyncio.Event()

    def join(self, key: PartyKey) -> None:
        self._created.add(key)
        if len(self._created) == self._size:
            self.complete()

    def complete(self) -> None:
        self.is_complete.set()
