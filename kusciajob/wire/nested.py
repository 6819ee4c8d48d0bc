"""Puts serialised messages into other messages, as their bytes are.

Protobuf can only parse them into the outer message and serialise them again, which takes as long as what made them.
"""

from functools import lru_cache

from google.protobuf.message import Message

_LENGTH_DELIMITED = 2


def tag_of(kind: type[Message], field: str) -> bytes:
    """What a field of that message begins with. It must be a message or a text, with a number below 16."""
    number: int = kind.DESCRIPTOR.fields_by_name[field].number
    if number > 15:  # the tag would take two bytes
        raise ValueError(f"field {field} has the number {number}: at most 15 is possible")
    return bytes([number << 3 | _LENGTH_DELIMITED])


def nested(tag: bytes, data: bytes) -> bytes:
    """The field: its tag, the length, the bytes."""
    return b"".join((tag, _varint(len(data)), data))


@lru_cache(maxsize=1024)
def _varint(length: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)
