"""Every gRPC error carries a text: there are clients that fail on one without."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.callers import API, CALL_SECONDS, GRPC_OPERATIONS, Caller
from tests.support.secured import Place, secured_server

JOBS = f"/{API}.JobService"
UNREADABLE = b"\xff"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with secured_server(tmp_path, max_message_mib=1, max_streams_per_peer=1) as place:
        yield place


async def error_of(channel: grpc.aio.Channel, caller: Caller, operation: str, data: bytes = b"") -> tuple[str, str]:
    """The code and the text of what a call ends with; it must end with an error."""
    call = channel.unary_stream(operation, bytes, bytes)(data, metadata=caller.metadata, timeout=CALL_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code().name, caught.value.details() or ""


async def test_a_refused_token_is_told_in_words_by_every_method(place: Place) -> None:
    stranger = Caller(place.certs, place.certs, "no-such-token")
    async with stranger.channel(place.server.address) as channel:
        for operation in GRPC_OPERATIONS:
            code, text = await error_of(channel, stranger, operation)
            assert (code, bool(text)) == ("UNAUTHENTICATED", True), operation


async def test_what_cannot_be_served_is_told_in_words(place: Place) -> None:
    caller = place.master
    refused = {
        (f"{JOBS}/NoSuchMethod", b""): "UNIMPLEMENTED",
        ("/no.such.Service/Call", b""): "UNIMPLEMENTED",
        (f"{JOBS}/QueryJob", UNREADABLE): "INVALID_ARGUMENT",
        (f"{JOBS}/WatchJob", UNREADABLE): "INVALID_ARGUMENT",
        (f"{JOBS}/WatchJob", pb.WatchJobRequest(timeout_seconds=-1).SerializeToString()): "INVALID_ARGUMENT",
        (f"{JOBS}/QueryJob", bytes(2 << 20)): "RESOURCE_EXHAUSTED",
    }
    async with caller.channel(place.server.address) as channel:
        for (operation, data), expected in refused.items():
            code, text = await error_of(channel, caller, operation, data)
            assert (code, bool(text)) == (expected, True), operation


async def test_a_limit_and_the_end_of_the_server_are_told_in_words(place: Place) -> None:
    caller = place.master
    async with caller.channel(place.server.address) as channel:
        watch = channel.unary_stream(f"{JOBS}/WatchJob", bytes, bytes)(b"", metadata=caller.metadata)
        await channel.unary_unary(f"{JOBS}/CreateJob", bytes, bytes)(
            pb.CreateJobRequest(
                job_id="a",
                initiator="alice",
                tasks=[pb.Task(alias="t", app_image="any", parties=[pb.Party(domain_id="alice")])],
            ).SerializeToString(),
            metadata=caller.metadata,
        )
        events = aiter(watch)
        await anext(events)
        code, text = await error_of(channel, caller, f"{JOBS}/WatchJob")
        assert (code, bool(text)) == ("RESOURCE_EXHAUSTED", True)
        stopping = asyncio.create_task(place.server.stop())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in events:
                pass
        assert (caught.value.code().name, bool(caught.value.details())) == ("UNAVAILABLE", True)
        await stopping
