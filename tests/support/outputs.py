"""What programs have written, without programs."""

from collections.abc import Sequence

from kusciajob.contracts import Arrival, OutputPiece, OutputStream, PartyKey


class WrittenOutput:
    """An OutputSource: what a test writes, as one program's. It is read in pieces of at most that many bytes."""

    def __init__(self, *, piece_bytes: int = 64 * 1024) -> None:
        self.written = {stream: bytearray() for stream in OutputStream}
        self.gone = dict.fromkeys(OutputStream, 0)
        """How much of the beginning was dropped."""
        self.known: list[Arrival] = []
        self.read_bytes = 0
        self.keys: set[PartyKey] = set()
        """Whose output was asked for."""
        self._piece_bytes = piece_bytes

    def write(self, stream: OutputStream, data: bytes, *, at: float | None = None) -> None:
        self.written[stream] += data
        if at is not None:
            self.known.append(Arrival(at, *map(len, self.written.values())))

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        return tuple(self.known)

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        self.keys.add(key)
        written = self.written[stream]
        offset = max(0 if offset > len(written) else offset, self.gone[stream])
        data = bytes(written[offset : offset + self._piece_bytes])
        self.read_bytes += len(data)
        return OutputPiece(offset, data)

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        return len(self.written[stream])

    async def replicas(self, key: PartyKey) -> int:
        return 2


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
