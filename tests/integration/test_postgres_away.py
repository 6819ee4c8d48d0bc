"""PostgreSQL is away for a while: what needs it says so, everything else goes on, and all recovers by itself."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.cut_line import CutLine
from tests.support.polling import PROMISED_SECONDS, eventually, eventually_true
from tests.support.postgres import postgres_server
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

pytestmark = pytest.mark.postgres


@pytest.fixture
async def line() -> AsyncIterator[CutLine]:
    line = CutLine("127.0.0.1", postgres_server().port)
    await line.open()
    yield line
    await line.close()


@pytest.fixture
async def server(tmp_path: Path, line: CutLine) -> AsyncIterator[RunningServer]:
    url = urlsplit(await postgres_server().new_database())
    url = url._replace(netloc=url.netloc.replace(str(postgres_server().port), str(line.port)))
    async with running_server(tmp_path, runtime="simulated", store=url.geturl()) as server:
        yield server
        await line.mend()


async def is_serving(server: RunningServer) -> bool:
    answer = await health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_changes_are_refused_with_the_reason_and_all_goes_on_afterwards(
    server: RunningServer, line: CutLine
) -> None:
    watcher = Watcher(server)
    await watcher.connect()
    await create(server.stub, job_request("before", task_request("a", task_input_config='{"seconds": 1}')))
    await in_state(server.stub, "before", "Running")
    await eventually_true(lambda: is_serving(server))
    await line.cut()

    async def refused() -> bool:
        """A call that was under way when the line was cut may not know what became of it."""
        answer = await server.stub.CreateJob(job_request("lost"))
        assert answer.status.code == 11201, answer
        return "the job store cannot be read: " in answer.status.message

    await eventually_true(refused)
    began = time.monotonic()
    answer = await server.stub.CreateJob(job_request("lost"))
    assert answer.status.code == 11201
    assert "Connect call failed" in answer.status.message
    assert time.monotonic() - began < PROMISED_SECONDS
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await jobs_pb2_grpc.JobsServiceStub(server.channel).SubmitJob(v1.SubmitJobRequest(job=job_request("lost")))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    stopped = await server.stub.StopJob(pb.StopJobRequest(job_id="before"))
    assert stopped.status.code == 11205

    async def is_not_serving() -> bool:
        return not await is_serving(server)

    await eventually_true(is_not_serving)
    await line.mend()
    await eventually_true(lambda: is_serving(server))
    await create(server.stub, job_request("after"))
    assert (await ended(server.stub, "after")).state == "Succeeded"
    assert (await ended(server.stub, "before")).state == "Succeeded"
    # The same stream goes on.
    await eventually(
        lambda: (
            {job_id: status.state for job_id, status in watcher.jobs.items()}
            == {"before": "Succeeded", "after": "Succeeded"}
        )
    )
    await watcher.close()
    assert "Traceback" not in server.log.read_text()
