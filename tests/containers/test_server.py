"""The server with containers: whole jobs, through its API."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.containers.lab import NAME
from tests.support.container_engines import EngineAt
from tests.support.images import write_image
from tests.support.polling import eventually, eventually_true
from tests.support.ports import free_range
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

MANY = int(os.environ.get("MANY_TASKS", "40"))
MANY_SECONDS = 1500.0
RUN = 'echo "$TASK_ID" >> "$KUSCIAJOB_DOMAIN_DIR/runs"; '
REPORT = """
import json, os, time, urllib.request
report = json.dumps({"progress": 0.5}).encode()
while True:
    urllib.request.urlopen(urllib.request.Request(os.environ["TASK_PROGRESS_URL"], report), timeout=5).close()
    time.sleep(0.1)
"""


@pytest.fixture
async def server(engine: EngineAt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningServer]:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    for name, script in {
        "long": RUN + "sleep 3",
        "short": RUN,
        "for-ever": RUN + "while :; do sleep 0.2; done",
    }.items():
        write_image(tmp_path / "images", name, ["/bin/sh", "-c", script], image_name=NAME)
    write_image(tmp_path / "images", "report", ["python3", "-c", REPORT], image_name=NAME)
    async with running_server(
        tmp_path,
        runtime="container",
        app_image_dir=tmp_path / "images",
        domains_dir=tmp_path / "domains",
        stop_grace_seconds=0.5,
        max_running_parties=2 * MANY,
        progress_address=f"host.containers.internal:{free_range(1)[0]}",
    ) as server:
        yield server
        logging.getLogger(__name__).warning("the server's log:\n%s", server.log.read_text())
    await engine.clear()


def runs(directory: Path, domain: str) -> list[str]:
    """The ids of the tasks that a domain's programs have begun, once for each run."""
    file = directory / "domains" / domain / "runs"
    return file.read_text().split() if file.exists() else []


async def nothing_is_left(engine: EngineAt) -> None:
    async def are_gone() -> bool:
        return not await engine.existing()

    await eventually_true(are_gone)


async def test_a_job_outlives_a_killed_server_and_runs_once(server: RunningServer, tmp_path: Path) -> None:
    await create(server.stub, job_request("killed", task_request("only", "long")))
    await eventually(lambda: runs(tmp_path, "alice") and runs(tmp_path, "bob"))
    await server.kill()
    await server.start()
    status = await ended(server.stub, "killed")
    assert status.state == "Succeeded", status
    assert len(runs(tmp_path, "alice")) == len(runs(tmp_path, "bob")) == 1


async def test_a_deleted_job_leaves_nothing_on_the_engine(server: RunningServer, engine: EngineAt) -> None:
    await create(server.stub, job_request("gone", task_request("only", "for-ever")))
    await in_state(server.stub, "gone", "Running")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="gone"))
    await nothing_is_left(engine)


async def test_a_program_reports_its_progress_from_its_container(server: RunningServer) -> None:
    await create(server.stub, job_request("reporting", task_request("only", "report", ["alice"])))

    async def has_progress() -> bool:
        return (await status_of(server.stub, "reporting")).tasks[0].progress == 0.5

    await eventually_true(has_progress)


async def test_many_two_party_tasks_at_once_run_once_each(
    server: RunningServer, engine: EngineAt, tmp_path: Path
) -> None:
    jobs = ["many-1", "many-2"]
    for job in jobs:
        tasks = [task_request(f"t{number}", "short") for number in range(MANY // len(jobs))]
        await create(server.stub, job_request(job, *tasks, max_parallelism=len(tasks)))
    for job in jobs:
        status = await ended(server.stub, job, timeout_seconds=MANY_SECONDS)
        assert status.state == "Succeeded", [task for task in status.tasks if task.state != "Succeeded"][:3]
    for domain in ("alice", "bob"):
        assert len(runs(tmp_path, domain)) == len(set(runs(tmp_path, domain))) == MANY
    await nothing_is_left(engine)
