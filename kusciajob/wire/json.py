"""Protobuf messages as JSON, after the proto3 mapping and in the form that Kuscia's gateway uses.

Made for messages like Kuscia's: no oneof, no `optional`, no map to messages, none that contains itself.
Readers and writers are put together from a message's descriptor once, on first use.

Where this differs from `google.protobuf.json_format`, with all of its default values printed:

- Written: an unset message is null, not left out; in `Any`, a type that is not known here keeps its bytes as base64.
- Refused, though read there: names and numbers of enum values that cannot be (there skipped or wrapped), anything but
  an object for a message (there sometimes an empty one), what is not base64 in bytes, and as numbers true, false,
  "inf", "1_0", digits other than 0 to 9, white space in quotes, and what rounds to infinity.
- Read, though refused there: a name that is repeated, of which the last counts; "1.0" for an enum; the largest 32-bit
  float in the form in which both write it.
"""

from typing import TypeVar

import msgspec
from google.protobuf.message import Message

from kusciajob.wire.bounds import TooManyElements, check_json
from kusciajob.wire.json_reader import JsonError, reader_of
from kusciajob.wire.json_writer import writer_of

__all__ = ["JsonError", "from_json", "to_json"]

_Message = TypeVar("_Message", bound=Message)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def to_json(message: Message) -> bytes:
    """All fields by their proto names, also those that have their default values; an unset message is null."""
    return _encode(writer_of(message.DESCRIPTOR)(message))


def from_json(data: bytes, kind: type[_Message]) -> _Message:
    """Unknown fields are ignored, null counts as absent, names may be snake_case or camelCase. JsonError."""
    try:
        check_json(data)
        value = _decode(data)
    except TooManyElements as error:
        raise JsonError(str(error)) from None
    except RecursionError:
        raise JsonError("this is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonError(f"this is not JSON: {error}") from None
    return kind(**reader_of(kind.DESCRIPTOR)(value))
