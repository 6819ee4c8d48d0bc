"""Lines that are painted over each other on a terminal of any size."""

import pytest
from rich.console import Console
from rich.text import Text

from kusciajob.cli.frame import Frame
from tests.support.screen import Screen, columns_of


class Painted:
    """A frame, and the screen on which it is."""

    def __init__(self, capsys: pytest.CaptureFixture[str], rows: int, columns: int) -> None:
        self.screen = Screen(rows, columns)
        self._capsys = capsys
        self._frame = Frame(Console(force_terminal=True, width=columns))
        self.screen.feed("$ kusciajob run\r\n")

    def paint(self, *lines: str) -> list[str]:
        self._frame.paint([Text(line, style="green") for line in lines], columns=self.screen.columns)
        return self._seen()

    def clear(self) -> list[str]:
        self._frame.clear(columns=self.screen.columns)
        return self._seen()

    def _seen(self) -> list[str]:
        self.screen.feed(self._capsys.readouterr().err.replace("\n", "\r\n"))
        return self.screen.lines


def test_a_frame_replaces_the_one_before_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    painted = Painted(capsys, 10, 20)
    assert painted.paint("one", "two", "three") == ["$ kusciajob run", "one", "two", "three", ""]
    assert painted.paint("1") == ["$ kusciajob run", "1", ""]
    assert painted.clear() == ["$ kusciajob run", ""]


def test_lines_are_cut_by_the_columns_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    painted = Painted(capsys, 10, 12)
    lines = painted.paint("隐私求交隐私求交隐私求交", "a" * 30, "e\u0301" * 8)
    assert [line.replace("\0", "") for line in lines[2:4]] == ["隐私求交隐…", "a" * 10 + "…"]
    assert all(columns_of(line.replace("\0", "")) < 12 for line in lines[1:])
    assert painted.screen.wrapped == 1, "only what the shell wrote"


@pytest.mark.parametrize("columns", [7, 13, 39, 80, 200])
def test_nothing_remains_of_a_frame_that_the_terminal_has_wrapped(
    columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    painted = Painted(capsys, 60, 40)
    painted.paint("x" * 39, "y" * 20, "z")
    painted.screen.resize(60, columns)
    before = "".join(painted.screen.lines).index("x")
    lines = painted.paint("1", "2")
    assert lines[-3:] == ["1", "2", ""]
    assert "".join(lines[:-3]) == "$ kusciajob run"[:before]
