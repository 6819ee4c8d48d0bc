"""ReadTaskLog of a real server, over gRPC and HTTP: what real programs wrote, in each attempt, while they run too."""

import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.images import shell_image, write_images
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.rich import refusal_in, refusal_of
from tests.support.server import RunningServer, running_server

TALK = "echo one; sleep 0.3; echo zwei € >&2; sleep 0.3; printf 'three\nno end'"
MUCH = "seq 0 399999 | sed 's/^/€-/'"


@pytest.fixture
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    go = f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo over"
    large = "i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done"
    fails = f"echo attempt >&2; echo run >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -gt 2 ]"
    images = {"talk": TALK, "wait": go, "large": large, "fails": fails, "much": MUCH}
    (tmp_path / "images").mkdir()
    write_images(tmp_path / "images", [shell_image(name, script) for name, script in images.items()])
    marker = request.node.get_closest_marker("settings")
    settings = marker.kwargs if marker else {}
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", **settings) as server:
        yield server


async def create_job(server: RunningServer, image: str) -> None:
    await create(server.stub, job_request(image, task_request("t", app_image=image, task_id=f"{image}-task")))


async def read(server: RunningServer, image: str, **query: Any) -> list[pb.LogLine]:
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    stream = stub.ReadTaskLog(pb.ReadTaskLogRequest(task_id=f"{image}-task", **query), timeout=PATIENCE_SECONDS)
    return [line async for message in stream for line in message.lines]


def told(lines: Sequence[pb.LogLine]) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in lines]


async def test_both_streams_come_in_the_order_in_which_they_were_written(server: RunningServer) -> None:
    began_at = datetime.now(UTC)
    await create_job(server, "talk")
    await ended(server.stub, "talk")
    lines = await read(server, "talk")
    assert told(lines) == [("stdout", "one"), ("stderr", "zwei €"), ("stdout", "three"), ("stdout", "no end")]
    assert [line.is_partial for line in lines] == [False, False, False, True]
    assert [(line.offset, line.end_offset) for line in lines] == [(0, 4), (0, 9), (4, 10), (10, 16)]
    times = [line.time.ToDatetime(UTC) for line in lines]
    times_around = [began_at, *times, datetime.now(UTC)]
    assert times_around == sorted(times_around)
    assert times[2] - times[1] > timedelta(seconds=0.1)

    assert told(await read(server, "talk", tail_lines=3)) == told(lines)[1:]
    assert told(await read(server, "talk", since_time=lines[1].time)) == told(lines)[1:]
    assert told(await read(server, "talk", stream="stdout", offset=4)) == told(lines)[2:]
    assert told(await read(server, "talk", stream="stderr", domain_id="bob", tail_lines=5)) == told(lines)[1:2]

    await server.kill()
    await server.start()
    assert await read(server, "talk") == lines


async def test_who_follows_is_told_lines_as_they_come_until_the_attempt_ends(
    server: RunningServer, tmp_path: Path
) -> None:
    await create_job(server, "wait")
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    stream = stub.ReadTaskLog(pb.ReadTaskLogRequest(task_id="wait-task", follow=True), timeout=PATIENCE_SECONDS)
    got: list[pb.LogLine] = []
    async for message in stream:
        got += message.lines
        (tmp_path / "go").touch()
    assert told(got) == [("stdout", "begun"), ("stdout", "over")]


