"""What streams show of passing time is the test's time: signs of life, and what programs write."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from kusciajob.api import kuscia as messages
from kusciajob.api import testing, v1
from kusciajob.client import Client, JobSpec, Task
from kusciajob.testing import JobServer
from kusciajob.testing.session import TestKit
from tests.support.polling import PATIENCE_SECONDS

SIGNS = 20
"""So many signs of life would take minutes of the machine's time."""

pytestmark = pytest.mark.kuscia(clock="stopped")


def spec() -> JobSpec:
    return JobSpec("j1", "alice", [Task("train", "app", ["alice"])])


@contextmanager
def reading(address: str, method: str, path: str, body: str = "", **headers: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body or None, headers)
        yield connection.getresponse()
    finally:
        connection.close()


def test_a_silent_stream_of_events_shows_that_it_lives(kuscia: TestKit) -> None:
    with reading(kuscia.http_address, "GET", "/v1/jobs:watch", Accept="text/event-stream") as events:
        assert events.readline().startswith(b"retry:")
        for _ in range(SIGNS):
            kuscia.clock.advance("11s")
        comments = 0
        while comments < SIGNS:
            comments += events.readline() == b":\n"


def test_a_watch_over_http_has_heartbeats(kuscia: TestKit) -> None:
    with reading(kuscia.http_address, "POST", "/api/v1/job/watch", "{}") as events:
        for _ in range(SIGNS):
            kuscia.clock.advance("11s")
        for _ in range(SIGNS):
            assert json.loads(events.readline())["type"] == "HEARTBEAT"


def test_a_watch_of_v1_has_bookmarks(kuscia: TestKit) -> None:
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub: Any = v1.JobsServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
        watching = stub.WatchJobs(v1.WatchJobsRequest(), timeout=PATIENCE_SECONDS)
        watching.initial_metadata()
        for _ in range(SIGNS):
            kuscia.clock.advance("10s")
        for _ in range(SIGNS):
            next(watching)


def test_a_watch_of_a_plain_kuscia_has_heartbeats() -> None:
    with (
        JobServer(quirks="kuscia") as server,
        grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        stub: Any = messages.JobServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
        watching = stub.WatchJob(messages.WatchJobRequest(), timeout=PATIENCE_SECONDS)
        control: Any = testing.ControlServiceStub(channel)  # type: ignore[arg-type]
        while not control.Calls(testing.CallsRequest(method="WatchJob")).calls:
            pass
        for _ in range(SIGNS):
            server.kuscia.clock.advance("2s")
        for _ in range(SIGNS):
            assert next(watching).type == messages.HEARTBEAT


@pytest.mark.parametrize("by", ["ReadTaskLog", "QueryLog"])
def test_who_follows_a_log_has_been_sent_what_was_written_by_then(
    kuscia: TestKit, kuscia_client: Client, by: str
) -> None:
    """It is cut off at once: what a round of the machine's time would send later does not come any more."""
    kuscia.task("train").prints("at once").prints("in an hour", after="1h").prints("in a day", after="24h").hangs()
    job = kuscia_client.create(spec())
    kuscia.settle()
    task_id = job.status().tasks[0].task_id
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        if by == "QueryLog":
            plain: Any = messages.LogServiceStub(channel)  # type: ignore[arg-type]
            lines = plain.QueryLog(messages.QueryLogRequest(task_id=task_id, follow=True), timeout=PATIENCE_SECONDS)
        else:
            ours: Any = v1.JobsServiceStub(channel)  # type: ignore[arg-type]
            lines = ours.ReadTaskLog(v1.ReadTaskLogRequest(task_id=task_id, follow=True), timeout=PATIENCE_SECONDS)
        read = [next(lines)]
        kuscia.clock.advance("1h")
        control: Any = testing.ControlServiceStub(channel)  # type: ignore[arg-type]
        assert control.InjectFaults(testing.InjectFaultsRequest(append=True, cut_streams=by)).cut == 1
        with pytest.raises(grpc.RpcError):
            read.extend(lines)
    text = "".join(map(str, read))
    assert "at once" in text
    assert "in an hour" in text
    assert "in a day" not in text


def test_that_a_job_is_gone_is_told_although_no_time_passes(kuscia: TestKit) -> None:
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub: Any = v1.JobsServiceStub(channel)  # type: ignore[arg-type]
        request = v1.WatchJobsRequest(job_ids=["gone"], include_existing=True)
        assert next(stub.WatchJobs(request, timeout=PATIENCE_SECONDS)).type == v1.WatchJobsResponse.TYPE_BOOKMARK


def test_a_followed_log_ends_with_its_program(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").prints("in an hour", after="1h").succeeds(after="2h")
    job = kuscia_client.create(spec())
    kuscia.clock.run()
    assert [line.text for line in job.logs("train", follow=True)] == ["in an hour"]
