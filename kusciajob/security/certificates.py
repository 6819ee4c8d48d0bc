"""Makes certificates: an authority, and one certificate each for the server and its clients, EC P-256.

A domain's key is RSA in PKCS #1, for so Kuscia's programs expect it.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from kusciajob.security import tls
from kusciajob.security.errors import SecurityError
from kusciajob.security.names import (
    CA_CERTIFICATE,
    CA_KEY,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    SERVER_CERTIFICATE,
    SERVER_KEY,
)

VALID_DAYS = 3650
_MAX_COMMON_NAME_CHARACTERS = 64
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CLOCK_SKEW = timedelta(hours=1)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_DNS_NAME = re.compile(r"(\*\.)?[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*", re.IGNORECASE)
# Documentation addresses: connecting a UDP socket to one sends nothing, it only chooses the address to send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class _Validity(Struct, frozen=True):
    start: datetime
    end: datetime


def make_certificates(names: Sequence[str], domains: Sequence[str] = ()) -> dict[str, bytes]:
    """Certificates and keys as PEM, by file name; the server's is for these host names and addresses. SecurityError.

    A domain's certificate is for its programs, as clients and, at these names, as servers.
    """
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    now = datetime.now(UTC)
    validity = _Validity(now - _CLOCK_SKEW, now + timedelta(days=VALID_DAYS))
    ca_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca = _make_authority(ca_key, validity)
    server = _leaf("kusciajob server", server_key, ca, [ExtendedKeyUsageOID.SERVER_AUTH], validity)
    client = _leaf("kusciajob client", client_key, ca, [ExtendedKeyUsageOID.CLIENT_AUTH], validity)
    files = {
        CA_KEY: _key_pem(ca_key),
        CA_CERTIFICATE: _pem(ca),
        SERVER_KEY: _key_pem(server_key),
        SERVER_CERTIFICATE: _pem(server.add_extension(alternatives, critical=False).sign(ca_key, hashes.SHA256())),
        CLIENT_KEY: _key_pem(client_key),
        CLIENT_CERTIFICATE: _pem(client.sign(ca_key, hashes.SHA256())),
    }
    for domain in dict.fromkeys(domains):
        if len(domain) > _MAX_COMMON_NAME_CHARACTERS:
            raise SecurityError(
                f"domain {domain[:80]!r} has {len(domain)} characters: a certificate's name has at most "
                f"{_MAX_COMMON_NAME_CHARACTERS}"
            )
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        leaf = _leaf(domain, key, ca, usages, validity).add_extension(alternatives, critical=False)
        files[tls.domain_certificate(domain)] = _pem(leaf.sign(ca_key, hashes.SHA256()))
        files[tls.domain_key(domain)] = _key_pem(key)
    return files


def server_names(given: Sequence[str]) -> list[str]:
    """The names and addresses of a server on this machine: the local ones, and those given, else those detected."""
    return list(dict.fromkeys((*_LOCAL_NAMES, *(given or _detect_names()))))


def _detect_names() -> list[str]:
    hostname = socket.gethostname()
    names = [hostname] if _DNS_NAME.fullmatch(hostname) else []
    for family, address in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                names.append(probe.getsockname()[0])
        except OSError:
            continue  # no network of that family
    return names


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _DNS_NAME.fullmatch(name):
        raise SecurityError(f"name {name!r} for the server's certificate is neither a DNS name nor an IP address")
    return x509.DNSName(name)


def _make_authority(key: ec.EllipticCurvePrivateKey, validity: _Validity) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kusciajob CA")])
    return (
        _builder(name, name, key, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    name: str,
    key: _Key,
    ca: x509.Certificate,
    usages: Sequence[x509.ObjectIdentifier],
    validity: _Validity,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(subject, ca.subject, key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: _Key, validity: _Validity) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.start)
        .not_valid_after(validity.end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    is_domains = isinstance(key, rsa.RSAPrivateKey)
    form = serialization.PrivateFormat.TraditionalOpenSSL if is_domains else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
