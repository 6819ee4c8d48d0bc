"""Command lines that call a server, as one can paste them into a shell; none of them shows a token."""

import ipaddress
import shlex

from msgspec import Struct

from kusciajob.config import Settings
from kusciajob.security import names
from kusciajob.security.guard import protocol_in_force
from kusciajob.security.tokens import MASTER_FILE

LOCAL_NAME = "localhost"  # always one of the names in a certificate of `kusciajob init`
_HEALTH = "kuscia.proto.api.v1alpha1.kusciaapi.HealthService/healthZ"
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - looked for, not listened on


class Calling(Struct, frozen=True):
    """How a client on this machine calls a server with these settings, whatever ports it has got."""

    settings: Settings
    protocol: str
    """The one in force: notls, tls or mtls."""

    @property
    def host(self) -> str:
        """A name for the address that the server listens on, one that its certificate has."""
        host = self.settings.host.strip("[]")
        if self.protocol != "notls" and _is_local(host):
            return LOCAL_NAME
        if host in _EVERY_ADDRESS:
            return "[::1]" if host == "::" else "127.0.0.1"
        return self.settings.bracketed_host

    def options(self, grpc_port: int) -> str:
        """What a command of kusciajob needs in order to find the server and to be let in."""
        server = f"--server {self.host}:{grpc_port}"
        return server if self.protocol == "notls" else f"{server} --cert-dir {self._quoted()}"

    def curl(self, http_port: int) -> str:
        """Asks for the server's health over HTTP."""
        if self.protocol == "notls":
            return f"curl -s http://{self.host}:{http_port}/healthZ"
        return f"curl -s {self._credentials('--')} {self._token('Token')} https://{self.host}:{http_port}/healthZ"

    def grpcurl(self, grpc_port: int) -> str:
        """Asks for the server's health over gRPC."""
        if self.protocol == "notls":
            return f"grpcurl -plaintext {self.host}:{grpc_port} {_HEALTH}"
        return f"grpcurl {self._credentials('-')} {self._token('token')} {self.host}:{grpc_port} {_HEALTH}"

    def _credentials(self, dash: str) -> str:
        """The options for the files, which curl and grpcurl call by the same names."""
        files = {"cacert": names.CA_CERTIFICATE}
        if (self.settings.certificates / names.CLIENT_CERTIFICATE).exists():
            files |= {"cert": names.CLIENT_CERTIFICATE, "key": names.CLIENT_KEY}
        return " ".join(f"{dash}{option} {self._quoted(file)}" for option, file in files.items())

    def _token(self, header: str) -> str:
        return f'-H "{header}: $(cat {self._quoted(MASTER_FILE)})"'

    def _quoted(self, name: str = "") -> str:
        return shlex.quote(str(self.settings.certificates.resolve() / name))


def calling(settings: Settings) -> Calling:
    """For a server with these settings and the certificates that are there at this moment."""
    return Calling(settings, protocol_in_force(settings))


def _is_local(host: str) -> bool:
    """Whether the loopback address reaches that host."""
    try:
        return host in _EVERY_ADDRESS or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
