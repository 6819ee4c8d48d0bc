"""How error texts show values from outside and long lists: quoted, escaped, shortened."""

import re
from collections.abc import Callable, Sequence

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_CHARACTERS = 80
LISTED = 20
"""So many entries of a list are named in a text."""
LISTED_CHARACTERS = 4096
"""What the entries of a list may have together, after the first."""


def shown(value: str) -> str:
    """The value in quotes for an error text, shortened in the middle of long input."""
    if len(value) <= _SHOWN_CHARACTERS:
        return f'"{value}"' if value.isprintable() else ascii(value)
    return f"{ascii(value[: _SHOWN_CHARACTERS // 2])[:-1]}…{ascii(value[-8:])[1:]} ({len(value)} characters)"


def bare(value: str) -> str:
    """Like `shown`, for lists of names: without quotes where the value needs none."""
    text = shown(value)
    return value if text == f'"{value}"' else text


def cut(text: str, limit: int) -> str:
    """The text, cut to that many characters; the end of a cut text says that it was cut."""
    if len(text) <= limit:
        return text
    end = f"… (cut, it had {len(text):,} characters)"
    return text[: max(limit - len(end), 0)] + end[:limit]


def seconds_text(seconds: float) -> str:
    """A time span for a text, to the millisecond."""
    return f"{round(seconds, 3):.15g} s"


def listed(entries: Sequence[str], separator: str = ", ") -> str:
    """The entries, joined. Of a long list the first ones, and how many more there are."""
    if len(entries) <= 1:
        return separator.join(entries)
    kept, characters = 1, len(entries[0])
    while kept < min(len(entries), LISTED) and characters + len(entries[kept]) <= LISTED_CHARACTERS:
        characters += len(entries[kept])
        kept += 1
    text = separator.join(entries[:kept])
    return text if kept == len(entries) else f"{text}{separator}… and {len(entries) - kept:,} more"


def first(entries: Sequence[str], most: int, *, show: Callable[[str], str] = str) -> str:
    """The first entries, as they are shown, and how many more there are: for texts in which a list is an aside."""
    more = f" and {len(entries) - most} more" if len(entries) > most else ""
    return ", ".join(map(show, entries[:most])) + more
