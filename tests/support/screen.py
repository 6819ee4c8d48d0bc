"""A program on a real pseudo-terminal, and the screen that such a terminal would show."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.program import END_SECONDS, argv, environment_for

_PIECES = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])|([^\x1b])|(\x1b)", re.DOTALL)


class Screen:
    """Rows of text and a cursor. It knows what the program may use; anything else fails the test.

    What was wrapped is counted.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines = [""]
        """From `_top` on they are on the screen."""
        self.wrapped = 0
        self.frames: list[list[str]] = []
        """What was on the screen after each paint."""
        self._top = 0
        self._row = 0
        self._column = 0
        self._wraps = True

    @property
    def text(self) -> str:
        """All lines, also those that have left by the top."""
        return "\n".join(self.lines)

    def feed(self, text: str) -> None:
        """Do what the program wrote."""
        for mode, number, command, character, stray in _PIECES.findall(text):
            assert not stray, f"an unknown sequence in {text!r}"
            if command:
                self._act(mode, number, command)
            else:
                self._write(character)

    def resize(self, rows: int, columns: int) -> None:
        """As most terminals do: lines too long for the new width go on in the next row."""
        lines: list[str] = []
        row = 0
        for index, line in enumerate(self.lines):
            if index == self._row:
                row = len(lines)
            lines += [line[start : start + columns] for start in range(0, len(line), columns)] or [""]
        self.lines, self._row, self.rows, self.columns = lines, row, rows, columns
        self._top = max(0, len(lines) - rows)

    def _act(self, mode: str, number: str, command: str) -> None:
        match mode + command:
            case "A":
                self._row = max(self._row - int(number or 1), self._top)
            case "K":
                self.lines[self._row] = self.lines[self._row][: self._column]
            case "J":
                self.lines[self._row] = self.lines[self._row][: self._column]
                del self.lines[self._row + 1 :]
            case "?l" | "?h" if number == "7":
                self._wraps = command == "h"
                if self._wraps:
                    self.frames.append(self.lines[self._top :])
            case "m":
                pass
            case _:
                raise AssertionError(f"unknown: ESC [ {mode}{number}{command}")

    def _write(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
                self._top = max(self._top, len(self.lines) - self.rows)
        else:
            width = columns_of(character)
            if self._column + width > self.columns:
                if not self._wraps:
                    return
                self.wrapped += 1
                self._write("\r")
                self._write("\n")
            # A wide character is followed by an empty cell.
            cells = (self.lines[self._row].ljust(self._column))[: self._column] + character.ljust(width, "\0")
            self.lines[self._row] = cells + self.lines[self._row][len(cells) :]
            self._column += width


def columns_of(text: str) -> int:
    """How many columns it takes."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


class OnTerminal:
    """`kusciajob` with stdout and stderr on one terminal; a thread reads what it writes."""

    def __init__(self, process: "subprocess.Popen[bytes]", controller: int, screen: Screen) -> None:
        self.process = process
        self.screen = screen
        self.written = ""
        self._controller = controller
        self._turn = threading.Lock()
        self._failure: BaseException | None = None
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def resize(self, rows: int, columns: int) -> None:
        with self._turn:
            set_size(self._controller, rows, columns)
            self.screen.resize(rows, columns)
            self.screen.frames.clear()

    def frame(self) -> list[str]:
        """What the last paint has left on the screen, without the cursor's line; empty for none."""
        assert self._failure is None, self._failure
        with self._turn:
            return self.screen.frames[-1][:-1] if self.screen.frames else []

    def end(self) -> int:
        """The exit code, once all is read."""
        self._reading.join(END_SECONDS)
        assert self._failure is None, self._failure
        return self.process.wait(END_SECONDS)

    def _read(self) -> None:
        rest = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(self._controller, 1 << 16):
                # Sequences and characters are not cut: up to the last line break or end of a paint.
                whole, rest = _split(rest + piece)
                self._feed(whole)
        self._feed(rest)

    def _feed(self, whole: bytes) -> None:
        try:
            with self._turn:
                self.written += whole.decode()
                self.screen.feed(whole.decode())
        except BaseException as failure:
            self._failure = self._failure or failure


@contextmanager
def on_terminal(*arguments: object, rows: int, columns: int, **environment: str) -> Iterator[OnTerminal]:
    """Run the program on a terminal of that size; killed at the end if need be."""
    controller, terminal = pty.openpty()
    set_size(controller, rows, columns)
    process = subprocess.Popen(
        argv(*arguments),
        env=environment_for(None, {"TERM": "xterm-256color", **environment}),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    running = OnTerminal(process, controller, Screen(rows, columns))
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        running.end()
        os.close(controller)


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = max(data.rfind(b"\n") + 1, data.rfind(b"\x1b[?7h") + 5 if b"\x1b[?7h" in data else 0)
    return data[:end], data[end:]
