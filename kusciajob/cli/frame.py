"""Lines at the bottom of a terminal that are painted over each other."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kusciajob.cli import terminal

_UP, _ERASE_REST_OF_LINE, _ERASE_BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"


class Frame:
    """What is painted on stderr stays until it is painted over or cleared; the cursor waits on the line below.

    So a program that dies in between leaves a terminal in order.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._painted: tuple[list[Text], int] = ([], 0)

    def paint(self, lines: Sequence[Text], *, columns: int) -> None:
        """Show these lines, cut to what a terminal of so many columns shows on one line each. Blocks as it does."""
        lines = list(lines)
        if (lines, columns) == self._painted:
            return
        for line in lines:
            # The last column stays free: some terminals begin a new line when it is written.
            line.truncate(max(1, columns - 1), overflow="ellipsis")
        # Terminals disagree about the width of some characters: nothing is wrapped where ours is too small.
        body = "".join(f"{self._escaped(line, columns)}{_ERASE_REST_OF_LINE}\n" for line in lines)
        terminal.act(f"{self._to_the_top(columns)}{_WRAP_OFF}{body}{_ERASE_BELOW}{_WRAP_ON}")
        self._painted = lines, columns

    def clear(self, *, columns: int) -> None:
        """Take away what is painted."""
        if self._painted[0]:
            terminal.act(f"{self._to_the_top(columns)}{_ERASE_BELOW}")
            self._painted = [], columns

    def _to_the_top(self, columns: int) -> str:
        """To where the frame begins: a terminal that became narrower has wrapped the lines that stood there."""
        rows = sum(max(1, -(-line.cell_len // max(1, columns))) for line in self._painted[0])
        return "\r" + (_UP.format(rows) if rows else "")

    def _escaped(self, line: Text, columns: int) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", width=max(columns, 1), no_wrap=True, overflow="crop", crop=False)
        return captured.get()
