"""What programs write."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from kusciajob.contracts.parties import PartyKey


class OutputStream(StrEnum):
    """What a program writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class OutputPiece(Struct, frozen=True):
    """Part of a program's output: its byte offset, and up to 64 KiB of data."""

    offset: int
    data: bytes


class Arrival(Struct, frozen=True, gc=False):
    """At `at` (seconds since the epoch) a program had written so many bytes to its streams."""

    at: float
    stdout: int
    stderr: int


class OutputSource(Protocol):
    """The output of programs. It is kept until their job is deleted."""

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """When output arrived, as far as it is known, in order; it may be coarse. Empty where it is not known.

        What was written by then may have arrived at any time since the arrival before.
        """

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """The output from a byte offset on; without data if there is none (yet).

        If the oldest output was dropped to keep the limit, it begins at the first byte that is left.
        """

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """How many bytes were written, with those that were dropped; 0 if there are none (yet)."""

    async def replicas(self, key: PartyKey) -> int:
        """How many instances of the party's program were started, at least 1."""
