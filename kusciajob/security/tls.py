"""The server's TLS: its certificate, and the authority that client certificates are checked against."""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from kusciajob.security.errors import SecurityError
from kusciajob.security.names import CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY

DOMAIN_DIRECTORY = "domains"


def domain_certificate(domain: str) -> str:
    """Where a domain's certificate is; the id's unusual characters are percent-encoded."""
    return f"{DOMAIN_DIRECTORY}/{quote(domain, safe='')}.crt"


def domain_key(domain: str) -> str:
    """Where the key of that certificate is."""
    return f"{DOMAIN_DIRECTORY}/{quote(domain, safe='')}.key"


@dataclass(frozen=True, repr=False)  # a repr would show the key
class ServerTls:
    """What TLS needs, as PEM for gRPC and as a context for HTTP. `client_ca` None: clients need no certificate."""

    certificate_chain: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext


def load_tls(directory: Path, *, requires_client_certificate: bool) -> ServerTls:
    """TLS 1.2 or newer with the directory's files. SecurityError names the file that is missing or cannot be used."""
    certificate, key = directory / SERVER_CERTIFICATE, directory / SERVER_KEY
    chain_pem, key_pem = _read(certificate), _read(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session is not checked again, so it would outlive the authority that once vouched for it.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key, password="")  # else an encrypted key would ask the terminal
    except (ssl.SSLError, OSError) as error:
        raise SecurityError(
            f"{certificate} and {key} cannot be used, expected a certificate and its key, unencrypted, as PEM: "
            f"{_reason(error)}"
        ) from None
    client_ca = None
    if requires_client_certificate:
        authority = directory / CA_CERTIFICATE
        client_ca = _read(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=client_ca.decode())
        except (ssl.SSLError, ValueError) as error:
            raise SecurityError(f"{authority} holds no certificate as PEM: {_reason(error)}") from None
    return ServerTls(chain_pem, key_pem, client_ca, context)


def has_lost_authority(before: bytes | None, after: bytes | None) -> bool:
    """Whether an authority (PEM) that client certificates were checked against has been removed."""
    if before == after:
        return False
    try:
        kept = set(x509.load_pem_x509_certificates(after or b""))
        return not kept.issuperset(x509.load_pem_x509_certificates(before or b""))
    except ValueError:
        return True


@lru_cache(maxsize=4096)
def is_vouched_for(certificate: bytes, authorities: bytes) -> bool:
    """Whether one of the authorities (PEM) is or has signed the certificate (PEM), which TLS has looked at in full.

    Of certificates between them nothing is known any more after the handshake.
    """
    try:
        client = x509.load_pem_x509_certificate(certificate)
        known = x509.load_pem_x509_certificates(authorities)
    except ValueError:
        return False
    return any(client == authority or _has_signed(authority, client) for authority in known)


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SecurityError(
            f"{file} cannot be read: {error.strerror}; `kusciajob init` makes a new set of files"
        ) from None


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.replace("_", " ").lower() if reason else "not PEM"
