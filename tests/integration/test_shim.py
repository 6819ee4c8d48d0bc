"""The shim as the server uses it: a real daemon, real processes, its files."""
# pytest passes arguments by name, and nothing else waits for these event loops.
# ruff: noqa: PLR0917

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kusciajob.runtime.process import shim
from kusciajob.runtime.process.shim.records import MAX_LOG_BYTES, log
from kusciajob.runtime.process.shim_client import PartyExit, PartyState, ShimClient, ShimError, ShimUnavailable
from tests.support.polling import PATIENCE_SECONDS, eventually
from tests.support.processes import children_of, is_alive, pid_of, state_of
from tests.support.shims import opened_client

ENV = {"PATH": os.environ["PATH"]}
PYTHON = [sys.executable, "-I", "-S", "-c"]
GLIBC_SIGNALS = 1 << 31 | 1 << 32  # 32 and 33 belong to the C library, whose posix_spawn leaves them ignored
FOREVER = "while :; do sleep 0.05; done"
# Leaves its process group, its session and its parent, and says where it is.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(300)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


class Party:
    """One party to start: a key of its own and its directory."""

    def __init__(self, parent: Path) -> None:
        self.key = uuid.uuid4().hex
        self.directory = parent / self.key
        self.directory.mkdir()

    async def start(
        self,
        client: ShimClient,
        *argv: str,
        env: dict[str, str] = ENV,
        cwd: Path | None = None,
        output_limit_bytes: int | None = None,
    ) -> PartyState:
        return await client.start(
            self.key,
            argv=argv,
            env=env,
            cwd=cwd or self.directory,
            directory=self.directory,
            output_limit_bytes=output_limit_bytes,
        )

    async def start_shell(self, client: ShimClient, script: str) -> PartyState:
        return await self.start(client, "/bin/sh", "-c", script)

    async def run(self, client: ShimClient, *argv: str, env: dict[str, str] = ENV) -> PartyExit:
        await self.start(client, *argv, env=env)
        return await client.wait(self.key)

    def stdout(self) -> str:
        return (self.directory / "stdout.log").read_text()

    def recorded_exit(self) -> dict[str, object]:
        record = json.loads((self.directory / "exit.json").read_text())
        assert isinstance(record, dict)
        return record

    def processes(self) -> list[int]:
        """What lives with this party's marker in its environment."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._owns(pid)]

    def _owns(self, pid: int) -> bool:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"KUSCIAJOB_PARTY={self.key}@{self.directory}".encode() in environ.split(b"\0")


def open_raw(directory: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    fd = os.open(directory, os.O_RDONLY)
    try:
        sock.connect(f"/proc/self/fd/{fd}/shim.sock")
    finally:
        os.close(fd)
    return sock


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def client(data: Path) -> AsyncIterator[ShimClient]:
    async with opened_client(data) as client:
        yield client


@pytest.fixture
def party(tmp_path: Path) -> Party:
    return Party(tmp_path)


# Exits


@pytest.mark.parametrize("code", [0, 1, 77, 255])
async def test_exit_code_is_told_and_recorded(client: ShimClient, party: Party, code: int) -> None:
    ended = await party.run(client, "/bin/sh", "-c", f"echo out; echo err >&2; exit {code}")

    assert (ended.code, ended.signal, ended.stopped, ended.lost) == (code, None, False, False)
    assert ended.started_at <= ended.ended_at <= ended.started_at + 30
    assert msgspec.convert(party.recorded_exit(), PartyExit) == ended
    assert party.stdout() == "out\n"
    assert (party.directory / "stderr.log").read_text() == "err\n"
    assert stat.S_IMODE((party.directory / "stdout.log").stat().st_mode) == 0o600


async def test_signal_is_told_apart_from_code(client: ShimClient, party: Party) -> None:
    ended = await party.run(client, "/bin/sh", "-c", "kill -SEGV $$")

    assert (ended.code, ended.signal, ended.stopped) == (None, signal.SIGSEGV, False)


async def test_program_gets_exactly_its_environment_and_arguments(client: ShimClient, party: Party) -> None:
    show = "import os, sys, json; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), os.getsid(0)]))"
    env = {"A": "x y\n", "Ä": "$HOME"}
    state = await party.start(client, *PYTHON, show, "a b", "", "$(id)", env=env)
    await client.wait(party.key)

    args, seen, cwd, session = json.loads(party.stdout())
    seen.pop("LC_CTYPE", None)  # Python's own, for a C locale
    assert args == ["a b", "", "$(id)"]
    assert seen == {**env, "KUSCIAJOB_PARTY": f"{party.key}@{party.directory}"}
    assert cwd == str(party.directory)
    assert session == state.pid


async def test_program_inherits_nothing_of_the_shim(data: Path, party: Party) -> None:
    class_before = os.sched_getscheduler(0)
    mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    client = ShimClient(data)
    try:
        await client.connect()
        fds = "[fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')]"
        await party.run(client, *PYTHON, f"import os; print({fds}, os.sched_getscheduler(0))")
        status = Party(data)
        await status.run(client, "/bin/cat", "/proc/self/status")
    finally:
        os.sched_setscheduler(0, class_before, os.sched_param(0))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask_before)
        await client.close()

    assert party.stdout() == f"[0, 1, 2] {os.SCHED_OTHER}\n"
    masks = dict(line.split(":\t", 1) for line in status.stdout().splitlines())
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & GLIBC_SIGNALS == int(masks["SigIgn"], 16)


async def test_what_the_program_left_in_its_group_is_gone_at_the_exit(client: ShimClient, party: Party) -> None:
    ended = await party.run(client, "/bin/sh", "-c", f"(sh -c '{FOREVER}; true' & {FOREVER}) & exit 5")

    assert ended.code == 5
    assert party.processes() == []


async def test_daemon_of_the_program_is_gone_at_the_exit_and_no_other(client: ShimClient, tmp_path: Path) -> None:
    first, second = Party(tmp_path), Party(tmp_path)
    await second.start(client, "/bin/sh", "-c", f'"$@"; {FOREVER}', "sh", *PYTHON, DAEMON, "daemon.pid")
    other = await eventually(lambda: (second.directory / "daemon.pid").exists() and read_pid(second))

    await first.run(client, *PYTHON, DAEMON, "daemon.pid")
    assert not is_alive(read_pid(first))
    assert is_alive(other)

    await client.stop(second.key, grace_seconds=5)
    assert not is_alive(other)
    assert second.processes() == []


def read_pid(party: Party) -> int:
    return int((party.directory / "daemon.pid").read_text() or 0)


async def test_daemon_that_hides_its_owner_is_gone_when_nothing_runs(client: ShimClient, tmp_path: Path) -> None:
    first, second = Party(tmp_path), Party(tmp_path)
    await second.start(client, "/bin/sh", "-c", f'env -i "$@"; {FOREVER}', "sh", *PYTHON, DAEMON, "daemon.pid")
    daemon = await eventually(lambda: (second.directory / "daemon.pid").exists() and read_pid(second))
    await eventually(lambda: daemon in children_of(pid_of(client)))

    await first.run(client, "/bin/true")
    assert is_alive(daemon)

    await client.stop(second.key, grace_seconds=5)
    assert not is_alive(daemon)


async def test_adopted_processes_leave_no_zombie(client: ShimClient, party: Party) -> None:
    brief = "(sh -c 'sleep 0.1' & echo $! > pid) & wait; echo started; " + FOREVER
    await party.start_shell(client, brief)
    await eventually(party.stdout)
    pid = int((party.directory / "pid").read_text())

    await eventually(lambda: state_of(pid) is None)


# Starting


async def test_start_is_done_once(client: ShimClient, party: Party) -> None:
    script = "echo ran; while [ ! -e go ]; do sleep 0.01; done; exit 4"
    states = await asyncio.gather(*(party.start_shell(client, script) for _ in range(5)))

    assert {state.state for state in states} == {"running"}
    assert len({state.pid for state in states}) == 1
    (party.directory / "go").touch()
    ended = await client.wait(party.key)
    again = await party.start_shell(client, script)
    assert (again.state, again.exit) == ("exited", ended)
    assert party.stdout() == "ran\n"


@pytest.mark.parametrize(
    ("program", "content", "mode", "text"),
    [
        ("missing", None, 0, "program {} does not exist"),
        ("plain", "#!/bin/sh\n", 0o644, "program {} is not executable"),
        ("garbage", "\x01\x02", 0o755, "program {} is neither a binary of this machine nor a script"),
        ("script", "#!/no/such/interpreter\n", 0o755, "program {} names an interpreter in its first line"),
        (".", None, 0, "program {} is a directory"),
    ],
)
async def test_program_that_cannot_be_started_is_named(
    client: ShimClient, party: Party, program: str, content: str | None, mode: int, text: str
) -> None:
    path = f"{party.directory}/{program}"
    if content is not None:
        Path(path).write_text(content)
        Path(path).chmod(mode)

    with pytest.raises(ShimError, match=text.format(path)):
        await party.start(client, path)

    assert (await client.recover(party.key, party.directory)).state == "unknown"
    assert (await party.run(client, "/bin/true")).code == 0  # the same key once the program is right


async def test_directories_that_cannot_be_used_are_named(client: ShimClient, party: Party) -> None:
    with pytest.raises(ShimError, match="working directory /no/where: No such file"):
        await party.start(client, "/bin/true", cwd=Path("/no/where"))
    with pytest.raises(ShimError, match="working directory /bin/true: Not a directory"):
        await party.start(client, "/bin/true", cwd=Path("/bin/true"))
    party.directory.rmdir()
    with pytest.raises(ShimError, match=f"output file {party.directory}/stdout.log: No such file"):
        await party.start(client, "/bin/true", cwd=Path("/"))


async def test_values_that_no_program_can_get_are_refused(client: ShimClient, party: Party) -> None:
    with pytest.raises(ShimError, match="arguments and environment are larger"):
        await party.start(client, "/bin/true", *["x" * 100_000] * 40)
    with pytest.raises(ShimError, match="more than"):
        await party.start(client, "/bin/true", "x" * (shim.MAX_REQUEST_BYTES + 1))
    with pytest.raises(ShimError, match="embedded null"):
        await party.start(client, "/bin/true", "a\0b")
    with pytest.raises(ShimError, match="illegal environment variable name"):
        await party.start(client, "/bin/true", env={"A=B": "c"})
    with pytest.raises(ShimError, match="absolute path"):
        await party.start(client, "true")
    assert (await party.run(client, "/bin/true")).code == 0


async def test_two_hundred_parties_at_once(client: ShimClient, tmp_path: Path) -> None:
    parties = [Party(tmp_path) for _ in range(200)]

    ended = await asyncio.gather(*(party.run(client, "/bin/sh", "-c", f"exit {i}") for i, party in enumerate(parties)))

    assert [one.code for one in ended] == list(range(200))
    assert await client.list() == []


async def test_output_is_limited_to_its_newest_part(client: ShimClient, party: Party) -> None:
    limit = 256 << 10
    script = "i=0; while [ $i -lt 200 ]; do printf '%8192s\\n' $i; i=$((i+1)); done"
    await party.start(client, "/bin/sh", "-c", script, output_limit_bytes=limit)
    await client.wait(party.key)

    output = party.directory / "stdout.log"
    assert output.stat().st_blocks * 512 <= limit
    assert party.stdout().endswith(" 199\n")
    with output.open("rb") as file:
        first = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        assert first > 0
        assert limit // 4 <= output.stat().st_size - first <= limit


async def test_output_of_a_running_program_is_limited(client: ShimClient, party: Party) -> None:
    limit = 64 << 10
    script = f"head -c 1000000 /dev/zero | tr '\\0' x; echo done >&2; {FOREVER}"
    await party.start(client, "/bin/sh", "-c", script, output_limit_bytes=limit)
    await eventually((party.directory / "stderr.log").read_text)

    await eventually(lambda: (party.directory / "stdout.log").stat().st_blocks * 512 <= limit)


# Waiting


async def test_cancelled_waiter_stops_nothing(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, "while [ ! -e go ]; do sleep 0.01; done; exit 6")
    waiters = [asyncio.create_task(client.wait(party.key)) for _ in range(3)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.wait(party.key), 0.01)

    (party.directory / "go").touch()

    assert [(await waiter).code for waiter in waiters] == [6, 6, 6]


async def test_waiting_for_an_unknown_or_forgotten_party_is_refused(client: ShimClient, party: Party) -> None:
    with pytest.raises(ShimError, match="neither started nor recovered"):
        await client.wait(party.key)
    await party.start_shell(client, FOREVER)
    waiter = asyncio.create_task(client.wait(party.key))
    await asyncio.sleep(0)
    client.forget(party.key)
    with pytest.raises(ShimError, match="forgotten"):
        await waiter
    assert [one.key for one in await client.list()] == [party.key]


async def test_exit_is_told_even_when_its_directory_is_gone(client: ShimClient, party: Party) -> None:
    ended = await party.run(client, "/bin/sh", "-c", f"rm -r {party.directory}; exit 8")

    assert ended.code == 8


async def test_exit_that_cannot_be_written_is_told_and_written_later(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, "while [ ! -e go ]; do sleep 0.01; done; exit 8")
    (party.directory / "exit.json").mkdir()
    (party.directory / "go").touch()

    ended = await client.wait(party.key)
    assert (await client.recover(party.key, party.directory)).exit == ended
    (party.directory / "exit.json").rmdir()

    await eventually((party.directory / "exit.json").is_file)
    assert party.recorded_exit()["code"] == 8


# Stopping


async def test_stop_ends_a_program_in_order(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, f"trap 'echo bye; exit 9' TERM; echo ready; {FOREVER}")
    await eventually(party.stdout)

    await client.stop(party.key, grace_seconds=10)

    ended = await client.wait(party.key)
    assert (ended.code, ended.signal, ended.stopped) == (9, None, True)
    assert party.stdout() == "ready\nbye\n"
    assert party.recorded_exit()["stopped"] is True


async def test_stop_kills_what_ignores_sigterm_after_the_grace_period(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, f"trap '' TERM; ({FOREVER}) & echo ready; {FOREVER}")
    await eventually(party.stdout)

    await client.stop(party.key, grace_seconds=0.2)

    ended = await client.wait(party.key)
    assert (ended.code, ended.signal, ended.stopped) == (None, signal.SIGKILL, True)
    assert ended.ended_at - ended.started_at >= 0.2
    assert party.processes() == []


async def test_stop_leaves_the_whole_group_its_grace_period(client: ShimClient, party: Party) -> None:
    worker = f"trap 'sleep 0.2; echo cleaned; exit' TERM; echo ready; {FOREVER}"
    await party.start_shell(client, f"({worker}) & wait")
    await eventually(party.stdout)

    await client.stop(party.key, grace_seconds=10)

    assert (await client.wait(party.key)).signal == signal.SIGTERM
    assert party.stdout() == "ready\ncleaned\n"
    assert party.processes() == []


async def test_stop_kills_a_group_that_outlives_its_main_process(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, f"(trap '' TERM; echo ready; {FOREVER}) & wait")
    await eventually(party.stdout)

    await client.stop(party.key, grace_seconds=0.2)

    assert (await client.wait(party.key)).signal == signal.SIGTERM
    assert party.processes() == []


async def test_later_stop_shortens_the_grace_period(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, f"trap '' TERM; echo ready; {FOREVER}")
    await eventually(party.stdout)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(client.stop(party.key, grace_seconds=seconds) for seconds in (600, 0.1, 600)))


async def test_stop_reaches_a_sleeping_group(client: ShimClient, party: Party) -> None:
    state = await party.start_shell(client, FOREVER)
    assert state.pid is not None
    os.killpg(state.pid, signal.SIGSTOP)

    await client.stop(party.key, grace_seconds=60)

    assert (await client.wait(party.key)).signal == signal.SIGTERM


async def test_stopping_what_does_not_run_succeeds(client: ShimClient, party: Party) -> None:
    await client.stop(party.key, grace_seconds=1)
    await party.run(client, "/bin/true")
    await client.stop(party.key, grace_seconds=1)

    assert party.recorded_exit()["stopped"] is False
    with pytest.raises(ShimError, match="grace_seconds"):
        await client.stop(party.key, grace_seconds=-1)


# Outliving the server


SERVER = """
import asyncio, sys
from pathlib import Path
from kusciajob.runtime.process.shim_client import ShimClient

