"""The server is killed; nothing that it acknowledged is lost, nothing runs twice, nothing is left."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.images import python_program, write_image
from tests.support.polling import eventually
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

# Leaves a line per run, then works for as long as its input says.
MARK = python_program(
    "import json, os, time\n"
    "task = json.load(open('conf/task.json'))\n"
    "with open(os.environ['KUSCIAJOB_DOMAIN_DIR'] + '/runs', 'a') as marks:\n"
    "    marks.write(task['task_id'] + '\\n')\n"
    "time.sleep(float(task['input'] or 0))\n"
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    write_image(images, "mark", MARK, ports=["main"])
    write_image(images, "fail", ["sh", "-c", "sleep 0.3; exit 5"])
    write_image(images, "sleep", ["sleep", "600"])
    async with running_server(
        tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains", stop_grace_seconds=0.5
    ) as server:
        yield server


def runs(tmp_path: Path, domain: str) -> list[str]:
    file = tmp_path / "domains" / domain / "runs"
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("moment", ["first", "second", "third"])
async def test_a_job_goes_on_where_the_killed_server_left_it(
    server: RunningServer, tmp_path: Path, moment: str
) -> None:
    tasks = [
        task_request("first", "mark", task_input_config="0.5"),
        task_request("second", "mark", task_input_config="0.5", dependencies=["first"]),
        task_request("third", "mark", task_input_config="0.5", dependencies=["second"]),
    ]
    await create(server.stub, job_request("resumed", *tasks))
    index = ["first", "second", "third"].index(moment)
    await eventually(lambda: len(runs(tmp_path, "alice")) > index and len(runs(tmp_path, "bob")) > index)
    await server.kill()
    await server.restart()

    first_event = await server.stub.WatchJob(pb.WatchJobRequest()).read()
    assert isinstance(first_event, pb.WatchJobEventResponse)
    assert (first_event.type, first_event.object.job_id) == (pb.ADDED, "resumed")

    status = await ended(server.stub, "resumed")
    assert status.state == "Succeeded", status.err_msg
    task_ids = [task.task_id for task in status.tasks]
    assert runs(tmp_path, "alice") == task_ids
    assert runs(tmp_path, "bob") == task_ids
    await server.stop()
    await eventually(lambda: not server.left_processes())


async def test_a_party_that_ended_while_the_server_was_dead_is_judged_by_its_exit_code(
    server: RunningServer,
) -> None:
    await create(server.stub, job_request("down", task_request("t", "fail", ["alice"])))
    await in_state(server.stub, "down", "Running")
    await server.kill()
    await eventually(lambda: not server.left_processes())
    await server.restart()
    status = await ended(server.stub, "down")
    assert status.err_msg == "Task[t]-Party[alice]: exit code 5"


async def test_what_is_left_of_a_deleted_job_is_removed_after_a_crash(server: RunningServer) -> None:
    await create(server.stub, job_request("stray", task_request("t", "sleep")))
    await in_state(server.stub, "stray", "Running")
    server.process.send_signal(signal.SIGSTOP)  # so that it cannot remove anything after the delete is stored
    delete = asyncio.ensure_future(server.stub.DeleteJob(pb.DeleteJobRequest(job_id="stray")))
    server.process.send_signal(signal.SIGCONT)
    response = await delete
    await server.kill()
    assert response.status.code == 0
    await server.restart()
    await eventually(lambda: not list((server.data_dir / "runs").iterdir()))
    assert len(server.left_processes()) <= 1
    unknown = await server.stub.QueryJob(pb.QueryJobRequest(job_id="stray"))
    assert unknown.status.code == 11202


async def test_a_killed_shim_fails_its_tasks_with_the_reason_and_the_server_goes_on(server: RunningServer) -> None:
    await create(server.stub, job_request("orphan", task_request("t", "sleep", ["alice"])))
    await in_state(server.stub, "orphan", "Running")
    os.kill(server.shim_pid, signal.SIGKILL)
    status = await ended(server.stub, "orphan")
    assert status.state == "Failed"
    assert "lost" in status.err_msg
    await create(server.stub, job_request("after", task_request("t", "mark", ["alice"])))
    assert (await ended(server.stub, "after")).state == "Succeeded"
    assert len(server.left_processes()) <= 1


async def test_acknowledged_creates_and_deletes_survive_a_kill(server: RunningServer) -> None:
    kept = [f"kept-{number}" for number in range(50)]
    gone = [f"gone-{number}" for number in range(50)]
    slow = task_request("t", "sleep", ["alice"])
    first = task_request("never", "mark", ["alice"], dependencies=["t"])
    await asyncio.gather(*(create(server.stub, job_request(job_id, slow, first)) for job_id in kept[:2] + gone[:2]))
    await asyncio.gather(
        *(server.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id)) for job_id in gone[:2]),
        *(create(server.stub, job_request(job_id, task_request("t", "mark", ["alice"]))) for job_id in kept[2:]),
    )
    await server.kill()
    await server.restart()
    for job_id in kept:
        await status_of(server.stub, job_id)
    for job_id in gone[:2]:
        assert (await server.stub.QueryJob(pb.QueryJobRequest(job_id=job_id))).status.code == 11202


async def test_stopping_in_order_leaves_tasks_running_and_finds_them_again(
    server: RunningServer, tmp_path: Path
) -> None:
    await create(server.stub, job_request("calm", task_request("t", "mark", ["alice"], task_input_config="1")))
    await in_state(server.stub, "calm", "Running")
    stream = server.stub.WatchJob(pb.WatchJobRequest())
    await stream.read()
    assert await server.stop() == 0
    await server.restart()
    assert (await ended(server.stub, "calm")).state == "Succeeded"
    assert len(runs(tmp_path, "alice")) == 1
