"""The server of a run of pytest: its own, or one elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from kusciajob.client import Client
from kusciajob.testing.control import Control
from kusciajob.testing.kit import Kit
from kusciajob.testing.server import JobServer


class TestKit(Kit):
    """A Kit that knows where its server is."""

    __test__ = False

    def __init__(self, control: Control, session: "Session") -> None:
        super().__init__(control)
        self._session = session

    @property
    def address(self) -> str:
        """HOST:PORT of gRPC."""
        return self._session.address

    @property
    def http_address(self) -> str:
        """HOST:PORT of HTTP; empty for a server elsewhere."""
        return self._session.http_address

    @property
    def cert_dir(self) -> Path | None:
        """Certificates and tokens; None without TLS."""
        return self._session.cert_dir

    def client(self, **options: Any) -> Client:
        """A client of the master."""
        return Client(self.address, cert_dir=self.cert_dir, **options)

    def domain_client(self, domain: str, **options: Any) -> Client:
        """A client with a domain's token. Raises KitError if it has none."""
        return self._session.domain_client(domain, **options)


class Session:
    """Opened once for all tests of a process."""

    def __init__(self, address: str | None, *, process: bool, domains: Sequence[str]) -> None:
        self._server: JobServer | None = None
        self.address = address or ""
        self.http_address = ""
        self.cert_dir: Path | None = None
        if address is None:
            protocol: Any = "tls" if domains else "notls"
            self._server = JobServer(process=process, protocol=protocol, domains=domains)
            self.cert_dir = self._server.cert_dir
        self._control = Control(lambda: self.address, self.cert_dir)
        self.kuscia = TestKit(self._control, self)

    def __enter__(self) -> Self:
        if self._server is not None:
            self._server.start()
            self.address, self.http_address = self._server.address, self._server.http_address
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        if self._server is not None:
            self._server.stop()

    def domain_client(self, domain: str, **options: Any) -> Client:
        """Raises KitError if the domain has no token."""
        if self._server is None:
            return Client(self.address, **options)
        return self._server.domain_client(domain, **options)
