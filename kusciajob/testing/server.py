"""A job server for tests."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

from kusciajob.client import AsyncClient, Client
from kusciajob.client.reading import Reader
from kusciajob.security.provisioning import provision
from kusciajob.security.tokens import domain_file
from kusciajob.testing.control import Control, KitError
from kusciajob.testing.kit import Kit
from kusciajob.testing.places import Place, ProcessPlace, ThreadPlace
from kusciajob.testing.scripts import Gate

START_SECONDS = 30.0
_TAKEN = "is the port taken?"
SERVER_NAMES = ("localhost", "127.0.0.1")


class JobServer:
    """A server whose world a test controls: `kuscia` controls it. In this process, or with `process` one of its own.

    `protocol` tls and mtls: certificates are made, and a token for each of the `domains`. `durable`: jobs are in files,
    so that they are there after `kill`; `restart` keeps those in memory, too, of a server in this process. Settings are
    those of `kusciajob serve`, by name.
    """

    def __init__(
        self,
        *,
        process: bool = False,
        protocol: Literal["notls", "tls", "mtls"] = "notls",
        domains: Sequence[str] = (),
        durable: bool = False,
        **settings: object,
    ) -> None:
        if domains and protocol == "notls":
            raise KitError("a domain has a token only with protocol tls or mtls")
        self._directory = TemporaryDirectory(prefix="kusciajob-test-")
        path = Path(self._directory.name)
        self._settings: dict[str, object] = {
            "testing": True,
            "protocol": protocol,
            "grpc_port": 0,
            "http_port": 0,
            **settings,
        }
        self.cert_dir: Path | None = None
        """The certificates and the master's token, as `kusciajob init` makes them; None without TLS."""
        if protocol != "notls":
            self.cert_dir = path / "certs"
            provision(self.cert_dir, names=SERVER_NAMES, domains=list(domains))
            self._settings["cert_dir"] = str(self.cert_dir)
        if durable:
            self._settings["data_dir"] = str(path / "data")
        self._place: Place = ProcessPlace(path) if process else ThreadPlace()
        self.address = ""
        """HOST:PORT of gRPC."""
        self.http_address = ""
        self.pid = 0
        self._control = Control(lambda: self.address, self.cert_dir)
        self.kuscia = Kit(self._control)

    def __enter__(self) -> Self:
        try:
            self.start()
        except KitError:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it serves, at the addresses that it had before if there were any. Raises KitError."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                found = self._place.start(self._settings)
                break
            except KitError as error:  # whoever was connected to the last one may have its port for a while
                if not self.address or _TAKEN not in str(error) or time.monotonic() > deadline:
                    raise
        self.address, self.http_address, self.pid = found.grpc, found.http, found.pid
        self._settings["grpc_port"] = int(self.address.rpartition(":")[2])
        self._settings["http_port"] = int(self.http_address.rpartition(":")[2])

    def stop(self) -> None:
        """End it in order, for good."""
        self._control.close()
        self._place.stop()
        self._directory.cleanup()

    def restart(self) -> None:
        """Stop it in order and start it again at the same addresses. Its rules, faults and its clock begin anew."""
        self._place.stop()
        self.start()

    def kill(self) -> None:
        """End its process as a crash does; `start` starts another. Raises KitError for a server in this process."""
        self._place.kill()

    @contextmanager
    def partition(self) -> Iterator[None]:
        """Inside the block every connection on which something is called is cut."""
        with self.kuscia.faults.partition():
            yield

    def client(self, **options: Any) -> Client:
        """A client of the master."""
        return Client(self.address, cert_dir=self.cert_dir, **options)

    def domain_client(self, domain: str, **options: Any) -> Client:
        """A client with the token of a domain. Raises KitError if it has none."""
        return Client(self.address, cert_dir=self.cert_dir, token_file=self.token_file(domain), **options)

    def token_file(self, domain: str) -> Path:
        """Where the token of a domain is. Raises KitError if it has none."""
        if self.cert_dir is None or not (file := domain_file(self.cert_dir, domain)).exists():
            text = f'domain "{domain}" has no token here: JobServer(protocol="tls", domains=["{domain}"])'
            raise KitError(text)
        return file


class AsyncJobServer:
    """JobServer for asyncio. What waits for the server is done on threads, so that the event loop goes on.

    `kuscia` is that of a JobServer: rules and faults are set at once. What may have to wait for the event loop of the
    test has a coroutine here.
    """

    def __init__(self, **options: Any) -> None:
        """As JobServer."""
        self.server = JobServer(**options)
        self.kuscia = self.server.kuscia

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except KitError:
            await asyncio.to_thread(self.server.stop)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.server.stop)

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def http_address(self) -> str:
        return self.server.http_address

    def client(self, **options: Any) -> AsyncClient:
        """A client of the master."""
        return AsyncClient(self.address, cert_dir=self.server.cert_dir, **options)

    def domain_client(self, domain: str, **options: Any) -> AsyncClient:
        """A client with the token of a domain. Raises KitError if it has none."""
        token_file = self.server.token_file(domain)
        return AsyncClient(self.address, cert_dir=self.server.cert_dir, token_file=token_file, **options)

    async def start(self) -> None:
        """As JobServer.start, after `kill`."""
        await asyncio.to_thread(self.server.start)

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.restart)

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def watched(self, times: int = 1) -> None:
        """As Kit.watched."""
        await asyncio.to_thread(self.kuscia.watched, times)

    async def settle(self) -> int:
        """As Kit.settle."""
        return await asyncio.to_thread(self.kuscia.settle, caller=Reader.present())

    async def advance(self, **spans: float) -> None:
        """Let time pass: `days=31`."""
        await asyncio.to_thread(partial(self.kuscia.clock.advance, **spans))

    async def reached(self, gate: Gate) -> None:
        """Return once a party holds at the gate, and everybody has been told."""
        await asyncio.to_thread(gate.reached)
