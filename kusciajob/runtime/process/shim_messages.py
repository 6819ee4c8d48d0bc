"""What the shim tells, as values."""

from typing import Literal

import msgspec


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
    """Whether it starts failed programs again, and writes a notice; one of an earlier version does neither."""


class Running(msgspec.Struct, frozen=True):
    parties: list[RunningParty]


class Done(msgspec.Struct, frozen=True):
    """The result of a request that has nothing to tell."""


class Fault(msgspec.Struct, frozen=True):
    text: str


class Message(msgspec.Struct, frozen=True):
    """One line from the shim: an answer, by its id, or the exit of a party."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: Fault | None = None
    exit: PartyExit | None = None
