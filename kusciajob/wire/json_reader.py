"""Builds readers: functions that turn JSON values into messages of one kind. Made from the message's descriptor."""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob.model.text import first
from kusciajob.wire.json_writer import map_entry

_Convert = Callable[[Any], Any]

_MAX_SHOWN = 40
_INTEGER = re.compile(r"-?[0-9]{1,40}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][-+]?[0-9]{1,9})?")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")
_NAMED = 16
"""So many of the names are told to who used one that is unknown."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INT32, _UINT32 = (-(2**31), 2**31 - 1), (0, 2**32 - 1)
_INT64, _UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: _INT32,
    FieldDescriptor.CPPTYPE_UINT32: _UINT32,
    FieldDescriptor.CPPTYPE_INT64: _INT64,
    FieldDescriptor.CPPTYPE_UINT64: _UINT64,
}


class JsonError(ValueError):
    """The text is no JSON, or does not fit the message; it names the place and what would be right."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(f"{path}: {text}" if path else text)
        self.text = text
        self.path = path

    def within(self, step: str) -> "JsonError":
        """The error with its place extended by the object or list that contains it."""
        separator = "" if not self.path or self.path.startswith("[") else "."
        return JsonError(self.text, f"{step}{separator}{self.path}")


@cache
def reader_of(descriptor: Descriptor, *, is_strict: bool = False) -> _Convert:
    """What reads a message of that kind. A strict one refuses names that no field has."""
    if known := _WELL_KNOWN.get(descriptor.full_name):
        return known
    fields: dict[str, tuple[str, _Convert]] = {}
    for field in descriptor.fields:
        fields[field.name] = fields[field.json_name] = (field.name, field_reader(field, is_strict=is_strict))

    def read(value: Any) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, item in _object(value).items():
            if name not in fields:
                if is_strict:
                    raise unknown_field(name, descriptor)
                continue
            if item is None:
                continue
            field, convert = fields[name]
            try:
                if field in given:
                    raise JsonError(f"is given twice: {field} and {name} are the same")
                given[field] = convert(item)
            except JsonError as error:
                raise error.within(name) from None
        return given

    return read


def field_reader(field: FieldDescriptor, *, is_strict: bool = False) -> _Convert:
    """What reads the value of a field: a list, a map, a message or a scalar. It raises JsonError."""
    if entry := map_entry(field):
        key, value = entry.fields
        read_value = _read_text if value.type == value.TYPE_STRING else _value_reader(value, is_strict=is_strict)
        return _map_reader(_key_reader(key), read_value)
    read = _value_reader(field, is_strict=is_strict)
    return _list_reader(read) if field.is_repeated else read


def unknown_field(name: str, descriptor: Descriptor) -> JsonError:
    """The error for a name that no field of the message has."""
    names = first([field.name for field in descriptor.fields], _NAMED)
    return JsonError(f"{described(name)} is unknown here: {f'there is {names}' if names else 'there are no fields'}")


def _list_reader(read_item: _Convert) -> _Convert:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise JsonError(f"expected a list, not {described(value)}")
        items = []
        for item in value:
            try:
                items.append(read_item(item))
            except JsonError as error:
                raise error.within(f"[{len(items)}]") from None
        return items

    return read


def _map_reader(read_key: _Convert, read_value: _Convert) -> _Convert:
    def read(value: Any) -> dict[Any, Any]:
        entries = {}
        for key, item in _object(value).items():
            try:
                entries[read_key(key)] = read_value(item)
            except JsonError as error:
                raise error.within(f"[{described(key)}]") from None
        return entries

    return read


def _key_reader(field: FieldDescriptor) -> _Convert:
    return _read_bool_key if field.type == FieldDescriptor.TYPE_BOOL else _value_reader(field)


def _value_reader(field: FieldDescriptor, *, is_strict: bool = False) -> _Convert:
    if field.message_type:
        return reader_of(field.message_type, is_strict=is_strict)
    if field.enum_type:
        return _enum_reader(field.enum_type)
    if field.cpp_type in _RANGES:
        return _integer_reader(*_RANGES[field.cpp_type])
    match field.type:
        case FieldDescriptor.TYPE_BOOL:
            return _read_bool
        case FieldDescriptor.TYPE_BYTES:
            return _read_bytes
        case FieldDescriptor.TYPE_FLOAT:
            return _read_float32
        case FieldDescriptor.TYPE_DOUBLE:
            return _read_float
    return _read_string


