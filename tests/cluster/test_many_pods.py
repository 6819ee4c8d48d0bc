"""Many pods at once, and many that have ended: on simulated nodes of a lab."""

from pathlib import Path

import pytest

from tests.cluster import many
from tests.cluster.cluster import Cluster, ClusterLab
from tests.cluster.lab.simulated_nodes import LINE
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import running_server

TASKS = 200
TASKS_PER_JOB = 100
FINISHED_PODS = 5000
MOST_SECONDS = 20 * PATIENCE_SECONDS
"""The API server of a lab makes ten tasks a second, on an idle machine."""


@pytest.fixture(autouse=True)
def _simulated_nodes(cluster: Cluster) -> None:
    if not cluster.is_ours:
        pytest.skip("simulated nodes are added to a lab only")
    cluster.add_simulated_nodes(many.SIMULATED_NODES)


async def test_two_hundred_tasks_at_once_all_succeed(cluster: Cluster, lab: ClusterLab, tmp_path: Path) -> None:
    many.write_image(tmp_path / "images", "true", ["/bin/true"])
    async with running_server(tmp_path, **many.settings_of(cluster, tmp_path, is_simulated=True)) as server:
        tasks = [task_request(f"task-{at}", "true") for at in range(TASKS_PER_JOB)]
        job_ids = [f"job-{at}" for at in range(TASKS // TASKS_PER_JOB)]
        for job_id in job_ids:
            await create(server.stub, job_request(job_id, *tasks, max_parallelism=TASKS_PER_JOB))
        for job_id in job_ids:
            status = await ended(server.stub, job_id, timeout_seconds=MOST_SECONDS)
            assert status.state == "Succeeded", status.err_msg
            assert {task.state for task in status.tasks} == {"Succeeded"}
        outputs = sorted((tmp_path / "data" / "runs").rglob("stdout.log"))
        assert len(outputs) == 2 * TASKS  # one run of each party
        assert {output.read_text() for output in outputs} == {f"{LINE}\n"}
        await _removed(lab)


async def test_finished_pods_of_another_server_cost_nothing(cluster: Cluster, lab: ClusterLab) -> None:
    """They never reach the server: its list of pods is as short as without them."""
    many.add_finished_pods(cluster, FINISHED_PODS, store_id="other", domain_id="alice", first_job=1)
    runtime = await lab.open(store_id="mine")
    assert not await runtime.owned()


async def test_finished_pods_of_its_own_keep_no_start_waiting(
    cluster: Cluster, lab: ClusterLab, tmp_path: Path
) -> None:
    """A server finds thousands of pods of jobs that it does not know. They have ended: nothing waits for them."""
    many.write_image(tmp_path / "images", "true", ["/bin/true"])
    async with running_server(tmp_path, **many.settings_of(cluster, tmp_path, is_simulated=True)) as server:
        await create(server.stub, job_request("before", task_request("only", "true")))
        assert (await ended(server.stub, "before", timeout_seconds=MOST_SECONDS)).state == "Succeeded"
        await server.kill()
        store_id = many.store_id_of(server.data_dir)
        many.add_finished_pods(cluster, FINISHED_PODS, store_id=store_id, domain_id="alice", first_job=100_000)
        await server.start()
        await create(server.stub, job_request("after", task_request("only", "true")))
        assert (await ended(server.stub, "after", timeout_seconds=MOST_SECONDS)).state == "Succeeded"
        assert len(await lab.of_kind("pods", store_id=store_id)) > FINISHED_PODS // 2, (
            "it waited until they were removed"
        )


async def _removed(lab: ClusterLab) -> None:
    async def is_removed() -> bool:
        return not await lab.of_kind("pods") and not await lab.of_kind("services")

    await eventually_true(is_removed, timeout_seconds=MOST_SECONDS)
