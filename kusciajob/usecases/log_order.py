"""Puts the lines of both streams of a program in the order in which they arrived."""

from collections.abc import AsyncGenerator, Sequence

from kusciajob.contracts import OutputStream
from kusciajob.usecases.log_lines import LineReader, LogLine, Round

_RANKS = {stream: rank for rank, stream in enumerate(OutputStream)}


async def merged(readers: Sequence[LineReader], now: Round) -> AsyncGenerator[Sequence[LogLine], None]:
    """The lines of this round: by arrival as far as it is known, stdout before stderr where it is the same."""
    waiting: list[list[LogLine]] = [[] for _ in readers]

    def order(line: LogLine) -> tuple[int, int]:
        return now.timeline.place(line.stream, line.end_offset), _RANKS[line.stream]

    while True:
        for at, reader in enumerate(readers):
            waiting[at] = waiting[at] or await reader.lines(now)
        have = [lines for lines in waiting if lines]
        if not have:
            return
        if len(have) == 1:
            yield have[0]
            waiting = [[] for _ in readers]
            continue
        together = sorted((line for lines in have for line in lines), key=order)
        # What comes behind the last line known of a stream has to wait for that stream's next ones.
        ends = {id(lines[-1]) for lines in have}
        cut = next(at for at, line in enumerate(together, start=1) if id(line) in ends)
        yield together[:cut]
        rest = together[cut:]
        waiting = [[line for line in rest if line.stream is reader.stream] for reader in readers]


class TailFilter:
    """Leaves out so many lines at the beginning, and those that certainly arrived before a time."""

    def __init__(self, surplus: int, since: float | None) -> None:
        self._surplus = surplus
        self._since = since
        self._is_inside = dict.fromkeys(OutputStream, False)
        """Whether the next of a stream goes on with a line."""
        self._is_skipping = dict.fromkeys(OutputStream, False)

    def keep(self, lines: Sequence[LogLine]) -> Sequence[LogLine]:
        """Those of the next lines that are wanted."""
        if self._since is not None:
            lines = [line for line in lines if line.at is None or line.at >= self._since]
        if self._surplus <= 0 and not any(self._is_skipping.values()):
            return lines
        return [line for line in lines if not self._skips(line)]

    def _skips(self, line: LogLine) -> bool:
        if not self._is_inside[line.stream]:
            self._is_skipping[line.stream] = self._surplus > 0
            self._surplus -= 1
        self._is_inside[line.stream] = line.is_partial
        is_skipped = self._is_skipping[line.stream]
        if not line.is_partial:
            self._is_skipping[line.stream] = False
        return is_skipped
