"""Requests that come as parameters of a URL: in its path and its query, each a field of a message."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.text import bare, first, listed, shown
from kusciajob.wire.json_reader import JsonError, field_reader

MAX_PROBLEMS = 20
"""So many are told of one request."""
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_BOOLEANS = {"true": True, "false": False}
_SINGLE_VALUES = ("google.protobuf.Timestamp", "google.protobuf.Duration")
"""The messages that JSON has a text for."""

_Message = TypeVar("_Message", bound=Message)


class BrokenText(ValueError):
    """What is percent-encoded is no text; the error says why."""


def decode(text: str, *, is_query: bool = False) -> str:
    """The text of a part of a URL as it was sent; in a query, + is a space. Raises BrokenText."""
    if broken := _BROKEN_ESCAPE.search(text):
        raise BrokenText(f"{shown(broken[0])} is no percent-encoding: % and two hexadecimal digits, and %25 for %")
    if is_query:
        text = text.replace("+", " ")
    try:
        return unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError as error:
        raise BrokenText(
            f"byte {error.start} (0x{error.object[error.start]:02x}) is not UTF-8: percent-encode UTF-8"
        ) from None


def is_parameter(field: FieldDescriptor) -> bool:
    """Whether a query can have the field: a scalar, an enum, a time or a duration, or a list of them."""
    return field.message_type is None or field.message_type.full_name in _SINGLE_VALUES


def read_parameters(kind: type[_Message], *, path: Mapping[str, str], query: str, takes_query: bool = True) -> _Message:
    """The request. `path` has the values of its path, decoded; `query` is as it was sent.

    Raises InvalidJob, which names each unknown, repeated or unreadable parameter.
    """
    descriptor: Any = kind.DESCRIPTOR
    fields = _fields_of(descriptor) if takes_query else {}
    texts: dict[str, list[str]] = {name: [value] for name, value in path.items()}
    known = _known(fields, path) if takes_query else "the request is the body"
    problems: list[Problem] = []
    for name, value, broken in _pairs(query):
        field = fields.get(name)
        if broken:
            problems.append(Problem(name, broken))
        elif field is None:
            problems.append(Problem(name, f"is no parameter here: {known}"))
        elif field.name in path:
            problems.append(Problem(name, f"is {shown(path[field.name])} already, in the path"))
        elif field.name in texts and not field.is_repeated:
            problems.append(Problem(name, f"is given twice, at last as {shown(value)}: once is possible"))
        else:
            texts.setdefault(field.name, []).append(value)
        if len(problems) >= MAX_PROBLEMS:
            break
    values: dict[str, Any] = {}
    for name, given in texts.items():
        try:
            values[name] = _read(descriptor.fields_by_name[name], given)
        except JsonError as error:
            problems.append(Problem(name, str(error)))
    if problems:
        raise InvalidJob(listed([f"{bare(each.field)}: {each.text}" for each in problems], "; "), problems=problems)
    return kind(**values)


def _pairs(query: str) -> Iterator[tuple[str, str, str]]:
    """Each name with its value, and with what is wrong with them."""
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        try:
            yield decode(name, is_query=True), decode(value, is_query=True), ""
        except BrokenText as error:
            yield ascii(name)[1:-1], "", str(error)


def _read(field: FieldDescriptor, texts: Sequence[str]) -> Any:
    """The value of a field. Raises JsonError."""
    is_bool = field.type == FieldDescriptor.TYPE_BOOL
    values = [_BOOLEANS.get(text, text) for text in texts] if is_bool else list(texts)
    return field_reader(field)(values if field.is_repeated else values[0])


@cache
def _fields_of(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """The fields that a query can have, by both of their names."""
    fields = [field for field in descriptor.fields if is_parameter(field)]
    return {name: field for field in fields for name in (field.name, field.json_name)}


def _known(fields: Mapping[str, FieldDescriptor], path: Mapping[str, str]) -> str:
    names = dict.fromkeys(field.name for field in fields.values() if field.name not in path)
    return f"there is {first(list(names), MAX_PROBLEMS)}" if names else "there are none"