async def test_earlier_attempts_are_read_after_a_restart(server: RunningServer) -> None:
    await create_job(server, "fails")
    await in_state(server.stub, "fails", "Failed")
    await server.stub.RestartJob(job_pb2.RestartJobRequest(job_id="fails"))
    await in_state(server.stub, "fails", "Succeeded")
    assert told(await read(server, "fails", attempt=1)) == [("stderr", "attempt")]
    assert told(await read(server, "fails")) == told(await read(server, "fails", attempt=2)) == [("stderr", "attempt")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(server, "fails", attempt=3)
    text = 'task "fails-task" has no attempt 3: it has had 1, 2; 0 is the newest'
    refusal = refusal_of(caught.value)
    assert (refusal.code, refusal.text, refusal.violations) == ("INVALID_ARGUMENT", text, [("attempt", text)])


async def test_a_log_of_many_lines_comes_in_messages_that_clients_take(server: RunningServer) -> None:
    await create_job(server, "large")
    await ended(server.stub, "large")
    lines = await read(server, "large", stream="stdout")
    assert [line.text for line in lines] == [f"line-{number}" for number in range(20_000)]
    assert told(await read(server, "large", tail_lines=2)) == [("stdout", "line-19998"), ("stdout", "line-19999")]


async def test_a_browser_reads_lines_and_wrong_parameters_are_named(server: RunningServer) -> None:
    await create_job(server, "talk")
    await ended(server.stub, "talk")
    path = f"http://{server.http_address}/v1/tasks/talk-task/log"
    async with aiohttp.ClientSession() as session:
        async with session.get(path, params={"domain_id": "alice", "tail_lines": "2"}) as answer:
            messages = [json.loads(line) for line in (await answer.text()).splitlines()]
        lines = [line for message in messages for line in message["lines"]]
        assert [line["text"] for line in lines] == ["three", "no end"]
        for parameters, field in (({"stream": "both"}, "stream"), ({"offset": "3"}, "offset")):
            async with session.get(path, params=parameters) as answer:
                refusal = refusal_in(await answer.text(), answer.status)
                assert (answer.status, refusal.code, [name for name, _ in refusal.violations]) == (
                    400,
                    "INVALID_ARGUMENT",
                    [field],
                )
        async with session.get(path.replace("talk-task", "no-such-task")) as answer:
            assert refusal_in(await answer.text(), answer.status).code == "NOT_FOUND"


async def test_an_old_run_without_times_is_told_stdout_first(server: RunningServer) -> None:
    await create_job(server, "talk")
    await ended(server.stub, "talk")
    for file in (server.data_dir / "runs").glob("*/*/*/*.arrivals"):
        file.unlink()
    lines = await read(server, "talk")
    assert [line.text for line in lines] == ["one", "three", "no end", "zwei €"]
    assert not any(line.HasField("time") for line in lines)


async def test_what_a_killed_shim_has_noted_is_known(server: RunningServer) -> None:
    await create_job(server, "wait")

    async def is_noted() -> bool:
        lines = await read(server, "wait")
        return bool(lines) and lines[0].HasField("time")

    await eventually_true(is_noted)
    before = await read(server, "wait")
    os.kill(server.shim_pid, signal.SIGKILL)
    await server.kill()
    await server.start()
    await ended(server.stub, "wait")
    assert await read(server, "wait") == before
    assert told(before) == [("stdout", "begun")]


@pytest.mark.settings(output_limit_mib=1)
async def test_dropped_output_is_told_once_and_the_rest_is_whole(server: RunningServer) -> None:
    await create_job(server, "much")
    await ended(server.stub, "much")
    first, *others = await read(server, "much")
    assert first.dropped_bytes == first.offset > 0
    assert not any(line.dropped_bytes for line in others)
    assert not any("\ufffd" in line.text for line in (first, *others))
    assert [line.text for line in others] == [f"€-{number}" for number in range(400_000 - len(others), 400_000)]
    assert told(await read(server, "much", tail_lines=1)) == [("stdout", "€-399999")]


async def test_the_logs_of_all_parties_come_in_one_stream_each_message_of_one_party(server: RunningServer) -> None:
    parties = [f"p{number}" for number in range(8)]
    await create(server.stub, job_request("wait", task_request("t", "wait", ["alice", *parties], task_id="wait-task")))
    stub = jobs_pb2_grpc.JobsServiceStub(server.channel)
    request = pb.ReadTaskLogRequest(task_id="wait-task", all_parties=True, follow=True)
    stream = stub.ReadTaskLog(request, timeout=PATIENCE_SECONDS)
    texts: dict[str, list[str]] = {}
    async for message in stream:
        texts.setdefault(message.domain_id, []).extend(line.text for line in message.lines)
        if len(texts) == 9 and all(said == ["begun"] for said in texts.values()):
            (server.data_dir.parent / "go").touch()
    assert texts == {party: ["begun", "over"] for party in ["alice", *parties]}

    chosen = stub.ReadTaskLog(pb.ReadTaskLogRequest(task_id="wait-task", all_parties=True, domain_id="p3"))
    assert {message.domain_id async for message in chosen} == {"p3"}
    first = stub.ReadTaskLog(pb.ReadTaskLogRequest(task_id="wait-task"))
    assert {message.domain_id async for message in first} == {"alice"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await read(server, "wait", all_parties=True, stream="stdout", offset=3)
    assert "offset 3 is one party's" in str(refused.value.details())
