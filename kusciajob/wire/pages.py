"""Pages of lists: how many entries a page may have, and the opaque tokens that tell where the next one begins."""

import base64
import binascii
import hashlib

import msgspec
from msgspec import Struct

from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.text import shown

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
MAX_TOKEN_CHARACTERS = 2048

_DIGEST_BYTES = 8


class _Token(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    digest: bytes
    position: str


_VERSION = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Token).decode


def page_size(asked: int) -> int:
    """How many entries a page has at most. Raises InvalidJob."""
    if not 0 <= asked <= MAX_PAGE_SIZE:
        raise _invalid("page_size", f"page_size {asked} is out of range: 1 to {MAX_PAGE_SIZE}, or 0 for the default")
    return asked or DEFAULT_PAGE_SIZE


def page_token(listing: str, position: str) -> str:
    """The token of what follows that position. `listing` is the same text for the same list, order and filter."""
    packed = _encode(_Token(_VERSION, _digest(listing), position))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def position_in(token: str, listing: str) -> str:
    """The position in a token; "" without one. It comes from outside: anything can be in it. Raises InvalidJob."""
    if not token:
        return ""
    try:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise ValueError
        found = _decode(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        if found.version != _VERSION:
            raise ValueError
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _invalid(
            "page_token", f"page_token {shown(token)} is none of this server: take next_page_token of the page before"
        ) from None
    if found.digest != _digest(listing):
        raise _invalid(
            "page_token", f"page_token {shown(token)} is of another list: its filter and order must be the same"
        )
    return found.position


def _digest(listing: str) -> bytes:
    return hashlib.sha256(listing.encode(errors="surrogatepass")).digest()[:_DIGEST_BYTES]


def _invalid(field: str, text: str) -> InvalidJob:
    return InvalidJob(text, problems=[Problem(field, text)])