async def serve() -> None:
    client = ShimClient(Path(sys.argv[1]))
    await client.connect()
    for directory in map(Path, sys.argv[2:]):
        script = "while [ ! -e go ]; do sleep 0.01; done; exit 3"
        await client.start(
            directory.name, argv=["/bin/sh", "-c", script], env={"PATH": "/bin:/usr/bin"}, cwd=directory,
            directory=directory)
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


async def test_parties_outlive_a_killed_server(data: Path, tmp_path: Path) -> None:
    ended, running = Party(tmp_path), Party(tmp_path)
    argv = [sys.executable, "-c", SERVER, str(data), str(ended.directory), str(running.directory)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"started\n"
        server.kill()
    (ended.directory / "go").touch()
    await eventually((ended.directory / "exit.json").exists)

    client = ShimClient(data)
    await client.connect()
    first = await client.recover(ended.key, ended.directory)
    second = await client.recover(running.key, running.directory)
    assert first.state == "exited"
    assert first.exit is not None
    assert first.exit.code == 3
    assert second.state == "running"
    assert [one.key for one in await client.list()] == [running.key]
    (running.directory / "go").touch()
    assert (await client.wait(running.key)).code == 3
    await client.close()


async def test_parties_of_a_killed_shim_are_lost_and_gone(client: ShimClient, tmp_path: Path) -> None:
    plain, daemon, ended = Party(tmp_path), Party(tmp_path), Party(tmp_path)
    await ended.run(client, "/bin/sh", "-c", "exit 2")
    await plain.start(client, "/usr/bin/env", "-i", "/bin/sh", "-c", f"echo $$; {FOREVER}")
    await daemon.start(client, "/bin/sh", "-c", f'"$@"; {FOREVER}', "sh", *PYTHON, DAEMON, "daemon.pid")
    await eventually(lambda: plain.stdout() and (daemon.directory / "daemon.pid").exists() and read_pid(daemon))
    pids = [int(plain.stdout()), read_pid(daemon), *daemon.processes()]
    stopping = asyncio.create_task(client.stop(plain.key, grace_seconds=60))

    shim_pid = pid_of(client)
    os.kill(shim_pid, signal.SIGKILL)

    for party in (plain, daemon):
        lost = await client.wait(party.key)
        assert (lost.code, lost.signal, lost.lost) == (None, None, True)
        assert (await party.start(client, "/bin/true")).state == "lost"
        assert party.recorded_exit()["lost"] is True
    await stopping
    assert not any(map(is_alive, pids))
    assert (await client.recover(ended.key, ended.directory)).state == "exited"
    assert pid_of(client) != shim_pid


async def test_a_party_of_the_same_key_in_another_directory_is_left_alone(client: ShimClient, tmp_path: Path) -> None:
    first, second = Party(tmp_path), Party(tmp_path)
    other = ShimClient(tmp_path / "other")
    await other.connect()
    try:
        second.key = first.key
        await first.start(client, "/bin/sleep", "600")
        await second.start(other, "/bin/sleep", "600")
        os.kill(pid_of(client), signal.SIGKILL)
        assert (await client.wait(first.key)).lost
        assert not first.processes()
        assert len(second.processes()) == 1
        await other.stop(second.key, grace_seconds=5)
        assert (await other.wait(second.key)).signal == signal.SIGTERM
    finally:
        await other.close()


async def test_requests_survive_a_killed_shim(client: ShimClient, tmp_path: Path) -> None:
    parties = [Party(tmp_path) for _ in range(50)]
    starting = [asyncio.create_task(party.run(client, "/bin/true")) for party in parties]
    await eventually(lambda: any(party.directory.joinpath("exit.json").exists() for party in parties))

    os.kill(pid_of(client), signal.SIGKILL)

    ended = await asyncio.gather(*starting)
    assert all(one.code == 0 or one.lost for one in ended)
    assert [one.key for one in ended] == [party.key for party in parties]


async def test_damaged_records_are_lost_parties(client: ShimClient, party: Party) -> None:
    (party.directory / "stdout.log").touch()
    (party.directory / "party.json").write_text('{"key": ')
    (party.directory / "exit.json").touch()

    state = await party.start(client, "/bin/true")

    assert state.state == "lost"
    assert party.stdout() == ""


async def test_number_of_a_lost_party_given_to_another_process_is_left_alone(client: ShimClient, party: Party) -> None:
    with subprocess.Popen(["/bin/sleep", "300"], start_new_session=True) as bystander:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        record = {"key": party.key, "pid": bystander.pid, "boot_id": boot_id, "spawned_between": [1.0, 2.0]}
        (party.directory / "stdout.log").touch()
        (party.directory / "party.json").write_text(json.dumps(record))

        assert (await client.recover(party.key, party.directory)).state == "lost"

        assert is_alive(bystander.pid)
        bystander.kill()


# The daemon


async def test_all_clients_share_one_shim(data: Path, party: Party) -> None:
    clients = [ShimClient(data) for _ in range(5)]
    await asyncio.gather(*(client.connect() for client in clients))

    assert len({client.shim_pid for client in clients}) == 1
    await party.start(clients[0], "/bin/true")
    assert (await clients[1].recover(party.key, party.directory)).state in ("running", "exited")
    assert (await clients[1].wait(party.key)).code == 0
    for client in clients:
        await client.close()


async def test_shim_leaves_when_it_is_not_needed(data: Path, party: Party) -> None:
    client = ShimClient(data)
    await client.connect()
    await party.start_shell(client, "while [ ! -e go ]; do sleep 0.01; done")
    pid = pid_of(client)
    await client.close()
    assert is_alive(pid)

    (party.directory / "go").touch()

    await eventually(lambda: not is_alive(pid))
    assert not (data / "shim.sock").exists()
    assert party.recorded_exit()["code"] == 0
    assert (data / "shim.log").read_text() == ""


async def test_shim_that_nobody_uses_leaves(data: Path) -> None:
    data.mkdir()
    subprocess.run([sys.executable, "-I", "-S", Path(shim.__file__).with_name("__main__.py"), data], check=True)
    assert (data / "shim.sock").exists()

    await eventually(lambda: not (data / "shim.sock").exists())


async def test_shim_holds_out_against_sigterm_while_a_party_runs(client: ShimClient, party: Party) -> None:
    await party.start_shell(client, "while [ ! -e go ]; do sleep 0.01; done; exit 7")
    pid = pid_of(client)
    os.kill(pid, signal.SIGTERM)
    assert len(await client.list()) == 1

    (party.directory / "go").touch()

    assert (await client.wait(party.key)).code == 7
    await eventually(lambda: not is_alive(pid))


async def test_no_child_of_the_server_is_left(client: ShimClient) -> None:
    os.kill(pid_of(client), signal.SIGKILL)
    await client.list()

    assert [pid for pid in children_of(os.getpid()) if state_of(pid) == "Z"] == []
    assert pid_of(client) not in children_of(os.getpid())


async def test_long_directory_name(tmp_path: Path, party: Party) -> None:
    directory = tmp_path / ("d" * 200) / ("e" * 200)
    client = ShimClient(directory)
    await client.connect()

    assert (await party.run(client, "/bin/true")).code == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "shim.sock").stat().st_mode) == 0o600
    await client.close()


