"""The kubernetes runtime on several servers: who takes over goes on with the pods that run, and each ran once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from tests.support.fake_cluster import FakeCluster, fake_cluster
from tests.support.images import write_image
from tests.support.kubeconfigs import write_kubeconfig
from tests.support.postgres import postgres_server
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.postgres


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster(least_seconds=15.0, most_seconds=15.0) as cluster:
        yield cluster


@pytest.fixture
async def servers(tmp_path: Path, cluster: FakeCluster) -> AsyncIterator[Sequence[RunningServer]]:
    write_image(tmp_path / "images", "long", ["true"])
    url = await postgres_server().new_database()
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
    async with AsyncExitStack() as stack:
        started = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            opening = running_server(
                tmp_path / name,
                runtime="kubernetes",
                kube_config=kubeconfig,
                store=url,
                shared_dir=tmp_path / "shared",
                app_image_dir=tmp_path / "images",
            )
            started.append(await stack.enter_async_context(opening))
        yield started


async def test_pods_go_on_under_the_next_leader_and_run_once(
    servers: Sequence[RunningServer], cluster: FakeCluster
) -> None:
    leader, other = servers
    await create(other.stub, job_request("job-1", task_request("a", "long")))
    task_id = (await in_state(other.stub, "job-1", "Running")).tasks[0].task_id
    answers = log_pb2_grpc.LogServiceStub(other.channel).QueryLog(log_pb2.QueryLogRequest(task_id=task_id, follow=True))
    async for answer in answers:  # the output of what another server looks after
        assert answer.log == "hello\n"
        break
    answers.cancel()
    await leader.kill()
    await other.logged("job taken up: 2 parties of 1 tasks are looked after again")
    assert (await ended(other.stub, "job-1", timeout_seconds=90)).state == "Succeeded"
    output = [
        answer.log
        async for answer in log_pb2_grpc.LogServiceStub(other.channel).QueryLog(
            log_pb2.QueryLogRequest(task_id=task_id)
        )
    ]
    assert output == ["hello\n"]
    assert sorted(cluster.runs.values()) == [1, 1]
    history = await jobs_pb2_grpc.JobsServiceStub(other.channel).GetJob(v1.GetJobRequest(job_id="job-1"))
    assert [task.attempt for task in history.job.tasks] == [1]
