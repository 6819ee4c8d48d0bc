"""Clients that connect again and again, as fast as they can: the others are served, and nothing is left of them."""

import asyncio

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.metrics import resident_bytes, watch_streams
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.raw_watch import connect_and_drop, open_and_drop
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer

MIB = 1 << 20
BATCHES = 6
STREAMS, CONNECTIONS = 500, 84
"""In each batch."""
AT_ONCE = 20
MOST_STREAMS = 400
JOBS = 5
MOST_BYTES = 8 * MIB
"""1 to 3 are seen, the most of it in the first batches."""

pytestmark = [
    pytest.mark.hostile,
    # A stream whose place is not given back will be missed.
    pytest.mark.settings(max_streams_per_peer=MOST_STREAMS, max_watch_streams=MOST_STREAMS),
]


async def connect_again_and_again(server: RunningServer) -> None:
    await asyncio.to_thread(open_and_drop, server.address, streams=STREAMS, at_once=AT_ONCE)
    await asyncio.to_thread(connect_and_drop, server.address, connections=CONNECTIONS)


async def query_until(done: "asyncio.Task[None]", server: RunningServer) -> int:
    """Ask one thing after the other, each answered in time; how often."""
    queries = 0
    while not done.done():
        response = await server.stub.QueryJob(pb.QueryJobRequest(job_id="job-0"), timeout=PATIENCE_SECONDS)
        assert response.status.code == 0
        queries += 1
    return queries


async def test_reconnecting_without_pause_starves_nobody_and_leaves_nothing(server: RunningServer) -> None:
    for number in range(JOBS):
        await create(server.stub, job_request(f"job-{number}"))
        await ended(server.stub, f"job-{number}")
    resident: list[float] = []
    for _ in range(BATCHES):
        storm = asyncio.create_task(connect_again_and_again(server))
        assert await query_until(storm, server) > 0
        await storm
        resident.append(await resident_bytes(server))
    assert resident[-1] - resident[0] <= MOST_BYTES, [f"{size / MIB:.1f}" for size in resident]

    async def have_left() -> bool:
        return await watch_streams(server) == 0

    await eventually_true(have_left)
