"""Guards the ports while the server runs: TLS and tokens."""

import ipaddress
import logging
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kusciajob.config import Settings
from kusciajob.security.delays import FailureDelays
from kusciajob.security.errors import SecurityError, Unauthenticated
from kusciajob.security.names import CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY
from kusciajob.security.streams import Credentials, HeldStreams
from kusciajob.security.tls import ServerTls, has_lost_authority, is_vouched_for, load_tls
from kusciajob.security.tokens import MASTER_FILE, Tokens, digest_of, load_tokens

logger = logging.getLogger(__name__)

_NEEDED = (CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY, MASTER_FILE)


class Guard:
    """TLS, and a token for every call. Certificates and tokens are read from a directory, and again on `reload`.

    TLS checks each new connection. Once an authority is gone, older connections are checked with each call.
    """

    def __init__(
        self,
        directory: Path,
        *,
        requires_client_certificate: bool,
        max_token_delay_seconds: float = 0.0,
        delays: FailureDelays | None = None,
    ) -> None:
        """Raises SecurityError if a file is missing or cannot be used."""
        self.requires_client_certificate = requires_client_certificate
        self.delays = delays or FailureDelays(max_token_delay_seconds)
        self.has_lost_authority = False
        """Whether calls over older connections are to be looked at with `check_certificate`."""
        self._directory = directory
        self._streams = HeldStreams(self._check)
        self.tls, self._tokens = self._load()
        self._first_context = self.tls.context
        self._first_context.sni_callback = self._use_present_context

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """For a listening socket, once: each new connection gets the certificates in force."""
        return self._first_context

    def reload(self) -> None:
        """Read the files again, and end streams whose token or authority is withdrawn.

        Raises SecurityError; then nothing has changed.
        """
        before = self.tls.client_ca
        self.tls, self._tokens = self._load()
        self.has_lost_authority |= has_lost_authority(before, self.tls.client_ca)
        ended = self._streams.review()
        if ended:
            logger.warning("ended %d streams: their tokens or client certificates were withdrawn", ended)

    def _load(self) -> tuple[ServerTls, Tokens]:
        tls = load_tls(self._directory, requires_client_certificate=self.requires_client_certificate)
        tokens = load_tokens(self._directory)
        logger.info(
            "certificates and master token read from %s; domains with a token: %s",
            self._directory,
            ", ".join(tokens.domains) or "none",
        )
        return tls, tokens

    def identify(self, token: str | bytes | None) -> str:
        """The domain that has this token; empty for the master's. Raises Unauthenticated."""
        return self._tokens.identify(token)

    def check_certificate(self, certificate: bytes) -> None:
        """Check a client's certificate (PEM, empty for none). Raises Unauthenticated if its authority is gone."""
        authorities = self.tls.client_ca
        if self.has_lost_authority and authorities is not None and not is_vouched_for(certificate, authorities):
            raise Unauthenticated(
                "the client certificate was withdrawn: none of the authorities in ca.crt has signed it; "
                "connect again with another, or have its issuer added there"
            )

    def hold(self, domain: str, token: str | bytes | None, certificate: bytes) -> AbstractAsyncContextManager[None]:
        """Run a stream of the caller with that token; see HeldStreams."""
        return self._streams.hold(Credentials(domain, digest_of(token), certificate))

    def _check(self, credentials: Credentials) -> None:
        self._tokens.check(credentials.domain, credentials.digest)
        self.check_certificate(credentials.certificate)

    def _use_present_context(
        self, connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, context: ssl.SSLContext
    ) -> None:
        """OpenSSL calls this early in each handshake, before it looks at certificates."""
        connection.context = self.tls.context


def protocol_in_force(settings: Settings) -> str:
    """The protocol that `auto` means at this moment: notls, tls or mtls."""
    if settings.protocol != "auto":
        return settings.protocol
    # One file is enough: whoever has begun to set up TLS must not be served without it.
    return "mtls" if any((settings.certificates / name).exists() for name in _NEEDED) else "notls"


def open_guard(settings: Settings, *, delays: FailureDelays | None = None) -> Guard | None:
    """The guard for the settings; None for notls, where every caller is the master. Raises SecurityError."""
    protocol = protocol_in_force(settings)
    if protocol != "notls":
        return Guard(
            settings.certificates,
            requires_client_certificate=protocol == "mtls",
            max_token_delay_seconds=settings.max_token_delay_seconds,
            delays=delays,
        )
    if not _is_loopback(settings.host):
        if not settings.allow_insecure_bind:
            raise SecurityError(
                f"host {settings.host!r} is no loopback address, and without TLS everyone who reaches it could do "
                "everything: make certificates with `kusciajob init`, or accept that with --allow-insecure-bind"
            )
        logger.warning("no TLS and no tokens on host %r: everyone who reaches it may do everything", settings.host)
    return None


def _is_loopback(host: str) -> bool:
    """Names other than localhost count as reachable from elsewhere: what they stand for can change."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
