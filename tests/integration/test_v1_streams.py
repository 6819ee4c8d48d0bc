"""Streams of kusciajob.v1 over HTTP: NDJSON or server-sent events, resumed by Last-Event-ID, ended in words."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.gate import Limits
from kusciajob.api.http import streams
from kusciajob.contracts import HubClosed
from kusciajob.model.errors import InvalidJob, LogTruncated
from tests.support.polling import eventually
from tests.support.rich import refusal_in
from tests.support.told import Edges, ToldEvent, told_edges

WATCH = "/v1/jobs:watch"
LOG = "/v1/tasks/task-1/log"
EVENTS = {"Accept": "text/event-stream"}
LINE = pb.ReadTaskLogResponse(lines=[pb.LogLine(text="héllo", stream="stdout")])


@pytest.fixture
async def edges() -> AsyncIterator[Edges]:
    async with told_edges() as edges:
        edges.part.batches = [[ToldEvent(7, "added", "a"), ToldEvent(0, "added", "b")], [], [ToldEvent(9, "left", "a")]]
        yield edges


async def test_a_stream_is_one_json_object_a_line(edges: Edges) -> None:
    async with edges.session.get(WATCH) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        told = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [(each["revision"], each["job"]["job_id"]) for each in told] == [("7", "a"), ("0", "b"), ("9", "a")]


async def test_server_sent_events_have_names_and_ids_where_one_can_go_on(edges: Edges) -> None:
    async with edges.session.get(WATCH, headers=EVENTS) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        first, *events, last = (await answer.text()).removesuffix("\n\n").split("\n\n")
    assert first == "retry: 1000"
    assert [event.splitlines()[:-1] for event in events] == [
        ["id: 7", "event: added"],
        ["event: added"],
        ["id: 9", "event: left"],
    ]
    assert [json.loads(event.splitlines()[-1].removeprefix("data: "))["job"]["job_id"] for event in events] == [
        "a",
        "b",
        "a",
    ]
    assert last == "event: end\ndata: {}"


async def test_what_has_no_name_is_an_event_without_one(edges: Edges) -> None:
    edges.part.batches = [[LINE]]
    async with edges.session.get(LOG, headers=EVENTS) as answer:
        _, line, _ = (await answer.text()).removesuffix("\n\n").split("\n\n")
    assert json.loads(line.removeprefix("data: "))["lines"][0]["text"] == "héllo"
    assert edges.part.asked[-1].task_id == "task-1"


async def test_a_browser_goes_on_after_its_last_event(edges: Edges) -> None:
    query = {"include_existing": "true", "states": "Running"}
    async with edges.session.get(WATCH, params=query, headers={**EVENTS, "Last-Event-ID": "17"}) as answer:
        assert answer.status == 200
    request = edges.part.asked[-1]
    assert (request.after_revision, request.include_existing, list(request.states)) == (17, False, ["Running"])
    async with edges.session.get(LOG, headers={**EVENTS, "Last-Event-ID": "anything"}) as answer:
        assert answer.status == 200  # a log has no such ids


@pytest.mark.parametrize("last", ["-1", "1.5", "x" * 500, "9" * 19, "٣"])
async def test_an_id_that_is_no_revision_is_refused(edges: Edges, last: str) -> None:
    async with edges.session.get(WATCH, headers={**EVENTS, "Last-Event-ID": last}) as answer:
        refusal = refusal_in(await answer.text(), answer.status)
    assert (refusal.code, refusal.violations[0][0]) == ("INVALID_ARGUMENT", "Last-Event-ID")
    assert not edges.part.asked


@pytest.mark.parametrize("headers", [{}, EVENTS])
async def test_what_is_wrong_before_a_stream_begins_is_an_answer(edges: Edges, headers: dict[str, str]) -> None:
    for error, http_status in ((LogTruncated("from 12 on"), 410), (HubClosed(), 503), (InvalidJob("no"), 400)):
        edges.part.refusal = error
        async with edges.session.get(WATCH, headers=headers) as answer:
            assert answer.status == http_status
            assert refusal_in(await answer.text(), http_status).kuscia_code
    edges.part.refusal = None


@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize("error", [LogTruncated("it reaches back to 12"), RuntimeError("the secret details")])
async def test_a_stream_that_cannot_go_on_says_why_and_breaks_off(
    edges: Edges, headers: dict[str, str], error: Exception
) -> None:
    edges.part.end = error
    received = bytearray()

    async def read_all(answer: aiohttp.ClientResponse) -> None:
        async for chunk in answer.content.iter_any():
            received.extend(chunk)

    async with edges.session.get(WATCH, headers=headers) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await read_all(answer)
    last = received.strip().splitlines()[-1].removeprefix(b"data: ")
    told = json.loads(last)["error"]
    assert told["status"] == ("OUT_OF_RANGE" if isinstance(error, LogTruncated) else "INTERNAL")
    assert (b"\nevent: broken\n" in received) == bool(headers)
    assert b"event: end" not in received
    assert b"secret" not in received


async def test_events_are_broken_by_comments_while_nothing_happens(
    edges: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    edges.part.lasts = True
    async with edges.session.get(LOG, headers=EVENTS) as answer:
        received = b""
        while received.count(b":\n\n") < 3:
            received += await answer.content.readany()
    assert b"event: end" not in received
    await eventually(lambda: not edges.part.open_streams)


async def test_head_of_a_stream_opens_none(edges: Edges) -> None:
    edges.part.lasts = True
    async with edges.session.head(WATCH) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
    await eventually(lambda: not edges.part.open_streams)


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/event-stream"])
async def test_a_client_that_does_not_read_or_vanishes_holds_nothing(edges: Edges, kind: str) -> None:
    edges.part.batches = [[ToldEvent(index, "added", "x" * 500) for index in range(20_000)]]
    edges.part.lasts = True
    _, writer = await edges.connect(f"GET {WATCH} HTTP/1.1\nHost: localhost\nAccept: {kind}\n\n")
    await eventually(lambda: edges.part.open_streams == 1)
    async with edges.session.get("/v1/jobs/other") as answer:  # the edge goes on meanwhile
        assert answer.status == 200
    writer.close()
    await eventually(lambda: not edges.part.open_streams)


async def test_followed_logs_end_with_the_server() -> None:
    async with told_edges() as edges:
        edges.part.lasts = True
        async with edges.session.get(LOG) as answer:
            assert answer.status == 200
            async with asyncio.timeout(10):
                await edges.http.stop()
        assert not edges.part.open_streams


async def test_the_limits_of_streams_hold_for_these_too() -> None:
    async with told_edges(limits=Limits(watch_streams=1, streams_per_peer=2)) as edges:
        edges.part.lasts = True
        async with edges.session.get(WATCH) as first:
            assert first.status == 200
            async with edges.session.get(WATCH) as second:
                refusal = refusal_in(await second.text(), 429)
                assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_REACHED")
                assert "max_watch_streams" in refusal.text
                assert second.headers["Retry-After"]
            async with edges.session.get(LOG) as log, edges.session.get(LOG) as beyond:
                assert (log.status, beyond.status) == (200, 429)
        await eventually(lambda: not edges.part.open_streams)
