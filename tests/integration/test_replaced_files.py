"""Programs that put something else in the place of their party's files hang nobody and lead nobody elsewhere."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob.runtime.process.shim_client import ShimClient
from tests.support.images import write_image
from tests.support.polling import eventually
from tests.support.processes import pid_of
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

FILES = ("party.json", "exit.json", "stdout.log", "stderr.log")
OTHERS = {
    "fifo": "mkfifo",
    "link": f"ln -s {'{victim}'}",
    "directory": "mkdir",
    "removed": ":",
}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ShimClient]:
    client = ShimClient(tmp_path / "data")
    await client.connect()
    yield client
    await client.close()


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", FILES)
async def test_the_exit_is_told_and_what_a_link_names_is_left_alone(
    client: ShimClient, tmp_path: Path, name: str, other: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious" * 1000)
    directory = tmp_path / "party"
    directory.mkdir()
    script = (
        "while [ ! -e party.json ]; do :; done; "
        f"rm -f {name}; {OTHERS[other].format(victim=victim)} {name}; echo done > done; "
        "while [ ! -e go ]; do sleep 0.01; done; exit 5"
    )
    await client.start(
        "key",
        argv=["/bin/sh", "-c", script],
        env={"PATH": os.environ["PATH"]},
        cwd=directory,
        directory=directory,
        output_limit_bytes=4096,
    )
    await eventually((directory / "done").exists)
    shim = pid_of(client)

    assert [party.key for party in await client.list()] == ["key"]
    (directory / "go").touch()

    assert (await client.wait("key")).code == 5
    assert (await client.recover("key", directory)).state == "exited"
    assert pid_of(client) == shim
    assert victim.read_text() == "precious" * 1000
    if (name, other) == ("exit.json", "directory"):
        (directory / name).rmdir()
    if (name, other) == ("party.json", "directory"):
        (directory / name).rmdir()
    await eventually((directory / "exit.json").is_file)
    assert not (directory / "exit.json").is_symlink()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    replace = "cd $HOME/..; for f in party.json stdout.log stderr.log; do rm -f $f; mkfifo $f; done"
    write_image(images, "replacer", ["sh", "-c", f"{replace}; exit 3"])
    write_image(images, "linker", ["sh", "-c", "cd $HOME/..; ln -sf /etc/passwd stderr.log; exit 3"])
    write_image(images, "holder", ["sh", "-c", f"{replace}; echo ready > $KUSCIAJOB_DOMAIN_DIR/ready; sleep 600"])
    write_image(images, "quick", ["true"])
    async with running_server(
        tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains", stop_grace_seconds=0.3
    ) as server:
        yield server


async def test_a_server_tells_the_failure_and_its_logs_and_restarts(server: RunningServer, tmp_path: Path) -> None:
    await create(server.stub, job_request("holder", task_request("t", "holder", ["alice"])))
    await eventually((tmp_path / "domains" / "alice" / "ready").exists)
    for image in ("replacer", "linker"):
        await create(server.stub, job_request(image, task_request("t", image, ["bob"])))
        status = await ended(server.stub, image)
        assert status.state == "Failed"
        assert status.err_msg.endswith("exit code 3")
    await server.restart()
    await in_state(server.stub, "holder", "Running")

    await create(server.stub, job_request("after", task_request("t", "quick")))
    assert (await ended(server.stub, "after")).state == "Succeeded"
