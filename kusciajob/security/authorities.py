"""Who has signed a client's certificate: asked when an authority has been withdrawn while connections are open."""

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature


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
