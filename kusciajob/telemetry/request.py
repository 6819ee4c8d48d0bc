"""What a call has beside its message: its id in the log, and its trace."""

import re
import secrets
from contextvars import ContextVar

from msgspec import Struct

REQUEST_ID = "x-request-id"
"""The metadata or header of a call and of its answer."""
TRACEPARENT = "traceparent"
"""The metadata or header of a call, as W3C Trace Context has it."""
MAX_ID_CHARACTERS = 128

_ID = re.compile(rf"[\x21-\x7e]{{1,{MAX_ID_CHARACTERS}}}")
_GENERATED_BYTES = 8
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_OWN_VERSION = "00"
_MAX_TRACEPARENT_CHARACTERS = 256


class Request(Struct, frozen=True, gc=False):
    """A call. `traceparent` is empty if the call has none, or none that can be read; `peer` is the client's address."""

    id: str
    traceparent: str = ""
    peer: str = ""


_NONE = Request("")
_present: ContextVar[Request] = ContextVar("request", default=_NONE)


def begin(given_id: str | None = None, traceparent: str | None = None, *, peer: str = "") -> Request:
    """Note id and trace of the call that this asyncio task serves from now on.

    The given id counts if it has 1 to 128 visible ASCII characters; else a new one is made.
    """
    known_id = given_id if given_id and _ID.fullmatch(given_id) else secrets.token_hex(_GENERATED_BYTES)
    request = Request(known_id, _read_traceparent(traceparent) if traceparent else "", peer)
    _present.set(request)
    return request


def present() -> Request:
    """The call that is being served; its id is empty if there is none."""
    return _present.get()


def _read_traceparent(text: str) -> str:
    """In the form of version 00, whatever its version; empty where it breaks the rules, as these want it."""
    found = _TRACEPARENT.fullmatch(text) if len(text) <= _MAX_TRACEPARENT_CHARACTERS else None
    if found is None or (text.startswith(_OWN_VERSION) and found[4]):
        return ""
    return f"{_OWN_VERSION}-{found[1]}-{found[2]}-{'01' if int(found[3], 16) & 1 else '00'}"
