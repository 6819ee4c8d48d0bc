"""What is seen of a party's replicas: their output before they start and within its limit, progress, one warning."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from tests.support.images import shell_image, write_images
from tests.support.polling import PATIENCE_SECONDS, eventually
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

GO = 'while [ ! -e "$KUSCIAJOB_DOMAIN_DIR/go" ]; do sleep 0.02; done; '
PROGRESS = (
    "import os, urllib.request as r; "
    "r.urlopen(os.environ['TASK_PROGRESS_URL'], open('share', 'rb').read(), timeout=20).read()"
)
SCRIPTS = {
    "wait": GO + "echo replica $(cat index)",
    # Again and again, as programs do: what is told before the task is Running counts for nothing.
    "progress": 'echo "{\\"progress\\": 0.$(($(cat index) + 2))}" > share; '
    + GO.replace("sleep 0.02", f'python3 -c "{PROGRESS}"; sleep 0.1'),
    "loud": "echo first; head -c 4000000 /dev/zero | tr '\\0' x; echo; " + GO + "echo last",
    "gap": "cat unknown",
}


def image(name: str, script: str) -> dict[str, Any]:
    configs = {
        "index": "{{{.TASK_CLUSTER_DEFINE.selfEndpointIdx}}}",
        "unknown": "{{.NOWHERE}}" if name == "gap" else "",
    }
    return shell_image(name, script, configs, replicas=2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("seen")
    write_images(directory / "images", [image(name, script) for name, script in SCRIPTS.items()])
    async with running_server(
        directory,
        app_image_dir=directory / "images",
        domains_dir=directory / "domains",
        output_limit_mib=1,
        max_running_parties=1,
    ) as server:
        yield server


def go(server: RunningServer, domain: str) -> None:
    (server.data_dir.parent / "domains" / domain / "go").touch()


def query(server: RunningServer, task_id: str, replica: int, *, follow: bool = False) -> Any:
    request = log_pb2.QueryLogRequest(task_id=task_id, replica_idx=replica, follow=follow)
    return log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request)


async def test_a_replica_is_followed_from_before_its_start_and_replicas_take_one_place(server: RunningServer) -> None:
    await create(server.stub, job_request("before", task_request("t", "wait", ["first"])))
    await in_state(server.stub, "before", "Running")
    # The only place is taken, so that this one waits; that one has it with two programs.
    await create(server.stub, job_request("behind", task_request("t", "wait", ["second"])))
    waiting = await in_state(server.stub, "behind", "Pending")
    call = query(server, waiting.tasks[0].task_id, 1, follow=True)
    beyond = [answer async for answer in query(server, waiting.tasks[0].task_id, 2)]
    assert "replica_idx 2 is out of range: the party runs 2" in beyond[0].status.message
    go(server, "first")
    await in_state(server.stub, "behind", "Running")
    await eventually((server.data_dir.parent / "domains" / "second").exists)
    go(server, "second")
    answers = [answer async for answer in call]
    assert [answer.status.message for answer in answers if answer.status.code] == []
    assert "".join(answer.log for answer in answers) == "replica 1\n"
    assert (await ended(server.stub, "behind")).state == "Succeeded"


async def test_progress_is_that_of_the_replica_that_is_farthest(server: RunningServer) -> None:
    await create(server.stub, job_request("progress", task_request("t", "progress", ["third"])))

    await in_state(server.stub, "progress", "Running")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (status := await status_of(server.stub, "progress")).tasks[0].progress < 0.29:
            pass
    assert status.tasks[0].progress == pytest.approx(0.3)
    go(server, "third")
    assert (await ended(server.stub, "progress")).tasks[0].progress == 1


async def test_the_limit_of_output_is_for_each_replica_and_a_deleted_job_leaves_none(server: RunningServer) -> None:
    await create(server.stub, job_request("loud", task_request("t", "loud", ["fourth"])))
    await in_state(server.stub, "loud", "Running")
    runs = server.data_dir / "runs"

    def outputs() -> list[Path]:
        return [file for file in runs.glob("*/*/*/stdout.log") if file.stat().st_size > 4_000_000]

    await eventually(lambda: len(outputs()) == 2)
    await eventually(lambda: all(file.stat().st_blocks * 512 < 2 << 20 for file in outputs()))
    go(server, "fourth")
    status = await ended(server.stub, "loud")
    for replica in range(2):
        text = "".join([answer.log async for answer in query(server, status.tasks[0].task_id, replica)])
        assert re.match(r"\n\[\d+ bytes of output dropped: output_limit_mib\]\n", text)
        assert text.endswith("x\nlast\n")
        assert len(text) <= (1 << 20) + 100
    (attempt,) = {file.parent.parent for file in outputs()}
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="loud"))
    await eventually(lambda: not attempt.parent.exists())


async def test_the_log_warns_once_a_party_and_each_replica_is_told(server: RunningServer) -> None:
    await create(server.stub, job_request("gap", task_request("t", "gap", ["fifth"])))
    status = await ended(server.stub, "gap")
    assert (await server.logged("nothing is known of {{.NOWHERE}}")).count("nothing is known of {{.NOWHERE}}") == 1
    for replica in range(2):
        text = "".join([answer.log async for answer in query(server, status.tasks[0].task_id, replica)])
        assert text.count("nothing is known of {{.NOWHERE}} (unknown, line 1)") == 1


async def test_replicas_are_lost_with_their_shim_and_none_is_left(server: RunningServer) -> None:
    await create(server.stub, job_request("lost", task_request("t", "wait", ["sixth"])))
    await in_state(server.stub, "lost", "Running")
    shim = server.shim_pid
    os.kill(shim, signal.SIGKILL)
    status = await ended(server.stub, "lost")
    assert re.search(r"Party\[sixth\]: replica \d: lost: its process was found dead", status.err_msg)
    await eventually(lambda: len(server.left_processes()) <= 1)  # the next shim