def _read_string(value: Any) -> str:
    if not isinstance(value, str):
        raise JsonError(f"expected a string, not {described(value)}")
    return value


def _read_text(value: Any) -> str:
    """Read a text in a map: there Kuscia and its clients read null as the empty text."""
    return "" if value is None else _read_string(value)


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise JsonError(f"expected true or false, not {described(value)}")
    return value


def _read_bool_key(key: str) -> bool:
    if key not in ("true", "false"):
        raise JsonError('expected "true" or "false" as the key')
    return key == "true"


def _integer_reader(low: int, high: int) -> _Convert:
    def read(value: Any) -> int:
        number = value if type(value) is int else _whole(value)
        if number is None:
            raise JsonError(f"expected a whole number, not {described(value)}")
        if not low <= number <= high:
            raise JsonError(f"{described(value)} is out of range: {low} to {high}")
        return number

    return read


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        value = float(value) if _NUMBER.fullmatch(value) else None
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _enum_reader(enum: EnumDescriptor) -> _Convert:
    numbers: Mapping[str, int] = {value.name: value.number for value in enum.values}
    read_number = _integer_reader(*_INT32)

    def read(value: Any) -> int:
        number = numbers.get(value) if isinstance(value, str) else None
        if number is not None:
            return number
        try:
            return int(read_number(value))
        except JsonError:
            names = ", ".join(numbers)
            raise JsonError(f"expected one of {names}, not {described(value)}") from None

    return read


def _read_float32(value: Any) -> float:
    number = _read_float(value)
    try:
        struct.pack("<f", number)
    except OverflowError:
        raise JsonError(f"{described(value)} is out of range for a 32-bit number") from None
    return number


def _read_float(value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    is_number = _NUMBER.fullmatch(value) if isinstance(value, str) else type(value) in (int, float)
    if not is_number:
        raise JsonError(f'expected a number, "NaN", "Infinity" or "-Infinity", not {described(value)}')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise JsonError(f"{described(value)} is out of range for a 64-bit number")
    return number


def _read_bytes(value: Any) -> bytes:
    text = _read_string(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise JsonError(f"expected bytes as base64, not {described(value)}") from None


def _read_any(value: Any) -> AnyMessage:
    try:
        return json_format.ParseDict(_object(value), AnyMessage(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, RecursionError) as error:
        raise JsonError(f'expected a message and its "@type": {error}') from None


def _read_timestamp(value: Any) -> Timestamp:
    read = Timestamp()
    try:
        if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
            read.FromJsonString(value)
            return read
    except (ValueError, OverflowError):  # there is no such day, or it is not in the years 1 to 9999
        pass
    raise JsonError(f'expected a time such as "2026-11-27T10:59:38Z" (RFC 3339), not {described(value)}')


def _read_duration(value: Any) -> Duration:
    read = Duration()
    try:
        if isinstance(value, str) and _DURATION.fullmatch(value):
            read.FromJsonString(value)
            return read
    except (ValueError, OverflowError):
        pass
    raise JsonError(f'expected a duration in seconds such as "90s" or "0.5s", not {described(value)}')


_WELL_KNOWN: Mapping[str, _Convert] = {
    AnyMessage.DESCRIPTOR.full_name: _read_any,
    Timestamp.DESCRIPTOR.full_name: _read_timestamp,
    Duration.DESCRIPTOR.full_name: _read_duration,
}
"""Messages that JSON has another form for."""


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JsonError(f"expected an object, not {described(value)}")
    return value


def described(value: object) -> str:
    """A value as errors show it."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case int() if not _INT64[0] <= value <= _UINT64[1]:
            return f"a number of {value.bit_length()} bits"
        case str() if len(value) > _MAX_SHOWN:
            return f'{msgspec.json.encode(value[:_MAX_SHOWN]).decode()[:-1]}…" ({len(value)} characters)'
    return msgspec.json.encode(value).decode()
