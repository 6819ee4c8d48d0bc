"""Builds writers: functions that turn messages of one kind into JSON values. Made from the message's descriptor."""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

_Convert = Callable[[Any], Any]


@cache
def writer_of(descriptor: Descriptor) -> _Convert:
    if known := _WELL_KNOWN.get(descriptor.full_name):
        return known
    names = [field.name for field in descriptor.fields]
    read = _attributes(names)
    converted: list[tuple[str, _Convert]] = []
    present: list[tuple[str, _Convert]] = []
    for field in descriptor.fields:
        if field.has_presence:  # messages, and what is `optional`
            present.append((field.name, _value_writer(field) or _same))
        elif convert := _field_writer(field):
            converted.append((field.name, convert))

    def write(message: Any) -> dict[str, Any]:
        values = dict(zip(names, read(message), strict=True))
        for name, convert in converted:
            values[name] = convert(values[name])
        for name, convert in present:
            values[name] = convert(values[name]) if message.HasField(name) else None
        return values

    return write


def _attributes(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Read all fields at once, which is what makes a writer fast."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


def _field_writer(field: FieldDescriptor) -> _Convert | None:
    """The writer of a field; None if its value goes to JSON unchanged."""
    if entry := map_entry(field):
        write_key, write_value = map(_value_writer, entry.fields)
        return _map_writer(write_key or _json_key, write_value or _same)
    write = _value_writer(field)
    if not field.is_repeated:
        return write
    return (lambda values: [write(value) for value in values]) if write else list


def _map_writer(write_key: _Convert, write_value: _Convert) -> _Convert:
    return lambda entries: {write_key(key): write_value(value) for key, value in entries.items()}


def _value_writer(field: FieldDescriptor) -> _Convert | None:
    if field.message_type:
        return writer_of(field.message_type)
    if field.enum_type:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number, number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
            return str
        case FieldDescriptor.CPPTYPE_FLOAT:
            return _write_float32
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return _write_float
    return None


def _write_float32(value: float) -> float | str:
    """Use the fewest digits that tell it from all other 32-bit numbers: 0.42, not 0.41999998688697815."""
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", shorter))[0] == value:
            return _write_float(shorter)
    return _write_float(float(f"{value:.9g}"))


def _write_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _same(value: Any) -> Any:
    return value


def _write_any(message: AnyMessage) -> dict[str, Any]:
    try:
        return json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    except (TypeError, DecodeError, json_format.Error):
        return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}


def _write_in_json_form(message: Timestamp | Duration) -> str:
    return message.ToJsonString()


_WELL_KNOWN: Mapping[str, _Convert] = {
    AnyMessage.DESCRIPTOR.full_name: _write_any,
    Timestamp.DESCRIPTOR.full_name: _write_in_json_form,
    Duration.DESCRIPTOR.full_name: _write_in_json_form,
}


def map_entry(field: FieldDescriptor) -> Descriptor | None:
    """The descriptors of a map's key and value; None for a field that is no map."""
    entry = field.message_type
    return entry if entry and entry.GetOptions().map_entry else None
