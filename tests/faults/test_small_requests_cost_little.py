"""Small requests that used to cost gigabytes: what they may take of memory, disk and answers. See tests/support/memory.

The bounds are generous: without the limits that they show, each is exceeded many times over.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.builders import new_job
from tests.support.memory import MIB, database_bytes, forget_peak, peak_bytes
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

STATUS_BYTES = 1 << 20
WIDE = [f"domain-{number}" for number in range(128)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """With a job of an earlier version, of 5 MB of alias: such can be stored, but no longer created."""
    path = tmp_path / "data" / "jobs.db"
    path.parent.mkdir()
    store = await SqliteStore.open(path)
    parties = (Party("alice"), Party("bob"))
    await store.create(new_job(JobSpec("old", "alice", (Task("x" * 5_000_000, "app", parties, task_id="old-task"),))))
    await store.close()
    async with running_server(tmp_path, runtime="simulated", require_approval=True) as server:
        await ended(server.stub, "old")  # its history, with the alias in each entry, is written by then
        yield server


def wide_request(job_id: str) -> pb.CreateJobRequest:
    """As large a job as can be. It awaits approval, so that it changes by commands only."""
    return job_request(job_id, *(task_request(f"task-{number}", domains=WIDE) for number in range(128)))


async def told(channel: grpc.aio.Channel, *job_ids: str) -> dict[str, int]:
    """The bytes of the first event of each of these jobs, as a new watcher receives them."""
    sizes: dict[str, int] = {}
    call = job_pb2_grpc.JobServiceStub(channel).WatchJob(pb.WatchJobRequest())
    async with asyncio.timeout(60):
        while not sizes.keys() >= set(job_ids):
            event: pb.WatchJobEventResponse = await call.read()  # type: ignore[assignment]  # or EOF, in the stubs
            sizes.setdefault(event.object.job_id, event.ByteSize())
    call.cancel()
    return sizes


async def test_a_watcher_with_default_limits_is_told_of_every_job(server: RunningServer) -> None:
    refused = await server.stub.CreateJob(job_request("new", task_request("x" * 5_000_000)))
    assert refused.status.code == 11100
    assert "tasks[0]: alias" in refused.status.message
    assert "5000000 characters" in refused.status.message
    assert len(refused.status.message) < 1000
    await create(server.stub, wide_request("wide"))
    async with grpc.aio.insecure_channel(server.address) as channel:  # 4 MiB a message
        sizes = await told(channel, "old", "wide")
    assert max(sizes.values()) < STATUS_BYTES + 1000
    (old,) = (await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["old"]))).data.jobs
    assert "5,000,000 characters" in old.status.tasks[0].alias
    assert [party.domain_id for party in old.status.tasks[0].parties] == ["alice", "bob"]


async def test_a_job_whose_names_leave_no_room_for_its_status_is_refused(server: RunningServer) -> None:
    parties = [pb.Party(domain_id=f"{number:03}-".ljust(63, "d")) for number in range(128)]
    tasks = [pb.Task(alias=f"t{number}", app_image="a", parties=parties) for number in range(128)]
    response = await server.stub.CreateJob(job_request("job-1", *tasks))
    assert response.status.code == 11100
    assert "128 tasks with 16,384 parties of 128 domains" in response.status.message
    assert "at most 786,432 are possible" in response.status.message


async def test_a_batch_of_one_large_job_many_times_is_one_answer_of_bounded_size(server: RunningServer) -> None:
    await create(server.stub, wide_request("wide"))
    forget_peak(server)
    before = peak_bytes(server)
    request = pb.BatchQueryJobStatusRequest(job_ids=["wide"] * 1500)
    response = await server.stub.BatchQueryJobStatus(request)
    assert response.status.code == 11203
    fitting = int(response.status.message.split("the first ")[1].split()[0])
    assert response.status.message.startswith("the answer is too large: of 1,500 job_ids the first ")
    fits = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["wide"] * fitting))
    assert len(fits.data.jobs) == fitting
    assert peak_bytes(server) - before < 400 * MIB


async def test_the_same_in_json_is_bounded_by_what_it_takes_there(server: RunningServer) -> None:
    await create(server.stub, wide_request("wide"))
    forget_peak(server)
    before = peak_bytes(server)
    url = f"http://{server.http_address}/api/v1/job/status/batchQuery"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=json.dumps({"job_ids": ["wide"] * 1500})) as response:
            answer = await response.json()
        assert answer["status"]["code"] == 11203
        async with session.post(url, data=json.dumps({"job_ids": ["wide"] * 60})) as response:
            answer = await response.json()
        assert "the answer is too large: of 60 job_ids the first" in answer["status"]["message"]
        assert answer["data"] is None
        fitting = int(answer["status"]["message"].split("the first ")[1].split()[0])
        async with session.post(url, data=json.dumps({"job_ids": ["wide"] * fitting})) as response:
            assert (response.content_length or 0) <= 64 * MIB
            answer = await response.json()
    assert [job["job_id"] for job in answer["data"]["jobs"]] == ["wide"] * fitting
    assert peak_bytes(server) - before < 400 * MIB


async def test_a_batch_has_so_many_ids_and_names_all_that_are_missing_in_a_short_text(server: RunningServer) -> None:
    many = pb.BatchQueryJobStatusRequest(job_ids=["old"] * 10_001)
    response = await server.stub.BatchQueryJobStatus(many)
    assert (response.status.code, response.status.message) == (
        11100,
        "job_ids has 10,001 entries: at most 10,000 are possible",
    )
    unknown = [f"unknown-{number}" for number in range(200)]
    response = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["old", *unknown]))
    assert response.status.code == 11203
    assert response.status.message.startswith('jobs "unknown-0", "unknown-1", ')
    assert response.status.message.endswith("… and 180 more not found")
    response = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["old"] * 100 + [""]))
    assert response.status.message == "job_ids[100] is empty: it must name a job"


async def test_a_large_batch_of_small_jobs_comes_in_the_order_of_the_request(server: RunningServer) -> None:
    ids = [f"job-{number}" for number in range(100)]
    await asyncio.gather(*(create(server.stub, job_request(job_id)) for job_id in ids))
    asked = [*reversed(ids), *ids]
    response = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=asked))
    assert [job.job_id for job in response.data.jobs] == asked


async def test_commands_on_a_large_job_with_long_reasons_take_little_and_the_server_still_stops(
    server: RunningServer,
) -> None:
    await create(server.stub, wide_request("wide"))
    watch = server.stub.WatchJob(pb.WatchJobRequest())
    await watch.read()
    memory, disk = forget_peak(server), database_bytes(server)
    for _ in range(COMMANDS // 2):
        stop = pb.StopJobRequest(job_id="wide", reason="because " * 200_000)
        assert (await server.stub.StopJob(stop)).status.code == 0
        assert (await server.stub.RestartJob(pb.RestartJobRequest(job_id="wide", reason="r"))).status.code == 0
    assert peak_bytes(server) - memory < 300 * MIB
    assert database_bytes(server) - disk < COMMANDS * MIB // 8 + 8 * MIB
    status = (await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["wide"]))).data.jobs[0]
    assert status.ByteSize() < STATUS_BYTES + 1000
    watch.cancel()
    assert await server.stop() == 0


COMMANDS = 16


async def test_a_reason_is_kept_up_to_4096_characters_and_says_so(server: RunningServer) -> None:
    await create(server.stub, job_request("job-1"))
    await server.stub.CancelJob(pb.CancelJobRequest(job_id="job-1", reason="because " * 200_000))
    response = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["job-1"]))
    text = response.data.jobs[0].status.err_msg
    assert text.startswith("Party: master execute the cmd: Cancel. Reason: because because")
    assert text.endswith("… (cut, it had 1,600,000 characters)")
    assert len(text) < 4096 + 100
