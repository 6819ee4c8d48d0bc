"""What is printed shows everything and does nothing: of whatever text."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob.cli import terminal

ACTS = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""Unicode's categories of what controls, formats or separates lines, and halves of surrogates."""
# Visible signs that Unicode counts as format.
SIGNS_OF_NUMBER = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")

FAVOURITES = "\x1b\x07\r\n\t\x9b\x85\u2028\u202e\u200b\\"
texts = st.text(st.characters(codec=None) | st.sampled_from(FAVOURITES + "\ud800"))
# JSON cannot tell two halves of surrogates from the character that they make; texts of the API have none.
json_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(FAVOURITES))


def acting(text: str) -> list[str]:
    return [character for character in text if unicodedata.category(character) in ACTS - {"Cs"}]


def test_every_character_that_acts_is_hostile() -> None:
    characters = map(chr, range(0x110000))
    acts = {character for character in characters if unicodedata.category(character) in ACTS} - SIGNS_OF_NUMBER
    assert {character for character in acts if not terminal.HOSTILE.fullmatch(character)} == set()


@pytest.mark.parametrize("text", ["Grüße, 数据, שלום, مرحبا, 🧪 ❤️", "a\u0301", "\u3000"])
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert terminal.clean(text) == text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]52;c;cm0=\x07", r"\x1b]52;c;cm0=\x07"),  # writes to the clipboard
        ("\x1b[2J\x9b2J", r"\x1b[2J\x9b2J"),  # clears the screen
        ("\x9d0;title\x9c", r"\x9d0;title\x9c"),
        ("50%\r100%", r"50%\r100%"),  # covers what stood there
        ("a\x85b\u2028c\u2029d\x0be\x0cf", r"a\x85b\u2028c\u2029d\x0be\x0cf"),  # other ends of lines
        ("\u202egnp.exe\u2066\u200f\u061c", r"\u202egnp.exe\u2066\u200f\u061c"),  # turns text around
        ("ali\u200bce\ufeff\u00ad\u2060", r"ali\u200bce\ufeff\xad\u2060"),  # looks like another name
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
        ("\x7f\x08\x00", r"\x7f\x08\x00"),
        ("ends as on Windows\r\n\tgoes on\n", "ends as on Windows\n\tgoes on\n"),
    ],
)
def test_what_is_hostile_is_shown_as_an_escape(hostile: str, shown: str) -> None:
    assert terminal.clean(hostile) == shown


@given(texts)
def test_nothing_acts_in_a_clean_text_but_line_breaks_and_tabs(text: str) -> None:
    cleaned = terminal.clean(text)
    assert set(acting(cleaned)) <= {"\n", "\t", *SIGNS_OF_NUMBER}
    assert cleaned.encode().decode() == cleaned
    assert terminal.clean(cleaned) == cleaned


@given(texts)
def test_one_line_is_one_line(text: str) -> None:
    for line in (terminal.one_line(text), terminal.visible(text)):
        assert len(line.splitlines()) <= 1
        assert set(acting(line)) <= SIGNS_OF_NUMBER


@given(texts)
def test_a_text_without_what_is_hostile_stays_as_it_is(text: str) -> None:
    harmless = terminal.HOSTILE.sub("", text)
    assert terminal.clean(harmless) == terminal.visible(harmless) == harmless


@given(
    st.recursive(json_texts, lambda values: st.lists(values) | st.dictionaries(json_texts, values)),
    st.sampled_from([None, 2]),
)
def test_json_means_the_same_and_nothing_acts_in_it(value: object, indent: int | None) -> None:
    written = terminal.json_text(json.dumps(value, ensure_ascii=False, indent=indent))
    assert json.loads(written) == value
    assert set(acting(written)) <= {"\n", *SIGNS_OF_NUMBER}
