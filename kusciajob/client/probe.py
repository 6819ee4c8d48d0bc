"""Finds out which protocol an address speaks, by beginning as a gRPC client does. It sends no token."""

import asyncio
import ssl
from enum import StrEnum

from msgspec import Struct

# A gRPC client's first bytes, an empty SETTINGS frame included: gRPC answers with its own, HTTP/1 with a refusal.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEAD_BYTES = 9
_SETTINGS_HEAD = bytes((4, 0, 0, 0, 0, 0))
"""How a frame's head goes on behind its length."""
_TLS_ALERT = b"\x15\x03"


class Protocol(StrEnum):
    """The protocol at an address, inside TLS or without."""

    GRPC = "gRPC"
    HTTP = "HTTP"
    OTHER = "other"


class Place(Struct, frozen=True):
    """Where to connect."""

    host: str
    port: int


class Heard(Struct, frozen=True):
    """What an address has shown of itself. `protocol` None: it hung up before."""

    protocol: Protocol | None
    negotiated: Protocol | None = None
    """What it has chosen during the TLS handshake."""


async def ask(place: Place, context: ssl.SSLContext | None) -> Heard:
    """Begin as a gRPC client does. Raises ssl.SSLError, OSError if no connection comes about."""
    name = place.host if context else None
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context, server_hostname=name)
    try:
        writer.write(_PREFACE)
        try:
            start = await reader.readexactly(_FRAME_HEAD_BYTES)
        except asyncio.IncompleteReadError as error:
            start = error.partial
        except OSError:  # hung up, or a TLS alert: it has seen our certificate, or that there is none
            start = b""
        handshake = writer.get_extra_info("ssl_object")
    finally:
        writer.transport.abort()
    negotiated = {"h2": Protocol.GRPC, "http/1.1": Protocol.HTTP}
    chosen = negotiated.get(handshake.selected_alpn_protocol()) if handshake else None
    return Heard(_protocol_of(start), chosen)


def _protocol_of(start: bytes) -> Protocol | None:
    if not start or start.startswith(_TLS_ALERT):
        return None
    if start.startswith(b"HTTP/"):
        return Protocol.HTTP
    return Protocol.GRPC if start[3:] == _SETTINGS_HEAD else Protocol.OTHER


def unverified() -> ssl.SSLContext:
    """For a look at whether there is TLS at all; what is heard is trusted with nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def is_alert(error: ssl.SSLError) -> bool:
    """Whether the other side speaks TLS, and has refused."""
    return "_ALERT_" in (error.reason or "")


async def names_at(place: Place, context: ssl.SSLContext) -> list[str]:
    """The names in the server's certificate; the context must accept any name. Raises OSError."""
    _, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
    try:
        certificate = writer.get_extra_info("peercert")
    finally:
        writer.transport.abort()
    return [name for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
