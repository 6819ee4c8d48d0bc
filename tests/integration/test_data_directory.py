"""The server's data directory: no other directory is touched, and nobody else can read what is in it."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kusciajob.api.port_file import read_port, write_port
from kusciajob.operations import datadir
from tests.support.images import write_image
from tests.support.polling import eventually
from tests.support.program import assert_refused, job_file, kusciajob
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import running_server

pytestmark = pytest.mark.hostile


def refused(directory: Path, *texts: str) -> None:
    """The server does not come up in this directory and says these."""
    assert_refused(
        kusciajob("serve", "--grpc-port", 0, "--http-port", -1, "--runtime", "simulated", "--data-dir", directory),
        *texts,
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_an_existing_directory_keeps_its_mode_and_its_database_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    images = tmp_path / "images"
    write_image(images, "quick", ["sh", "-c", "umask; touch $KUSCIAJOB_DOMAIN_DIR/result"])

    async with running_server(tmp_path, app_image_dir=images) as server:
        await create(server.stub, job_request("job", task_request("t", "quick", ["alice"])))
        assert (await ended(server.stub, "job")).state == "Succeeded"
        assert mode_of(data) == 0o755
        for path in data.rglob("*"):
            assert mode_of(path) & 0o077 == 0 or path.is_symlink(), f"{path} has mode {mode_of(path):o}"
        assert {"jobs.db", "jobs.db-wal", "jobs.db-shm"} <= {path.name for path in data.iterdir()}


async def test_the_database_of_an_earlier_version_becomes_private(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("job"))
        await server.kill()
        files = list((tmp_path / "data").glob("jobs.db*"))
        assert len(files) == 3
        for file in files:
            file.chmod(0o644)

        await server.restart()

        assert {mode_of(file) for file in files} == {0o600}
        assert (await ended(server.stub, "job")).state == "Succeeded"


def test_a_directory_of_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (tmp_path / "letters").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    tmp_path.chmod(0o777)

    refused(
        tmp_path,
        f"{tmp_path} is not a server's data directory: it is not empty and holds 'letters' and 1 more",
        "--data-dir",
    )

    assert mode_of(tmp_path) == 0o777
    assert sorted(os.listdir(tmp_path)) == ["letters", "notes.txt"]
    run = kusciajob(
        "run", "--runtime", "simulated", "--data-dir", tmp_path, "-", stdin=job_file(other, "a").read_text()
    )
    assert_refused(run, "is not a server's data directory")
    assert sorted(os.listdir(tmp_path)) == ["letters", "notes.txt"]


async def test_what_is_prepared_before_the_first_start_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("appimages", "domains", "lost+found"):
        (tmp_path / "data" / name).mkdir(parents=True)

    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("job"))


def as_link(file: Path, victim: Path) -> None:
    file.symlink_to(victim)


def as_hard_link(file: Path, victim: Path) -> None:
    os.link(victim, file)


def as_fifo(file: Path, _: Path) -> None:
    os.mkfifo(file)


def as_directory(file: Path, _: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize("put", [as_link, as_hard_link, as_fifo, as_directory])
def test_a_lock_that_is_none_is_refused_and_what_it_names_is_left_alone(
    tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious " * 10)
    data = tmp_path / "data"
    data.mkdir()
    put(data / "lock", victim)

    refused(data, f"{data}/lock", "remove it")

    assert victim.read_text() == "precious " * 10


async def test_a_port_that_cannot_be_is_chosen_anew_and_told_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "progress.port").write_text("99999")

    async with running_server(tmp_path, runtime="simulated") as server:
        port = read_port(data / "progress.port")
        assert port > 0
        assert "'99999', a new port is chosen: it must be from 1024 to 65535" in server.log.read_text()
        await server.restart()
        assert read_port(data / "progress.port") == port


@pytest.mark.parametrize("content", ["65536", "-5", "0", "80", "²", "1e4", "2000" * 100, "", "\0"])
def test_what_is_no_port_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "port").write_text(content)
    assert read_port(tmp_path / "port") == 0


@pytest.mark.parametrize("put", [as_link, as_fifo, as_directory])
async def test_what_stands_in_the_place_of_the_ports_file_is_told_and_followed_nowhere(
    tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("2000")
    data = tmp_path / "data"
    data.mkdir()
    put(data / "progress.port", victim)

    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("job"))
        assert "progress.port cannot be read, a new port is chosen" in server.log.read_text()
    assert victim.read_text() == "2000"


def test_a_port_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "port"
    assert read_port(file) == 0
    write_port(file, 20000)
    assert read_port(file) == 20000
    assert os.listdir(tmp_path) == ["port"]


@pytest.mark.parametrize("name", ["shim.lock", "shim.log"])
@pytest.mark.parametrize("put", [as_link, as_fifo])
async def test_what_stands_in_the_place_of_the_shims_files_is_replaced(
    tmp_path: Path, name: str, put: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    images = tmp_path / "images"
    write_image(images, "quick", ["true"])
    data = tmp_path / "data"
    data.mkdir()
    put(data / name, victim)

    async with running_server(tmp_path, app_image_dir=images) as server:
        await create(server.stub, job_request("job", task_request("t", "quick")))
        assert (await ended(server.stub, "job")).state == "Succeeded"

    assert victim.read_text() == "precious"
    assert stat.S_ISREG((data / name).lstat().st_mode)


async def test_what_a_server_leaves_beside_its_database_is_known_as_its_own(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_image(images, "quick", ["true"])
    async with running_server(tmp_path, app_image_dir=images) as server:
        await create(server.stub, job_request("job", task_request("t", "quick", ["alice"])))
        assert (await ended(server.stub, "job")).state == "Succeeded"
        head = server.data_dir / "jobs.head"
        await eventually(lambda: head.exists() and json.loads(head.read_text())["jobs"] == 1)
        await server.kill()
        for file in server.data_dir.glob("jobs.db*"):
            file.unlink()
        assert {path.name for path in server.data_dir.iterdir()} <= datadir.OWN
        await server.restart()
        assert "were LOST from" in server.log.read_text()
