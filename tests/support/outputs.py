"""What programs have written, without programs."""

from collections.abc import Sequence

from kusciajob.contracts import Arrival, OutputPiece, OutputStream, PartyKey


class FixedOutput:
    """An OutputSource: every program has written the same to each of its outputs, and runs once."""

    def __init__(self, written: bytes = b"") -> None:
        self._written = written

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        return OutputPiece(offset, self._written[offset:])

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        return ()

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        return len(self._written)

    async def replicas(self, key: PartyKey) -> int:
        return 1
