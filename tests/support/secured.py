"""Servers with certificates and tokens of their own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.security.provisioning import provision
from kusciajob.security.tokens import domain_file
from tests.support.callers import Caller
from tests.support.server import RunningServer, running_server

SERVER_NAMES = ("localhost", "127.0.0.1")
_SERVING_HTTP = re.compile(r"serving HTTP on (\S+)$", re.MULTILINE)


class Place(Struct, frozen=True):
    """A server, the directory of its certificates and tokens, and one of an authority that it does not know."""

    server: RunningServer
    certs: Path
    foreign: Path

    @property
    def http_address(self) -> str:
        return http_address(self.server)

    @property
    def master(self) -> Caller:
        return Caller(self.certs, self.certs, token_in(self.certs / "token"))

    def domain(self, name: str) -> Caller:
        return Caller(self.certs, self.certs, token_in(domain_file(self.certs, name)))


@asynccontextmanager
async def secured_server(directory: Path, **settings: object) -> AsyncIterator[Place]:
    """A server that finds the files of `kusciajob init`, for alice, bob and carol, in its data directory."""
    certs, foreign = directory / "data" / "certs", directory / "foreign"
    provision(certs, names=SERVER_NAMES, domains=["alice", "bob", "carol"])
    provision(foreign, names=SERVER_NAMES, domains=[])
    quick = {"runtime": "simulated", "max_token_delay_seconds": 0}
    async with running_server(directory, **{**quick, **settings}) as server:
        yield Place(server, certs, foreign)


def with_token(channel: grpc.aio.Channel, token: str) -> job_pb2_grpc.JobServiceStub:
    class Stub:
        """JobService with the token in every call."""

        def __getattr__(self, name: str) -> object:
            method = getattr(job_pb2_grpc.JobServiceStub(channel), name)
            return lambda request: method(request, metadata=[("token", token)])

    return Stub()  # type: ignore[return-value]


def http_address(server: RunningServer) -> str:
    """Where the present process serves HTTP."""
    addresses: list[str] = _SERVING_HTTP.findall(server.log.read_text())
    return addresses[-1]


def token_in(file: Path) -> str:
    return file.read_text().strip()
