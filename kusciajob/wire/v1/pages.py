"""Page sizes and page tokens. A token says where a list goes on; it is told to nobody else, and is never trusted.

It holds a version, a digest of what the list is about, and a position, which is a number or a name. What a caller may
see is decided anew for every page, so that a forged token leads to another place of the caller's own list and nowhere
else.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta, Struct

from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.rules import MAX_NAME_CHARACTERS
from kusciajob.model.text import shown

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 3 << 20
"""A page has no more, unless its first entry alone is larger: most clients take messages of up to 4 MiB."""
MAX_TOKEN_CHARACTERS = 512
_VERSION = 1
_DIGEST_BYTES = 12


class _Token(Struct, frozen=True, array_like=True):
    version: int
    digest: bytes
    position: Annotated[int, Meta(ge=0, le=2**63 - 1)] | Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]


class PageScope:
    """One list: its call, what it is filtered by, its order, and who asks."""

    def __init__(self, *parts: object) -> None:
        self._digest = hashlib.blake2b(repr(parts).encode(), digest_size=_DIGEST_BYTES).digest()

    def token(self, position: int | str) -> str:
        """The token with which the list goes on from a position."""
        data = msgspec.msgpack.encode(_Token(_VERSION, self._digest, position))
        return urlsafe_b64encode(data).rstrip(b"=").decode()

    def position(self, token: str) -> int:
        """The position in a token of this list of numbers; 0 for an empty token. Raises InvalidJob."""
        position = self._position(token, 0)
        return position if isinstance(position, int) else _refuse_unknown(token)

    def name(self, token: str) -> str:
        """The position in a token of this list of names; "" for an empty token. Raises InvalidJob."""
        position = self._position(token, "")
        return position if isinstance(position, str) else _refuse_unknown(token)

    def _position(self, token: str, start: int | str) -> int | str:
        if not token:
            return start
        try:
            if len(token) > MAX_TOKEN_CHARACTERS:
                raise ValueError("too long")
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            known = msgspec.msgpack.decode(urlsafe_b64decode(padded), type=_Token)
        except (ValueError, NotBase64, msgspec.MsgspecError):
            known = None
        if known is None or known.version != _VERSION:
            _refuse_unknown(token)
        if known.digest != self._digest:
            raise _refused(
                f"page_token {shown(token)} is of another list: its filter, its order and its caller must be those of "
                "the page before"
            )
        return known.position


def page_size(asked: int) -> int:
    """How many entries a page may have. Raises InvalidJob."""
    if not 0 <= asked <= MAX_PAGE_SIZE:
        text = f"page_size {asked} is out of range: 1 to {MAX_PAGE_SIZE} (0 means {DEFAULT_PAGE_SIZE})"
        raise InvalidJob(text, problems=[Problem("page_size", text)])
    return asked or DEFAULT_PAGE_SIZE


def _refuse_unknown(token: str) -> NoReturn:
    raise _refused(f"page_token {shown(token)} is no token of this server: use next_page_token of a page")


def _refused(text: str) -> InvalidJob:
    return InvalidJob(text, problems=[Problem("page_token", text)])
