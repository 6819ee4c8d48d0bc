"""WatchJobs of a real server: by gRPC and server-sent events, across kills, and within the limits of streams."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import grpc
import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as kuscia
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.metrics import watch_streams
from tests.support.polling import eventually_true
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer

ADDED, MODIFIED, DELETED, LEFT, BOOKMARK = (
    pb.WatchJobsResponse.TYPE_ADDED,
    pb.WatchJobsResponse.TYPE_MODIFIED,
    pb.WatchJobsResponse.TYPE_DELETED,
    pb.WatchJobsResponse.TYPE_LEFT,
    pb.WatchJobsResponse.TYPE_BOOKMARK,
)
FILTERS = (
    pb.WatchJobsRequest(),
    pb.WatchJobsRequest(states=["Running"]),
    pb.WatchJobsRequest(states=["Succeeded", "Failed"], initiator="alice"),
    pb.WatchJobsRequest(job_id_prefix="job-1"),
    pb.WatchJobsRequest(job_ids=["job-3", "job-7"]),
    pb.WatchJobsRequest(party="bob", states=["Pending"]),
)
KILLS = 2
JOBS_PER_KILL = 4


async def next_event(call: AsyncIterator[pb.WatchJobsResponse]) -> pb.WatchJobsResponse:
    async for event in call:
        if event.type != BOOKMARK:
            return event
    raise AssertionError("the stream has ended")


class Follower:
    """Watches with a filter; when the server has gone it goes on after the last revision that it was told."""

    def __init__(self, server: RunningServer, request: pb.WatchJobsRequest) -> None:
        self.told: list[pb.WatchJobsResponse] = []
        self.revision = 0
        self.connections = 0
        self._server = server
        self._request = request

    async def run(self) -> None:
        while True:
            self._request.after_revision = self.revision
            try:
                call = jobs_pb2_grpc.JobsServiceStub(self._server.channel).WatchJobs(self._request, wait_for_ready=True)
                self.connections += 1
                async for event in call:
                    assert event.revision >= self.revision
                    self.revision = event.revision
                    if event.type != BOOKMARK:
                        self.told.append(event)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


def passes(event: pb.WatchJobsResponse, request: pb.WatchJobsRequest) -> bool:
    job = event.job
    return (
        (not request.states or job.state in request.states)
        and request.initiator in ("", job.initiator)
        and job.job_id.startswith(request.job_id_prefix)
        and (not request.job_ids or job.job_id in request.job_ids)
        and (not request.party or request.party in job.parties)
    )


def filtered(log: list[pb.WatchJobsResponse], request: pb.WatchJobsRequest) -> list[tuple[int, int]]:
    """What must be told of the whole log: types and revisions."""
    inside: dict[int, bool] = defaultdict(bool)
    found: list[tuple[int, int]] = []
    for event in log:
        before, number = inside[event.job.number], event.job.number
        inside[number] = event.type != DELETED and passes(event, request)
        if event.type not in (ADDED, MODIFIED, DELETED):
            kinds = [event.type] if inside[number] else []
        elif before:
            kinds = [event.type if event.type == DELETED else MODIFIED if inside[number] else LEFT]
        else:
            kinds = [ADDED] if inside[number] else []
        found += [(kind, event.revision) for kind in kinds]
    return found


async def test_filtered_watches_have_neither_holes_nor_repeats_across_kills(server: RunningServer) -> None:
    followers = [Follower(server, pb.WatchJobsRequest.FromString(each.SerializeToString())) for each in FILTERS]
    following = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        for turn in range(KILLS + 1):
            names = [f"job-{turn * JOBS_PER_KILL + number}" for number in range(JOBS_PER_KILL)]
            await asyncio.gather(*(create(server.stub, job_request(name)) for name in names))
            await ended(server.stub, names[0])
            await server.stub.DeleteJob(kuscia.DeleteJobRequest(job_id=names[0]))
            if turn < KILLS:
                await server.kill()
                await server.start()
                await server.channel.channel_ready()
        for number in range(1, JOBS_PER_KILL):
            await ended(server.stub, f"job-{KILLS * JOBS_PER_KILL + number}")
        await create(server.stub, job_request("job-1-last"))
        await ended(server.stub, "job-1-last")
        await server.stub.DeleteJob(kuscia.DeleteJobRequest(job_id="job-1-last"))
        whole = followers[0]
        await eventually_true(lambda: _is_told(whole, "job-1-last"))
        expected = [filtered(whole.told, follower._request) for follower in followers]

        async def have_all() -> bool:
            return all(len(follower.told) >= len(each) for follower, each in zip(followers, expected, strict=True))

        await eventually_true(have_all)
    finally:
        for task in following:
            task.cancel()
        ends = await asyncio.gather(*following, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert [event.revision for event in whole.told] == list(range(1, whole.told[-1].revision + 1))
    for follower, each in zip(followers, expected, strict=True):
        assert [(event.type, event.revision) for event in follower.told] == each
        assert each
        assert follower.connections > KILLS


async def _is_told(follower: Follower, job_id: str) -> bool:
    return bool(follower.told) and follower.told[-1].job.job_id == job_id and follower.told[-1].type == DELETED


async def test_a_browser_goes_on_where_it_was(server: RunningServer) -> None:
    """By Last-Event-ID, after an event and after a bookmark; nothing in between is missing, nothing comes twice."""
    url = f"http://{server.http_address}/v1/jobs:watch"
    await create(server.stub, job_request("a-1"))
    await ended(server.stub, "a-1")
    query = {"include_existing": "true", "job_id_prefix": "a-"}
    async with aiohttp.ClientSession(headers={"Accept": "text/event-stream"}) as session:
        last, seen = "", []
        async with session.get(url, params=query) as answer:
            async for event in events_of(answer):
                seen.append((event["name"], event["data"].get("job") and event["data"]["job"]["job_id"]))
                if "id" in event:
                    last = event["id"]
                    break
        assert seen == [("added", "a-1"), ("bookmark", None)]
        await create(server.stub, job_request("b-1"))
        await create(server.stub, job_request("a-2"))
        await ended(server.stub, "a-2")
        await ended(server.stub, "b-1")
        revisions: list[int] = []
        states: list[str] = []
        while "Succeeded" not in states:
            async with session.get(url, params=query, headers={"Last-Event-ID": last}) as answer:
                async for event in events_of(answer):
                    last = event["id"]
                    if event["name"] != "bookmark":
                        assert event["data"]["job"]["job_id"] == "a-2"
                        revisions.append(int(last))
                        states.append(event["data"]["job"]["state"])
                        break  # one event a connection
    assert states[0] == "Pending"
    assert revisions == sorted(set(revisions))


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict]:  # type: ignore[type-arg]
    """Server-sent events with their name, data and, where they have one, id."""
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    event: dict[str, object] = {}
    async for line in answer.content:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if not field and "data" in event:
            yield event
            event = {}
        elif field == "event":
            event["name"] = value
        elif field == "data":
            event["data"] = json.loads(value)
        elif field == "id":
            event["id"] = value


async def test_what_cannot_be_resumed_is_refused_before_the_stream_begins(server: RunningServer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await anext(
            aiter(jobs_pb2_grpc.JobsServiceStub(server.channel).WatchJobs(pb.WatchJobsRequest(after_revision=7)))
        )
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.details() == "after_revision 7 does not exist yet: the newest revision is 0"
    url = f"http://{server.http_address}/v1/jobs:watch?after_revision=7"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.settings(max_watch_streams=2)
async def test_watches_of_both_kinds_are_counted_together(server: RunningServer) -> None:
    await create(server.stub, job_request("any", task_request("t", task_input_config='{"seconds": 60}')))
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    one, other = server.stub.WatchJob(kuscia.WatchJobRequest()), stub.WatchJobs(pb.WatchJobsRequest(after_revision=0))
    await one.read()
    await other.read()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.WatchJobs(pb.WatchJobsRequest()).read()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        answer = await stack.enter_async_context(session.get(f"http://{server.http_address}/v1/jobs:watch"))
        assert answer.status == 429
        assert "2 watch streams are open" in (await answer.json())["error"]["message"]
    one.cancel()
    other.cancel()

    async def is_free() -> bool:
        return await watch_streams(server) == 0

    await eventually_true(is_free)
