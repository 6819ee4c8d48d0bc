"""`kusciajob health`: its exit code is what a probe goes by."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2, health_pb2_grpc
from tests.support.ports import free_range
from tests.support.program import Finished, kusciajob
from tests.support.secured import secured_server


async def health(*options: object, **environment: str) -> Finished:
    return await asyncio.to_thread(lambda: kusciajob("health", *options, server=None, **environment))


class Ailing(health_pb2_grpc.HealthServiceServicer):
    """Answers that it does not serve."""

    async def healthZ(self, request: health_pb2.HealthRequest, context: Any) -> health_pb2.HealthResponse:  # noqa: N802
        return health_pb2.HealthResponse(data=health_pb2.HealthResponseData(ready=False))


@pytest.fixture
async def ailing() -> AsyncIterator[str]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServiceServicer_to_server(Ailing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_it_succeeds_where_the_server_serves_and_takes_its_certificates_from_the_environment(
    tmp_path: Path,
) -> None:
    async with secured_server(tmp_path, protocol="mtls") as place:
        address = place.server.address
        asked = await health(KUSCIAJOB_SERVER=address, KUSCIAJOB_CERT_DIR=str(place.certs))
        assert (asked.returncode, asked.stdout) == (0, "SERVING\n"), asked.stderr
        assert json.loads((await health("--server", address, "--cert-dir", place.certs, "-o", "json")).stdout) == {
            "serving": True
        }
        stranger = await health("--server", address, "--cert-dir", place.foreign, "--live")
        assert stranger.returncode == 1


async def test_a_server_that_does_not_serve_fails_it_but_is_live(ailing: str) -> None:
    asked = await health("--server", ailing)
    assert (asked.returncode, asked.stdout) == (1, "NOT_SERVING\n")
    assert (await health("--server", ailing, "--live")).returncode == 0


async def test_where_nobody_answers_nobody_lives() -> None:
    assert (await health("--server", f"127.0.0.1:{free_range(1)[0]}", "--live")).returncode == 1
