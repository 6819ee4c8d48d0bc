"""Tokens on a server of a test: the delays of wrong ones are its time, and only the master controls it."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from kusciajob.api import kuscia as messages
from kusciajob.api import testing
from kusciajob.security.delays import FREE_FAILURES
from kusciajob.security.names import CA_CERTIFICATE
from kusciajob.testing import JobServer
from tests.support.polling import PATIENCE_SECONDS, eventually_sync


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with JobServer(protocol="tls", domains=["alice"]) as server:
        yield server


@pytest.fixture
def channel(server: JobServer) -> Iterator[grpc.Channel]:
    assert server.cert_dir
    credentials = grpc.ssl_channel_credentials((server.cert_dir / CA_CERTIFICATE).read_bytes())
    with grpc.secure_channel(server.address, credentials) as channel:
        yield channel


def test_a_domain_does_not_control_the_server(server: JobServer, channel: grpc.Channel) -> None:
    stub: Any = testing.ControlServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
    token = server.token_file("alice").read_text()
    with pytest.raises(grpc.RpcError) as failure:
        stub.Reset(testing.ResetRequest(), metadata=[("token", token)])
    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_refusal_of_a_wrong_token_waits_for_time_to_pass(server: JobServer, channel: grpc.Channel) -> None:
    stub: Any = messages.JobServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
    refused: list[grpc.StatusCode] = []

    def call() -> None:
        try:
            stub.QueryJob(messages.QueryJobRequest(), metadata=[("token", "wrong")], timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            refused.append(error.code())

    for _ in range(FREE_FAILURES):
        call()
    assert refused == [grpc.StatusCode.UNAUTHENTICATED] * FREE_FAILURES
    waiting = threading.Thread(target=call)
    waiting.start()

    def passes() -> bool:
        server.kuscia.clock.advance("10s")
        return len(refused) > FREE_FAILURES

    eventually_sync(passes)
    waiting.join()
    assert refused[-1] is grpc.StatusCode.UNAUTHENTICATED
