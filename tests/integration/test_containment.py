"""Whatever a program starts ends with its party and with no other, however the machine keeps it together."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob.operations.doctor import examine
from kusciajob.runtime.process.shim_client import ShimClient
from kusciajob.runtime.process.shim_probe import ask_shim
from tests.support.polling import eventually
from tests.support.processes import children_of, is_alive, pid_of
from tests.support.shims import MACHINES, groups_of, launch_shim, opened_client

pytestmark = pytest.mark.hostile

BOMB_SECONDS = 20
FOREVER = "while :; do sleep 0.05; done"
# Leaves session, environment, group and parent; its first parents live for a moment, or not at all.
HIDING = """
import os, sys, time
directory, marker, is_quick = sys.argv[1:]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        environment = {"KUSCIAJOB_PARTY": marker} if marker else {}
        program = ["/bin/sh", "-c", f"echo $$ > {directory}/daemon.tmp; mv {directory}/daemon.tmp {directory}/daemon; "
                   "while :; do sleep 0.05; done"]
        os.execve(program[0], program, {**environment, "PATH": os.environ["PATH"]})
    time.sleep(0 if is_quick == "1" else 2)
    os._exit(0)
os.wait()
print("left", flush=True)
time.sleep(600)
"""


class Party:
    def __init__(self, parent: Path, key: str) -> None:
        self.key = key
        self.directory = parent / key
        self.directory.mkdir()

    async def start(self, client: ShimClient, *argv: str) -> None:
        env = {"PATH": os.environ["PATH"]}
        await client.start(self.key, argv=argv, env=env, cwd=self.directory, directory=self.directory)

    async def start_hiding(self, client: ShimClient, *, marker: str = "", is_quick: bool = False) -> int:
        """It leaves a daemon; its process id, once the daemon's parents are gone."""
        program = [sys.executable, "-I", "-S", "-c", HIDING, str(self.directory), marker, str(int(is_quick))]
        await self.start(client, *program)
        await eventually((self.directory / "stdout.log").read_text)
        await eventually((self.directory / "daemon").exists)
        daemon = int((self.directory / "daemon").read_text())
        await eventually(lambda: daemon in children_of(pid_of(client)))
        return daemon