async def test_stale_socket_file_is_replaced(data: Path) -> None:
    data.mkdir()
    (data / "shim.sock").write_text("")
    client = ShimClient(data)
    await client.connect()

    assert await client.list() == []
    await client.close()


async def test_shim_that_cannot_start_says_why(data: Path) -> None:
    data.mkdir()
    (data / "shim.sock").mkdir()
    client = ShimClient(data)

    with pytest.raises(ShimUnavailable, match=r"does not start \(exit code 1\): IsADirectoryError"):
        await client.connect()
    await client.close()


async def test_closed_client_answers_at_once(data: Path, party: Party) -> None:
    client = ShimClient(data)
    await client.connect()
    await party.start_shell(client, "sleep 0.2")
    waiter = asyncio.create_task(client.wait(party.key))
    await asyncio.sleep(0)
    await client.close()

    with pytest.raises(ShimUnavailable, match="closed"):
        await waiter
    with pytest.raises(ShimUnavailable, match="closed"):
        await client.list()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"op": null}',
        b'{"op": "start"}',
        b'{"op": "start", "key": "k", "argv": [1], "env": {}, "cwd": "/", "dir": "/"}',
        b'{"op": "start", "key": "k", "argv": ["/bin/true"], "env": {"a": 1}, "cwd": "/", "dir": "/"}',
        b'{"op": "start", "key": "k", "argv": ["/bin/true"], "env": {}, "cwd": "/", "dir": "relative"}',
        b'{"op": "start", "key": "\\ud800", "argv": ["/bin/true"], "env": {}, "cwd": "/", "dir": "/no/where"}',
        b'{"op": "stop", "key": "k", "grace_seconds": NaN}',
        b'{"op": "stop", "key": "k", "grace_seconds": true}',
        b'{"op": "recover", "key": 1, "dir": "/"}',
    ],
)
async def test_malformed_request_is_answered(client: ShimClient, data: Path, line: bytes) -> None:
    with open_raw(data) as sock:
        sock.sendall(line + b"\n")
        answer = json.loads(sock.makefile().readline())

    assert answer["id"] is None
    assert answer["error"]["text"]
    assert await client.list() == []


async def test_client_that_reads_nothing_is_dropped(client: ShimClient, data: Path) -> None:
    request = json.dumps({"id": "x" * 200_000, "op": "hello"}).encode() + b"\n"

    def flood() -> None:
        with open_raw(data) as sock:
            for _ in range(200):
                sock.sendall(request)

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await asyncio.to_thread(flood)
    assert await client.list() == []
    assert "bytes unread" in (data / "shim.log").read_text()


async def test_request_without_end_is_dropped(client: ShimClient, data: Path) -> None:
    def flood() -> None:
        with open_raw(data) as sock:
            for _ in range(2 * (shim.MAX_REQUEST_BYTES >> 20)):
                sock.sendall(b"x" * (1 << 20))

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await asyncio.to_thread(flood)
    assert await client.list() == []


def test_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "shim.log"
    saved = os.dup(2)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.dup2(fd, 2)
        for _ in range(40):
            log("x" * (MAX_LOG_BYTES // 20))
    finally:
        os.dup2(saved, 2)
        os.close(fd)
        os.close(saved)

    assert 0 < path.stat().st_size <= MAX_LOG_BYTES * 1.1
