"""Lines of what a program writes to a stream: from any place on, never with half of a character, in bounded memory."""

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

from kusciajob.contracts import Arrival, OutputPiece, OutputSource, OutputStream, PartyKey

MAX_LINE_BYTES = 64 * 1024
"""A longer line comes in pieces."""
SPAN_BYTES = 64 * 1024
MAX_REST_OF_CHARACTER = 3
"""In UTF-8 so many bytes can follow the first one of a character."""


class LogLine(Struct, frozen=True, gc=False):
    """A line without its end, or a piece of one that is long or has no end yet. Offsets are in bytes of its stream.

    `at`: when the last of it arrived; None where that is not known. `dropped_bytes` were lost before it.
    """

    stream: OutputStream
    text: str
    offset: int
    end_offset: int
    at: float | None
    is_partial: bool
    dropped_bytes: int


class Timeline:
    """When output arrived, as far as it is known."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._times = [arrival.at for arrival in arrivals]
        self._written = {
            OutputStream.STDOUT: [arrival.stdout for arrival in arrivals],
            OutputStream.STDERR: [arrival.stderr for arrival in arrivals],
        }

    def place(self, stream: OutputStream, end: int) -> int:
        """With which arrival the output up to that offset was there; beyond the last one where that is not known."""
        return bisect_left(self._written[stream], end)

    def at(self, stream: OutputStream, end: int) -> float | None:
        """When the output up to that offset was there; None where that is not known."""
        place = self.place(stream, end)
        return self._times[place] if place < len(self._times) else None

    def known(self, stream: OutputStream) -> int:
        """Up to which offset it is known."""
        return self._written[stream][-1] if self._times else 0

    def before(self, stream: OutputStream, at: float) -> int:
        """How much had certainly arrived before that time."""
        earlier = bisect_left(self._times, at)
        return self._written[stream][earlier - 1] if earlier else 0


class Round(Struct, frozen=True):
    """How far outputs are read this time. `is_last`: it is not read again; `is_over`: nothing is written any more."""

    sizes: dict[OutputStream, int]
    bounds: dict[OutputStream, int]
    timeline: Timeline
    is_last: bool
    is_over: bool


class Output:
    """What one instance of a party's program has written to one stream."""

    def __init__(self, source: OutputSource, key: PartyKey, stream: OutputStream, replica: int) -> None:
        self._source = source
        self._key = key
        self._replica = replica
        self.stream = stream

    async def read(self, offset: int) -> OutputPiece:
        """See OutputSource."""
        return await self._source.read_output(self._key, self.stream, offset, replica=self._replica)

    async def size(self) -> int:
        """See OutputSource."""
        return await self._source.output_size(self._key, self.stream, replica=self._replica)

    async def tail(self, lines: int, *, low: int, end: int) -> tuple[int, int]:
        """Where the last so many lines of what is between these offsets begin, and how many there are.

        It reads backwards. Where older ones were dropped, they begin at `low`.
        """
        high, left, is_newest = end, lines, True
        while high > low and left:
            wanted = max(low, high - SPAN_BYTES)
            start, data = await self._span(wanted, high)
            # The end of the last line separates nothing.
            ends = data[:-1] if is_newest and data.endswith(b"\n") else data
            is_newest = is_newest and not data
            count = ends.count(b"\n")
            if count >= left:
                at = len(ends)
                for _ in range(left):
                    at = ends.rindex(b"\n", 0, at)
                return start + at + 1, lines
            left -= count
            if start > wanted:
                break
            high = start
        if not lines:
            return end, 0
        return low, lines - left + (end > low)

    async def line_with(self, offset: int, *, low: int) -> int:
        """Where the line begins that has this byte; the byte itself if that is far before. Not before `low`."""
        if offset <= low:
            return low
        wanted = max(low, offset - MAX_LINE_BYTES)
        start, data = await self._span(wanted, offset)
        if (newline := data.rfind(b"\n")) >= 0:
            return start + newline + 1
        return low if wanted == low == start else offset

    async def character_with(self, offset: int) -> tuple[int, bool]:
        """Where the character begins that has this byte, and whether that cannot be told: the byte before is not there.

        A byte that belongs to none is its own beginning.
        """
        wanted = max(0, offset - MAX_REST_OF_CHARACTER)
        start, data = await self._span(wanted, offset + 1)
        length = max(0, offset - start)
        before, own = data[:length], data[length:]
        if len(before) < length or not before:
            return offset, offset > 0
        begun = _unfinished(before)
        return (offset - begun, False) if begun and (not own or _follows(own[0])) else (offset, False)

    async def _span(self, low: int, high: int) -> tuple[int, bytes]:
        """What is left of the output between these offsets, and where that begins."""
        piece = await self.read(low)
        if not low <= piece.offset < high:
            return high, b""
        start, data = piece.offset, piece.data
        while piece.data and start + len(data) < high:
            piece = await self.read(start + len(data))
            if piece.offset != start + len(data):
                break
            data += piece.data
        return start, data[: high - start]


