"""The token and certificate of a domain, with which its programs call this server and each other."""

import base64
import errno
from pathlib import Path

from kusciajob.contracts import CERTIFICATE_VARIABLES, SECRET_NAMES, DomainFacts, StartFailed
from kusciajob.security.guard import Guard
from kusciajob.security.names import CA_CERTIFICATE
from kusciajob.security.tls import domain_certificate, domain_key
from kusciajob.security.tokens import domain_file

_WITHOUT_TLS = DomainFacts(
    names={
        "KUSCIA_API_PROTOCOL": "NOTLS",
        **dict.fromkeys((*SECRET_NAMES, *CERTIFICATE_VARIABLES), ""),
    }
)


class DomainCredentials:
    """Reads them from the directory that `kusciajob init` wrote, anew for each party. Without TLS all are empty."""

    def __init__(self, directory: Path, guard: Guard | None) -> None:
        self._directory = directory
        self._guard = guard

    def of(self, domain: str) -> DomainFacts:
        """Never the master's token nor another domain's; what a domain has no file for is left out. StartFailed."""
        if self._guard is None:
            return _WITHOUT_TLS
        names = {"KUSCIA_API_PROTOCOL": "MTLS" if self._guard.requires_client_certificate else "TLS"}
        if token := self._read(domain_file(self._directory, domain)):
            names["KUSCIA_API_TOKEN"] = token.strip().decode("ascii", errors="replace")
        certificate = self._read(self._directory / domain_certificate(domain))
        key = self._read(self._directory / domain_key(domain))
        authority = self._read(self._directory / CA_CERTIFICATE)
        certificates = {"ca.crt": authority} if authority else {}
        if certificate and key:
            names["KUSCIA_DOMAIN_KEY_DATA"] = base64.b64encode(key).decode()
            certificates |= {f"{side}.crt": certificate for side in ("client", "server")}
            certificates |= {f"{side}.key": key for side in ("client", "server")}
        return DomainFacts(names=names, certificates=certificates)

    def _read(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # nor can there be one of so long a name
                return b""
            raise StartFailed(f"{file.name} of the domain cannot be read: {error.strerror}") from None
