"""The shim's messages as values."""

from typing import Literal

import msgspec

VERSION_WITH_USERS = 2
VERSION_WITH_RESTARTS = 3


class PartyExit(msgspec.Struct, frozen=True):
    """How a party ended, as exit.json has it. A lost one was left by a killed shim: neither code nor signal."""

    key: str
    code: int | None
    signal: int | None
    started_at: float
    ended_at: float
    stopped: bool
    lost: bool
    restarts: int = 0
    """How often it was started again; the end is that of the last run."""
    cause: str = ""
    """Why it is lost, where that is not the usual cause."""


class PartyState(msgspec.Struct, frozen=True):
    """`pid` and `started_at` while it runs, `exit` once it has ended; unknown was never spawned."""

    state: Literal["running", "exited", "lost", "unknown"]
    pid: int | None = None
    started_at: float | None = None
    exit: PartyExit | None = None


class RunningParty(msgspec.Struct, frozen=True):
    """One entry of `list`."""

    key: str
    pid: int
    started_at: float


class Hello(msgspec.Struct, frozen=True):
    version: int
    pid: int
    containment: str = "descent (by a shim of an earlier version)"
    """What keeps a party's programs together."""
    restarts: bool = False
    """Said by late shims of version 2 only: that they know already what version 3 brought."""

    @property
    def can_restart(self) -> bool:
        """Whether it starts failed programs again, and writes a notice."""
        return self.restarts or self.version >= VERSION_WITH_RESTARTS


class Running(msgspec.Struct, frozen=True):
    parties: list[RunningParty]


class Done(msgspec.Struct, frozen=True):
    """The empty result of a request."""


class Fault(msgspec.Struct, frozen=True):
    text: str


class Message(msgspec.Struct, frozen=True):
    """One line from the shim: an answer, by its id, or the exit of a party."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: Fault | None = None
    exit: PartyExit | None = None


class ShimError(Exception):
    """The shim refused a request; the text tells why."""


class ShimUnavailable(ShimError):
    """The shim cannot be started or reached, or this client was closed."""
