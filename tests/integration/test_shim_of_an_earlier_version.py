"""After an upgrade the shim that runs is of the earlier version: its programs go on, an idle one is replaced."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob.runtime.process.shim_client import ShimClient, ShimError
from tests.support.earlier import connected
from tests.support.polling import eventually
from tests.support.processes import is_alive, pid_of
from tests.support.program import assert_refused, kusciajob

# Its `hello` said nothing of restarts, and it took no notice of fields that came later.
EARLIER = """
import sys
from kusciajob.runtime.process.shim import __main__, service

version = int(sys.argv.pop())

class Service(service.Service):
    def _serve(self, client, request):
        for name in ("max_restarts", "pause_seconds", "notice"):
            request.pop(name, None)
        answer = super()._serve(client, request)
        if request["op"] == "hello":
            answer["version"] = version
        return answer

__main__.Service = Service
__main__.main()
"""
WAIT = 'while [ ! -e "$1/go" ]; do sleep 0.02; done'
ENV = {"PATH": os.environ["PATH"]}


def launch_earlier(directory: Path, version: int) -> None:
    directory.mkdir()
    with (directory / "shim.log").open("ab") as log:
        subprocess.run([sys.executable, "-c", EARLIER, str(directory), str(version)], check=True, stderr=log)


def start_as_earlier_server(data: Path, directory: Path) -> None:
    """A party "running", which ends when there is a file `go` beside its directory."""
    directory.mkdir()
    request = {"id": 1, "op": "start", "key": "running", "argv": ["/bin/sh", "-c", WAIT, "sh", str(directory.parent)]}
    request |= {"env": ENV, "cwd": str(directory), "dir": str(directory)}
    with connected(data) as stream:
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        assert b'"state": "running"' in stream.readline()


async def start(client: ShimClient, directory: Path, *, max_restarts: int) -> None:
    directory.mkdir()
    argv = ("/bin/sh", "-c", "echo run; exit 5")
    await client.start(
        directory.name, argv=argv, env=ENV, cwd=directory, directory=directory, max_restarts=max_restarts
    )


@pytest.fixture
async def client(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ShimClient]:
    """Of a server that is about to find a shim of version 2 as it was at first, or of the version asked for."""
    data = tmp_path / "data"
    launch_earlier(data, getattr(request, "param", 2))
    client = ShimClient(data)
    yield client
    (tmp_path / "go").touch()
    pid = pid_of(client)
    await client.close()
    await eventually(lambda: not is_alive(pid))


async def test_its_programs_go_on_and_what_should_be_restarted_runs_once_with_a_warning(
    client: ShimClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start_as_earlier_server(tmp_path / "data", tmp_path / "running")
    await client.connect()
    assert (await client.recover("running", tmp_path / "running")).state == "running"
    earlier = pid_of(client)

    await start(client, tmp_path / "failing", max_restarts=3)

    ended = await client.wait("failing")
    assert (ended.code, ended.restarts) == (5, 0)
    assert (tmp_path / "failing" / "stdout.log").read_text() == "run\n"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("party failing runs once, whatever its restartPolicy: the running shim is of an earlier")

    assert pid_of(client) == earlier
    (tmp_path / "go").touch()
    assert (await client.wait("running")).code == 0


async def test_it_is_replaced_before_a_start_when_nothing_runs(
    client: ShimClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start_as_earlier_server(tmp_path / "data", tmp_path / "running")
    await client.connect()
    await client.recover("running", tmp_path / "running")
    earlier = pid_of(client)
    (tmp_path / "go").touch()
    assert (await client.wait("running")).code == 0

    names = ("failing", "failing.1", "failing.2")  # as replicas
    await asyncio.gather(*(start(client, tmp_path / name, max_restarts=2) for name in names))

    for name in names:
        ended = await client.wait(name)
        assert (ended.code, ended.restarts) == (5, 2)
    assert not is_alive(earlier)
    assert "runs once" not in caplog.text


@pytest.mark.parametrize("client", [1], indirect=True)
async def test_one_that_knows_no_users_starts_nothing_as_another_while_it_is_busy(
    client: ShimClient, tmp_path: Path
) -> None:
    start_as_earlier_server(tmp_path / "data", tmp_path / "running")
    await client.connect()
    with pytest.raises(ShimError, match="starts programs only as its own user: it is replaced when those that it runs"):
        await client.start("p", argv=("/bin/true",), env={}, cwd=tmp_path, directory=tmp_path / "p", user=(1, 1))
    assert (await client.recover("running", tmp_path / "running")).state == "running"


@pytest.mark.parametrize("client", [99], indirect=True)
async def test_one_of_a_later_version_is_left_alone_with_both_versions_told(client: ShimClient, tmp_path: Path) -> None:
    start_as_earlier_server(tmp_path / "data", tmp_path / "running")
    with pytest.raises(ShimError, match="speaks version 99, this program knows versions up to 3: run the newer"):
        await client.connect()
    assert not (tmp_path / "running" / "exit.json").exists()
    client.shim_pid = json.loads((tmp_path / "running" / "party.json").read_text())["pid"]


async def test_a_server_does_not_start_beside_one_of_a_later_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    launch_earlier(data, 99)
    start_as_earlier_server(data, tmp_path / "running")

    assert_refused(
        await asyncio.to_thread(kusciajob, "serve", "--data-dir", data, "--grpc-port", 0, "--http-port", -1),
        f"{data}/shim.sock has version 99, this program knows versions up to 3: run the newer program",
    )

    assert not (data / "jobs.db").exists()
    pid = json.loads((tmp_path / "running" / "party.json").read_text())["pid"]
    assert is_alive(pid)
    (tmp_path / "go").touch()
    await eventually(lambda: not is_alive(pid))


@pytest.mark.parametrize("client", [3], indirect=True)
async def test_an_end_that_a_later_shim_has_recorded_is_lost_to_this_one_and_kept(
    client: ShimClient, tmp_path: Path
) -> None:
    directory = tmp_path / "ended"
    directory.mkdir()
    record = json.dumps({"version": 99, "key": "ended", "outcome": ["of", "another", "form"]})
    (directory / "exit.json").write_text(record)
    await client.connect()

    state = await client.recover("ended", directory)

    assert state.state == "lost"
    assert state.exit is not None
    assert state.exit.cause.startswith("lost: its exit.json has version 99, this program knows versions up to 3:")
    assert (directory / "exit.json").read_text() == record
