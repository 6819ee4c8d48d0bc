"""Limits the number of elements in a message. They are counted in its bytes, before any object is made of them.

An empty task takes two bytes of protobuf, three of JSON, and a hundred times as much in memory.
"""

import re
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

MAX_ELEMENTS = 500_000
"""A job of 128 tasks, each with 128 parties that have resources and three bandwidth limits, has fewer in both forms."""
UNCOUNTED_BYTES = 256 * 1024
"""A smaller message is not looked at: with the most elements that it can have, it takes some 20 MB."""

MAX_DEPTH = 100
"""How deeply objects and lists may be nested, as for protobuf's own JSON; any request has fewer levels than ten."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10

# Outside of strings each element follows an opening bracket or a comma, except the first number or name.
_MARKS = (b",", b"[", b"{")
_BRACKET = re.compile(rb'["\[{}\]]')
_JSON_MARK = re.compile(rb'["\[{,]')
_IN_STRING = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,64}+', re.DOTALL)
"""Some of a string: other threads have their turn between two such pieces."""


class TooManyElements(ValueError):
    """The message has more elements than any request needs; the text tells the limit."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MAX_ELEMENTS:,} elements, more than any request needs")


class TooDeep(ValueError):
    """The text is nested more deeply than any request; the text tells the limit."""

    def __init__(self) -> None:
        super().__init__(f"this is nested too deeply: at most {MAX_DEPTH} levels are possible")


def check_protobuf(data: bytes, descriptor: Any) -> None:
    """Raise TooManyElements. Bytes that are no such message pass: the parser says what is wrong with them."""
    if len(data) > UNCOUNTED_BYTES:
        _walk(data, descriptor)


def check_json(data: bytes) -> None:
    """Raise TooManyElements. Text that is no JSON passes: the parser says what is wrong with it."""
    if len(data) <= UNCOUNTED_BYTES or sum(map(data.count, _MARKS)) < MAX_ELEMENTS:
        return
    left, position = MAX_ELEMENTS, 0
    while mark := _JSON_MARK.search(data, position):
        left -= 1
        if not left:
            raise TooManyElements
        position = mark.end()
        if mark[0] == b'"':
            position = _end_of_string(data, position)


def check_levels(value: object) -> None:
    """Raise TooDeep, for decoded JSON. It looks level by level, which costs little."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise TooDeep


def check_depth(data: bytes) -> None:
    """Raise TooDeep, for text that the decoder cannot take."""
    depth, position = 0, 0
    while mark := _BRACKET.search(data, position):
        position = mark.end()
        if mark[0] == b'"':
            position = _end_of_string(data, position)
        elif mark[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise TooDeep
        else:
            depth -= 1


def _end_of_string(data: bytes, position: int) -> int:
    """The index behind the closing quote of a string."""
    while piece := _IN_STRING.match(data, position):
        position = piece.end()
    return position + 1


def _walk(data: bytes, descriptor: Descriptor) -> None:
    """Visit each field of the message and of the messages within it. A text is skipped in one step."""
    left, position = MAX_ELEMENTS, 0
    end, messages = len(data), _messages_in(descriptor)
    outer: list[tuple[int, dict[int, Descriptor]]] = []
    while True:
        while position >= end:
            if not outer:
                return
            end, messages = outer.pop()
        left -= 1
        if not left:
            raise TooManyElements
        try:
            tag, position = _varint(data, position)
            form = tag & 7
            if form == _VARINT:
                _, position = _varint(data, position)
            elif form == _LENGTH:
                length, position = _varint(data, position)
                if position + length > end:
                    return
                if (inner := messages.get(tag >> 3)) is None:
                    position += length
                else:
                    outer.append((end, messages))
                    end, messages = position + length, _messages_in(inner)
            else:
                position += _FIXED_BYTES[form]
        except (IndexError, KeyError, ValueError):
            return


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number and the index behind it. Raises IndexError, ValueError."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    number, shift = byte & 0x7F, 7
    for following in range(position + 1, position + _MAX_VARINT_BYTES):
        byte = data[following]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, following + 1
        shift += 7
    raise ValueError("no varint")


@cache
def _messages_in(descriptor: Descriptor) -> dict[int, Descriptor]:
    """The message type of each field that holds messages, by field number."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type}