class LineReader:
    """Reads the lines of an output from a place on. It holds one line at most."""

    def __init__(self, output: Output, start: int, *, is_cut: bool) -> None:
        """`is_cut`: what is before the start is not there, maybe with the beginning of a character."""
        self.stream = output.stream
        self._output = output
        self._next = start
        self._rest = b""
        self._dropped = 0
        self._strays = MAX_REST_OF_CHARACTER if is_cut else 0
        self._has_read = False
        self._round: Round | None = None

    async def lines(self, now: Round) -> list[LogLine]:
        """The next lines of this round, for at least one piece of output; none if there are no more of them."""
        told: list[LogLine] = []
        bound = now.bounds[self.stream]
        if now is not self._round:
            self._round = now
            if self._has_read and now.sizes[self.stream] < self._next:
                told += self._begin_at(0, now)
        while not told and self._next < bound:
            piece = await self._output.read(self._next)
            if not piece.data:
                break
            self._has_read = True
            if piece.offset != self._next:
                told += self._begin_at(piece.offset, now)
                if piece.offset >= bound:  # all that was to be read was dropped meanwhile
                    bound = piece.offset + len(piece.data)
            data = piece.data[: bound - self._next]
            self._next += len(data)
            told += self._take(self._without_strays(data), now)
        if not told and now.is_last:
            return self._flush(now, is_whole=now.is_over)
        return told

    def _begin_at(self, offset: int, now: Round) -> list[LogLine]:
        """Go on somewhere else: what is between was dropped; or the output was begun anew, and how much is unknown."""
        told = self._flush(now, is_whole=False)
        if offset > self._next:
            self._dropped += len(self._rest) + offset - self._next
            self._strays = MAX_REST_OF_CHARACTER
        self._rest, self._next = b"", offset
        return told

    def _without_strays(self, data: bytes) -> bytes:
        """Leave out the rest of a character whose beginning was dropped."""
        count = 0
        while count < min(self._strays, len(data)) and _follows(data[count]):
            count += 1
        self._strays = self._strays - count if count == len(data) else 0
        self._dropped += count
        return data[count:]

    def _take(self, data: bytes, now: Round) -> list[LogLine]:
        data = self._rest + data
        begin = self._next - len(data)
        *whole, rest = data.split(b"\n")
        told: list[LogLine] = []
        for line in whole:
            rest_of_line = line
            while len(rest_of_line) > MAX_LINE_BYTES:
                cut = _boundary(rest_of_line)
                told.append(self._tell(rest_of_line[:cut], begin, now, is_partial=True))
                rest_of_line, begin = rest_of_line[cut:], begin + cut
            told.append(self._tell(rest_of_line, begin, now, is_partial=False))
            begin += len(rest_of_line) + 1
        while len(rest) > MAX_LINE_BYTES:
            cut = _boundary(rest)
            told.append(self._tell(rest[:cut], begin, now, is_partial=True))
            rest, begin = rest[cut:], begin + cut
        self._rest = rest
        return told

    def _flush(self, now: Round, *, is_whole: bool) -> list[LogLine]:
        """What is held of a line without an end; if it is not whole, without half of a character."""
        count = len(self._rest) - (0 if is_whole else _unfinished(self._rest))
        if not count:
            return []
        told = self._tell(self._rest[:count], self._next - len(self._rest), now, is_partial=True)
        self._rest = self._rest[count:]
        return [told]

    def _tell(self, data: bytes, offset: int, now: Round, *, is_partial: bool) -> LogLine:
        dropped, self._dropped = self._dropped, 0
        end = offset + len(data) + (not is_partial)
        at = now.timeline.at(self.stream, end)
        return LogLine(self.stream, data.decode(errors="replace"), offset, end, at, is_partial, dropped)


def _follows(byte: int) -> bool:
    """Whether it can only be the second or a later byte of a character."""
    return byte & 0xC0 == 0x80


def _boundary(data: bytes) -> int:
    """Where to cut longer data, at most MAX_LINE_BYTES from its beginning and not in a character."""
    places = range(MAX_LINE_BYTES, MAX_LINE_BYTES - MAX_REST_OF_CHARACTER - 1, -1)
    return next((place for place in places if not _follows(data[place])), MAX_LINE_BYTES)


def _unfinished(data: bytes) -> int:
    """How many bytes at the end are of a character that is not complete."""
    for count in range(1, min(MAX_REST_OF_CHARACTER, len(data)) + 1):
        if not _follows(byte := data[-count]):
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return count if count < needed else 0
    return 0
