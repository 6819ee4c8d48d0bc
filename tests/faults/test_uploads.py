"""Requests that never become whole, or become too much: they cost what the settings say, and nobody else."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.polling import eventually_true
from tests.support.raw_upload import CREATE, RawUpload
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

MIB = 1 << 20
UPLOADED_MIB = 20


def peak_bytes(server: RunningServer) -> int:
    """The most memory that its process has had."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@contextmanager
def uploads(server: RunningServer, count: int) -> Iterator[list[RawUpload]]:
    opened = [RawUpload(server.address, announced_bytes=(UPLOADED_MIB + 1) * MIB) for _ in range(count)]
    try:
        yield opened
    finally:
        for upload in opened:
            upload.close()


async def calls_are_served(server: RunningServer) -> bool:
    return (await server.stub.QueryJob(pb.QueryJobRequest(job_id="x"))).status.code == 11202


async def test_an_unfinished_upload_over_grpc_is_a_call_in_progress(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated", max_calls_per_peer=1) as server:
        with uploads(server, 1) as (first,):
            await asyncio.to_thread(first.send, MIB)
            with uploads(server, 1) as (second,):
                end = await asyncio.to_thread(second.wait_end)
                assert b"1 calls in progress" in end, end
                assert b"max_calls_per_peer" in end, end

        async def is_free() -> bool:
            try:
                return await calls_are_served(server)
            except grpc.aio.AioRpcError:
                return False

        await eventually_true(is_free)  # the place is free again


@pytest.mark.parametrize(
    ("setting", "other"), [("max_upload_mib_per_peer", "max_upload_mib"), ("max_upload_mib", "max_upload_mib_per_peer")]
)
async def test_unfinished_uploads_over_grpc_are_within_the_budget(tmp_path: Path, setting: str, other: str) -> None:
    limits: dict[str, object] = {"max_message_mib": 32, setting: 48, other: 0}
    async with running_server(tmp_path, runtime="simulated", **limits) as server:
        assert await calls_are_served(server)
        with uploads(server, 4) as opened:
            sent = [await asyncio.to_thread(upload.send, UPLOADED_MIB * MIB) for upload in opened]
            assert sum(sent) > 48 * MIB

            async def one_is_refused() -> bool:
                return any([await asyncio.to_thread(upload.send, 1, timeout_seconds=0.01) == 0 for upload in opened])

            await eventually_true(one_is_refused)
            ends = [upload.end for upload in opened if upload.end]
            assert all(setting.encode() + b")" in end for end in ends), ends
            assert len(ends) < len(opened), "those within the budget go on"
            assert await calls_are_served(server)


async def test_an_upload_over_http_is_within_the_budget(tmp_path: Path) -> None:
    url = "/api/v1/job/query"
    limits: dict[str, object] = {"max_message_mib": 8, "max_upload_mib_per_peer": 8}
    async with running_server(tmp_path, runtime="simulated", **limits) as server:
        release = asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield b" " * (5 * MIB)
            await release.wait()
            yield b"{}"

        async with aiohttp.ClientSession(f"http://{server.http_address}") as session:
            posts = [asyncio.ensure_future(session.post(url, data=half())) for _ in range(2)]
            done, going_on = await asyncio.wait(posts, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert done, "both are received, which together exceed the budget"
            async with await done.pop() as response:
                assert response.status == 429
                assert "(setting max_upload_mib_per_peer)" in (await response.json())["status"]["message"]
            release.set()
            async with await going_on.pop() as response:
                assert response.status == 200
            async with session.post(url, data=BytesIO(b"{}".ljust(7 * MIB))) as response:
                assert response.status == 200, "what was taken is given back"


async def test_what_inflates_to_very_much_is_refused_early_and_cheaply(tmp_path: Path) -> None:
    body = gzip.compress(b'{"tasks":[' + b"{}," * (20 * MIB) + b"{}]}")
    async with running_server(tmp_path, runtime="simulated") as server:
        assert await calls_are_served(server)
        before = peak_bytes(server)
        async with (
            aiohttp.ClientSession(f"http://{server.http_address}") as session,
            session.post("/api/v1/job/create", data=body, headers={"Content-Encoding": "gzip"}) as response,
        ):
            assert response.status == 413
            assert "inflates to more than 200 times" in (await response.json())["status"]["message"]
        assert peak_bytes(server) - before < 64 * MIB


async def test_millions_of_elements_are_refused_cheaply_and_calls_go_on(tmp_path: Path) -> None:
    elements = b'{"tasks":[' + b"{}," * (5 * MIB) + b"{}]}"
    async with running_server(tmp_path, runtime="simulated") as server:
        assert await calls_are_served(server)
        before = peak_bytes(server)
        create = server.channel.unary_unary(CREATE, bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await create(b"\x2a\x00" * (8 * MIB))
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "more than 500,000 elements" in str(refusal.value.details())
        async with (
            aiohttp.ClientSession(f"http://{server.http_address}") as session,
            session.post("/api/v1/job/create", data=BytesIO(elements)) as response,
        ):
            answer = await response.json()
            assert (response.status, answer["status"]["code"]) == (200, 11101)
            assert "more than 500,000 elements" in answer["status"]["message"]
        assert peak_bytes(server) - before < 128 * MIB
        assert await calls_are_served(server)
