"""A program that is started again ends with its party like any other, however the machine keeps it together."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob.runtime.process.shim_client import ShimClient
from tests.support.polling import eventually
from tests.support.processes import is_alive, pid_of
from tests.support.shims import MACHINES, groups_of, launch_shim, opened_client

# Each run leaves a daemon in a session of its own and fails; from the third on it stays.
SCRIPT = """
echo run >> "$1/runs"; run=$(grep -c . "$1/runs")
setsid sh -c 'echo $$ >> "$1/daemons"; exec sleep 600' sh "$1" &
while [ "$(grep -c . "$1/daemons" 2>/dev/null)" != "$run" ]; do sleep 0.01; done
[ "$run" -lt 3 ] && exit 1
echo ready > "$1/ready"; sleep 600
"""


@pytest.fixture(params=MACHINES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ShimClient]:
    data = tmp_path / "data"
    launch_shim(data, str(request.param))
    async with opened_client(data) as client:
        yield client
    assert groups_of(data) == []


@pytest.fixture
async def party(client: ShimClient, tmp_path: Path) -> Path:
    """The directory of a party in its third run."""
    directory = tmp_path / "party"
    directory.mkdir()
    await client.start(
        "party",
        argv=("/bin/sh", "-c", SCRIPT, "sh", str(directory)),
        env={"PATH": os.environ["PATH"]},
        cwd=directory,
        directory=directory,
        max_restarts=5,
        pause_seconds=0.01,
    )
    await eventually((directory / "ready").exists)
    return directory


def daemons(directory: Path) -> list[int]:
    return list(map(int, (directory / "daemons").read_text().split()))


async def test_nothing_of_an_earlier_run_is_left_and_a_stop_ends_the_present_one(
    client: ShimClient, party: Path
) -> None:
    *earlier, present = daemons(party)
    assert [pid for pid in earlier if is_alive(pid)] == []
    assert is_alive(present)

    await client.stop("party", grace_seconds=5)

    assert not is_alive(present)
    ended = await client.wait("party")
    assert (ended.signal, ended.stopped, ended.restarts) == (signal.SIGTERM, True, 2)
    assert (party / "runs").read_text() == "run\n" * 3


async def test_a_later_run_is_found_and_ended_when_the_shim_was_killed(client: ShimClient, party: Path) -> None:
    *_, present = daemons(party)
    leader = json.loads((party / "party.json").read_text())["pid"]
    os.kill(pid_of(client), signal.SIGKILL)

    ended = await client.wait("party")

    assert ended.lost
    await eventually(lambda: not is_alive(leader))
    await eventually(lambda: not is_alive(present))
    assert (party / "runs").read_text() == "run\n" * 3
