"""Logs what happens on the HTTP port below requests."""

import logging
import ssl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from cachetools import LRUCache

MAX_PEERS = 1024
"""Of so many peers and slips it is known that they were told."""

_TLS_HANDSHAKE = b"\x16\x03"
_HTTP2_PREFACE = b"PRI * HTTP/2"
_CALL_WITH_TLS = "it has to call https://, with ca.crt and a token of `kusciajob init`"
_HANDSHAKES = {
    # by OpenSSL's reason
    "HTTP_REQUEST": f"sends plain HTTP to the HTTP port, which has TLS: {_CALL_WITH_TLS}",
    "HTTPS_PROXY_REQUEST": f"takes the HTTP port, which has TLS, for a proxy: {_CALL_WITH_TLS}",
    "WRONG_VERSION_NUMBER": (
        f"sends what is no TLS (plain HTTP or gRPC, perhaps) to the HTTP port, which has TLS: {_CALL_WITH_TLS}; "
        "gRPC has a port of its own (setting grpc_port)"
    ),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "shows no client certificate on the HTTP port: protocol mtls needs client.crt and client.key of "
        "`kusciajob init`, protocol tls does not"
    ),
    "CERTIFICATE_VERIFY_FAILED": (
        "shows a client certificate on the HTTP port that is not accepted: give it client.crt and client.key of "
        "`kusciajob init`, or add its authority to the server's ca.crt"
    ),
}
_REFUSED_BY_PEER = (
    "does not accept this server's certificate on the HTTP port: give it the server's ca.crt, and have it call one of "
    "the certificate's names (`kusciajob init --san NAME` makes one for more)"
)


class _ShortenMalformed(logging.Filter):
    """Shortens lines about bytes that are no HTTP: they need no stack trace, and may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.msg, record.args = "%s: malformed HTTP (%s)", (record.getMessage(), type(error).__name__)
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


protocol_logger = logging.getLogger(__name__)
protocol_logger.addFilter(_ShortenMalformed())


class SlipLog:
    """Warns how a peer calls the HTTP port wrongly, and what to do; once for each peer and mistake."""

    def __init__(self) -> None:
        self._told: LRUCache[tuple[str, str], bool] = LRUCache(MAX_PEERS)

    def note_handshake(self, peer: str, error: ssl.SSLError) -> None:
        """A TLS handshake has failed. A client that hung up meanwhile is no mistake."""
        reason = error.reason or ""
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or not reason:
            return
        is_refused = "_ALERT_" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
        text = _REFUSED_BY_PEER if is_refused else _HANDSHAKES.get(reason)
        words = reason.replace("_", " ").lower()
        self._tell(peer, f"{text} ({words})" if text else f"cannot begin TLS on the HTTP port: {words}")

    def note_start(self, peer: str, data: bytes, *, is_tls: bool) -> bool:
        """Whether the first bytes of a connection, inside TLS where there is TLS, are another protocol's."""
        if data.startswith(_HTTP2_PREFACE):
            self._tell(peer, "speaks gRPC or HTTP/2 to the HTTP port: gRPC has a port of its own (setting grpc_port)")
            return True
        if data.startswith(_TLS_HANDSHAKE) and not is_tls:
            self._tell(
                peer,
                "begins TLS on the HTTP port, which has none: it has to call http://, without certificates, or the "
                "server needs some (`kusciajob init`)",
            )
            return True
        return False

    def _tell(self, peer: str, text: str) -> None:
        if self._told.get((peer, text)) is None:
            self._told[(peer, text)] = True
            protocol_logger.warning("%s %s; told once for each peer", peer, text)
