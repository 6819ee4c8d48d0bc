"""How values that somebody else wrote appear in our texts."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_CHARACTERS = 80


def shown(value: str) -> str:
    """The value in quotes for an error text, shortened in the middle of long input."""
    if len(value) <= _SHOWN_CHARACTERS:
        return ascii(value) if CONTROL.search(value) else f'"{value}"'
    return f"{ascii(value[: _SHOWN_CHARACTERS // 2])[:-1]}…{ascii(value[-8:])[1:]} ({len(value)} characters)"


def bare(value: str) -> str:
    """The same without quotes where the value needs none, for lists of names."""
    text = shown(value)
    return value if text == f'"{value}"' else text
