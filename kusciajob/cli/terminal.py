"""The one way to the terminal: whatever programs, jobs and servers say is shown, and none of it acts.

A sequence that begins with ESC, or with a C1 character, writes to the clipboard, clears the screen or renames the
window; a carriage return covers what stands on its line; marks of direction turn a line around; what has no width makes
two names look the same.
"""

import os
import re
import sys
from collections.abc import Iterable
from typing import IO, Any

import click

# C0, DEL and C1, what Unicode counts as format or as separator of lines, other characters that show nothing, and halves
# of surrogates. Two kinds are left alone: signs of number, which are visible, and variation selectors as in emoji.
HOSTILE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)
_LAYOUT = "\n\t"
_RETURN = "\r"
_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")
"""Of SGR: what is none of these, such as red, means something elsewhere."""


def clean(text: str) -> str:
    r"""The text with escapes such as \x1b or \u202e for what is hostile; line breaks and tabs stay."""
    return HOSTILE.sub(_escaped_unless_layout, text.replace("\r\n", "\n"))


def visible(text: str) -> str:
    """The text with escapes also for line breaks and tabs."""
    return HOSTILE.sub(_escaped, text)


def one_line(text: str) -> str:
    """The text cleaned, each of its spaces, line breaks and tabs as one space."""
    return " ".join(clean(text).split())


def json_text(text: str) -> str:
    """JSON that means the same: what is hostile stands escaped in its strings. C0 is escaped in any JSON."""
    return HOSTILE.sub(_escaped_as_json, text)


def say(text: str, *, err: bool = False) -> None:
    """Print the text cleaned, to stdout or stderr, and flush it."""
    click.echo(clean(text), err=err)


def say_line(text: str, *, file: IO[Any] | None = None, err: bool = False) -> None:
    """Print the text as one line, and flush it."""
    click.echo(one_line(text), file=file, err=err)


def say_json(text: str, *, err: bool = False) -> None:
    """Print JSON, to stdout or stderr, and flush it."""
    click.echo(json_text(text), err=err)


def say_marked(mark: str, lines: Iterable[str], colour: int) -> None:
    """Print the lines cleaned to stderr, each behind the mark; where there is colour, equal numbers have equal ones."""
    mark = one_line(mark) + " "
    if has_colour():
        mark = f"\x1b[{_COLOURS[colour % len(_COLOURS)]}m{mark}\x1b[0m"
    # A line that is cleaned has no break of its own, so none can pass for another party's.
    act("".join(f"{mark}{clean(line.removesuffix(_RETURN))}\n" for line in lines))


def can_move() -> bool:
    """Whether stderr is a terminal on which the cursor moves."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def has_colour() -> bool:
    """Whether stderr is a terminal that shows colours, and its user wants them (NO_COLOR)."""
    return can_move() and not os.environ.get("NO_COLOR")


def is_one_place() -> bool:
    """Whether stdout and stderr go to the same terminal or file."""
    return os.path.samestat(os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno()))


def act(text: str) -> None:
    """Write the text to stderr as it is, for its effect on the terminal, at once: whoever made it has cleaned it."""
    sys.stderr.write(text)
    sys.stderr.flush()


def is_terminal() -> bool:
    """Whether what is printed goes to a terminal, not to a file or another program."""
    return sys.stdout.isatty()


def pass_on(text: str) -> None:
    """Print the text as it is: for other programs. Flushed."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _escaped_unless_layout(found: re.Match[str]) -> str:
    return found[0] if found[0] in _LAYOUT else _escaped(found)


def _escaped_as_json(found: re.Match[str]) -> str:
    character = found[0]
    if character < " ":
        return character
    code = character.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{code[start : start + 4]}" for start in range(0, len(code), 4))