@pytest.fixture(params=MACHINES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(tmp_path: Path, kind: str) -> AsyncIterator[ShimClient]:
    data = tmp_path / "data"
    launch_shim(data, kind)
    async with opened_client(data) as client:
        hello = ask_shim(data)
        assert hello is not None
        assert hello.containment == kind
        yield client
    assert groups_of(data) == []
    assert not (data / "shim.cgroups").exists()


async def test_a_daemon_that_left_session_and_environment_ends_with_its_party(
    client: ShimClient, tmp_path: Path
) -> None:
    party, other = Party(tmp_path, "party"), Party(tmp_path, "other")
    await other.start(client, "/bin/sh", "-c", FOREVER)
    daemon = await party.start_hiding(client)

    await client.stop(party.key, grace_seconds=5)

    assert not is_alive(daemon)
    assert [running.key for running in await client.list()] == [other.key]


async def test_who_takes_anothers_marker_neither_lives_longer_nor_harms_it(client: ShimClient, tmp_path: Path) -> None:
    victim, thief = Party(tmp_path, "victim"), Party(tmp_path, "thief")
    own = await victim.start_hiding(client)
    daemon = await thief.start_hiding(client, marker=f"victim@{victim.directory}")

    await client.stop(thief.key, grace_seconds=5)
    assert not is_alive(daemon), "it was spared for its marker"
    assert is_alive(own), "it was taken for the other's"

    await client.stop(victim.key, grace_seconds=5)
    assert not is_alive(own)


async def test_a_daemon_that_was_faster_than_any_look_ends_at_the_latest_with_all_that_ran(
    client: ShimClient, kind: str, tmp_path: Path
) -> None:
    party, other, later = (Party(tmp_path, name) for name in ("party", "other", "later"))
    await other.start(client, "/bin/sh", "-c", FOREVER)
    daemon = await party.start_hiding(client, is_quick=True)
    await later.start(client, "/bin/sh", "-c", FOREVER)

    await client.stop(party.key, grace_seconds=5)
    if kind.startswith("cgroups"):
        assert not is_alive(daemon)
    await client.stop(other.key, grace_seconds=5)

    assert not is_alive(daemon)
    assert [running.key for running in await client.list()] == [later.key]


async def test_a_bomb_of_forks_ends_with_its_party(client: ShimClient, tmp_path: Path) -> None:
    party = Party(tmp_path, "bomb")
    # Who lives holds the lock. It ends by itself should nobody end it: a test that is broken off must harm no other.
    source = (
        "import fcntl, os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"fcntl.flock(os.open({str(tmp_path / 'lock')!r}, os.O_WRONLY | os.O_CREAT), fcntl.LOCK_EX)\n"
        "print('ready', flush=True)\n"
        "for _ in range(4): os.fork()\n"
        f"end = time.monotonic() + {BOMB_SECONDS}\n"
        "while time.monotonic() < end:\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.setsid()\n"
        "    time.sleep(0.02)\n"  # one that is faster uses up all process ids of the machine
    )
    await party.start(client, sys.executable, "-I", "-S", "-c", source)
    await eventually((party.directory / "stdout.log").read_text)

    await client.stop(party.key, grace_seconds=0.1)

    assert (await client.wait(party.key)).code in (0, None)
    assert await client.list() == []
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_what_a_killed_shim_leaves_is_ended_by_the_next(client: ShimClient, kind: str, tmp_path: Path) -> None:
    party = Party(tmp_path, "party")
    daemon = await party.start_hiding(client, marker="" if kind.startswith("cgroups") else f"party@{tmp_path}/party")

    os.kill(pid_of(client), signal.SIGKILL)

    assert (await client.wait(party.key)).lost
    assert not is_alive(daemon)


async def test_a_forged_exit_saves_nobody(client: ShimClient, kind: str, tmp_path: Path) -> None:
    if not kind.startswith("cgroups"):
        pytest.skip("without cgroups a party is what its files say")
    party = Party(tmp_path, "party")
    daemon = await party.start_hiding(client)
    (party.directory / "exit.json").write_text(
        '{"key": "party", "code": 0, "signal": null, "started_at": 1, "ended_at": 2, "stopped": false, "lost": false}'
    )

    os.kill(pid_of(client), signal.SIGKILL)

    assert (await client.wait(party.key)).lost
    assert not is_alive(daemon)


async def test_a_program_that_cannot_be_started_leaves_no_group(client: ShimClient, tmp_path: Path) -> None:
    party = Party(tmp_path, "party")
    with pytest.raises(Exception, match="does not exist"):
        await party.start(client, "/no/such/program")

    assert [path.name for path in groups_of(tmp_path / "data") if path.name.startswith("party")] == []


async def test_the_shims_record_of_groups_leads_nowhere_else(client: ShimClient, kind: str, tmp_path: Path) -> None:
    if not kind.startswith("cgroups"):
        pytest.skip("there are no groups")
    party = Party(tmp_path, "party")
    daemon = await party.start_hiding(client)
    data = tmp_path / "data"
    record = data / "shim.cgroups"
    name = Path(record.read_text().strip()).name
    with subprocess.Popen(["/bin/sleep", "600"]) as bystander:
        decoy = tmp_path / name / "party-party"
        decoy.mkdir(parents=True)
        (decoy / "cgroup.procs").write_text(f"{bystander.pid}\n")
        os.mkfifo(decoy / "freezer.state")
        os.mkfifo(decoy / "cgroup.kill")
        record.write_text(f"{tmp_path}/{name}\n{record.read_text()}")

        os.kill(pid_of(client), signal.SIGKILL)

        assert (await client.wait(party.key)).lost
        assert not is_alive(daemon)
        assert is_alive(bystander.pid)
        bystander.kill()


async def test_the_doctor_tells_what_keeps_parties_together_and_a_shim_that_hangs(
    client: ShimClient, kind: str, tmp_path: Path
) -> None:
    def told() -> list[str]:
        return [str(finding.text) for finding in examine(tmp_path / "data") if finding.text.startswith("shim")]

    shim = pid_of(client)
    assert told() == [f"shim: process {shim} answers, a party is kept together by {kind}"]
    os.kill(shim, signal.SIGSTOP)
    (text,) = told()
    assert text.startswith("shim: it does not answer")
    os.kill(shim, signal.SIGCONT)
    await client.list()
