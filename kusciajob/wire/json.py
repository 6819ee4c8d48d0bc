"""Protobuf messages as JSON, after the proto3 mapping and in the form that Kuscia's gateway uses.

Made for messages like Kuscia's and ours: no oneof, none that contains itself.
Readers and writers are built from a message's descriptor once, on first use.

Where this differs from `google.protobuf.json_format`, with all of its default values printed:

- Written: an unset message or `optional` is null, not left out; in `Any`, a type that is not known here keeps its
  bytes as base64.
- Refused, though read there: names and numbers of enum values that cannot be (there skipped or wrapped), anything but
  an object for a message (there sometimes an empty one), what is not base64 in bytes, and as numbers true, false,
  "inf", "1_0", digits other than 0 to 9, white space in quotes, and what rounds to infinity.
- Read, though refused there: a name that is repeated, of which the last counts; "1.0" for an enum; the largest 32-bit
  float in the form in which both write it; null as a value of a map to strings, which is the empty string.
"""

import codecs
from typing import TypeVar

import msgspec
from google.protobuf.message import Message

from kusciajob.wire.bounds import TooDeep, TooManyElements, check_depth, check_json, check_levels
from kusciajob.wire.json_reader import JsonError, reader_of
from kusciajob.wire.json_writer import writer_of

__all__ = ["JsonError", "from_json", "from_value", "to_json"]

_Message = TypeVar("_Message", bound=Message)

_STRICT_PACKAGES = ("kusciajob.v1", "kusciajob.testing.v1")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def to_json(message: Message) -> bytes:
    """All fields by their proto names, also with their default values; an unset message or `optional` is null."""
    return _encode(writer_of(message.DESCRIPTOR)(message))


_MARKS = {codecs.BOM_UTF8: "a byte order mark", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def _problem(data: bytes, error: Exception) -> str:
    """Say what is wrong. The text is the same for every Python, though their decoders differ in depth."""
    if isinstance(error, TooManyElements | TooDeep):
        return str(error)
    try:
        check_depth(data)
    except TooDeep as too_deep:
        return str(too_deep)
    return f"this is not JSON: {_encoding_problem(data) or error}"


def _encoding_problem(data: bytes) -> str:
    """What is wrong with the text's encoding, and where; empty if it is UTF-8."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return f"it begins with {name} (byte 0): send UTF-8 without such a mark"
    if b"\0" in data[:4]:
        return f"byte {data.index(0)} is NUL, as in UTF-16 and UTF-32: send UTF-8"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8: send UTF-8"
    return ""


def from_json(data: bytes, kind: type[_Message]) -> _Message:
    """Null counts as absent, names may be snake_case or camelCase. Raises JsonError.

    Unknown fields are ignored in Kuscia's requests, whose clients rely on that, and refused in those of kusciajob.v1.
    """
    try:
        check_json(data)
        value = _decode(data)
        check_levels(value)
    except (TooManyElements, TooDeep, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JsonError(_problem(data, error)) from None
    return from_value(value, kind)


def from_value(value: object, kind: type[_Message]) -> _Message:
    """Like from_json, for a text that a reader of JSON or YAML has decoded. Raises JsonError."""
    return kind(**reader_of(kind.DESCRIPTOR, is_strict=kind.DESCRIPTOR.file.package in _STRICT_PACKAGES)(value))
