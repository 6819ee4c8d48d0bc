"""An upgrade while tasks run: the shim of an earlier version has them, and a server of today finds it."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.runtime.process.shim import PROTOCOL_VERSION
from kusciajob.runtime.process.shim_messages import Hello
from kusciajob.runtime.process.shim_probe import ask_shim
from tests.support.earlier import EarlierShim, unpack_data_directory
from tests.support.images import shell_image, write_images
from tests.support.polling import eventually, eventually_true
from tests.support.processes import is_alive
from tests.support.requests import create, ended, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

SHIMS = {"0c01e9e": "0c01e9e", "4dbc859": "46f408d", "46f408d": "46f408d"}
"""The shims of these commits, of versions 1, 2 and 2, each with a data directory of its time."""
RESTARTING = ("46f408d",)
RUN = "echo still here; while [ ! -e $1 ]; do sleep 0.02; done; exit $2"
ONCE_MORE = "[ -e again ] || { touch again; exit 4; }"
RUNS_ONCE = "runs once, whatever its restartPolicy: the running shim is of an earlier version"


class Upgraded:
    """A server of today whose job "running" has a party each of alice and bob, started by the earlier shim."""

    def __init__(self, server: RunningServer, place: Path, commit: str) -> None:
        self.server = server
        self._place = place
        self.can_restart = commit in RESTARTING

    @property
    def shim(self) -> Hello:
        """What the running shim says of itself."""
        hello = ask_shim(self.server.data_dir)
        assert hello
        return hello

    async def states(self) -> list[str]:
        """Of the parties that the earlier shim has started."""
        status = await status_of(self.server.stub, "running")
        return [party.state for party in status.tasks[0].parties]

    def let_end(self, party: str) -> None:
        (self._place / party).touch()

    async def run_again_on_failure(self, job_id: str) -> str:
        """The message of a job whose program succeeds when it is started a second time; "" for success."""
        await create(self.server.stub, job_request(job_id, task_request("only", "once-more", ["alice"])))
        return (await ended(self.server.stub, job_id)).err_msg


@pytest.fixture(params=SHIMS)
async def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upgraded]:
    unpack_data_directory(SHIMS[request.param], tmp_path)
    data = tmp_path / "data"
    write_images(data / "appimages", [shell_image("once-more", ONCE_MORE, restart_policy="OnFailure")])
    with closing(sqlite3.connect(data / "jobs.db")) as connection:
        (number,) = connection.execute("SELECT number FROM job WHERE job_id = 'running'").fetchone()
    shim = EarlierShim(request.param, tmp_path / "earlier", data)
    for index, (party, exit_code) in enumerate({"alice": "0", "bob": "3"}.items()):
        key = f"{number}/0.1/{index}"
        for name in ("stdout.log", "stderr.log", "party.json"):
            (data / "runs" / key / name).unlink()  # of the program that was killed when the directory was kept
        shim.start_party(key, RUN, str(tmp_path / party), exit_code)
    settings = {"protocol": "notls", "job_retention_days": 0, "restart_pause_seconds": 0}
    async with running_server(tmp_path, **settings) as server:
        yield Upgraded(server, tmp_path, request.param)


async def test_what_runs_goes_on_and_its_exit_codes_are_told(upgraded: Upgraded) -> None:
    assert await upgraded.states() == ["Running", "Running"]
    upgraded.let_end("alice")

    async def has_alice_ended() -> bool:
        return await upgraded.states() == ["Succeeded", "Running"]

    await eventually_true(has_alice_ended)
    await upgraded.server.restart()  # what has ended and what runs is found again
    upgraded.let_end("bob")

    status = await ended(upgraded.server.stub, "running")
    assert status.state == "Failed"
    assert "Party[bob]: exit code 3" in status.err_msg
    assert await upgraded.states() == ["Succeeded", "Failed"]


async def test_new_parties_are_started_by_the_earlier_shim_which_restarts_them_or_the_log_warns(
    upgraded: Upgraded,
) -> None:
    earlier = upgraded.shim
    assert earlier.version < PROTOCOL_VERSION

    assert (await ended(upgraded.server.stub, "pending")).state == "Succeeded"
    message = await upgraded.run_again_on_failure("again")

    assert ("exit code 4" in message) is not upgraded.can_restart
    assert await upgraded.states() == ["Running", "Running"]
    assert upgraded.shim == earlier
    await upgraded.server.stop()  # until then lines may be on their way to the log
    assert (RUNS_ONCE in upgraded.server.log.read_text()) is not upgraded.can_restart


async def test_the_earlier_shim_is_replaced_as_soon_as_it_runs_nothing(upgraded: Upgraded) -> None:
    earlier = upgraded.shim
    for party in ("alice", "bob"):
        upgraded.let_end(party)
    for job_id in ("running", "pending"):
        await ended(upgraded.server.stub, job_id)

    assert await upgraded.run_again_on_failure("again") == ""

    assert upgraded.shim.version == PROTOCOL_VERSION
    assert not is_alive(earlier.pid)


async def test_what_runs_can_be_stopped(upgraded: Upgraded) -> None:
    stop = await upgraded.server.stub.StopJob(pb.StopJobRequest(job_id="running"))
    assert stop.status.code == 0
    assert (await ended(upgraded.server.stub, "running")).state == "Failed"
    places = [str(path) for path in (upgraded.server.data_dir / "runs").glob("*/0.1/*")]
    await eventually(lambda: not any(_works_in(pid, places) for pid in upgraded.server.left_processes()))


def _works_in(pid: int, places: list[str]) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") in places
    except OSError:  # it has ended
        return False
