"""SIGTERM ends a server in order, with exit code 0, whenever it comes from the first line of the program on."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from tests.support.polling import eventually
from tests.support.server import clean_environment, running_server

ROUNDS = 4
LONGEST_START_SECONDS = 1.5
"""A server starts within that time here; where it does not, the signal still comes while it starts."""
END_SECONDS = 30.0


# What is known of the signals when the command begins, and when the interpreter is about to leave.
SPY = """
import atexit, signal, sys
from kusciajob.cli import main
def tell(moment):
    handler = signal.getsignal(signal.SIGTERM)
    print(moment, getattr(handler, "__qualname__", handler.name if hasattr(handler, "name") else handler))
    return 0
main._run = lambda: tell("grpc" in sys.modules)
atexit.register(tell, "exit")
main.main()
"""


@asynccontextmanager
async def starting(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server whose program has begun; killed at the end if need be."""
    settings = ["--runtime=simulated", "--grpc-port=0", "--http-port=0", f"--data-dir={directory}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kusciajob", "serve", *settings, stderr=asyncio.subprocess.PIPE, env=clean_environment()
    )
    try:
        await eventually(lambda: catches(process.pid, signal.SIGTERM))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal; until then nothing of ours has run."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """The exit code, and what the server said."""
    async with asyncio.timeout(END_SECONDS):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def pelt(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """The signal again and again, up to the last moment of the process."""
    descriptor = os.pidfd_open(process.pid)  # its number may be another's as soon as it is gone

    def is_gone() -> bool:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return True
        return False

    try:
        await eventually(is_gone, timeout_seconds=END_SECONDS)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("command", "known"),
    [("serve", "False Received.receive\nexit SIG_IGN\n"), ("get", "False SIG_DFL\nexit SIG_DFL\n")],
)
def test_signals_are_kept_before_the_server_is_imported_and_until_the_process_ends(command: str, known: str) -> None:
    told = subprocess.run([sys.executable, "-c", SPY, command], capture_output=True, text=True, check=True)
    assert told.stdout == known


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_sigterm_at_any_moment_of_the_start_ends_the_server_in_order(tmp_path: Path, seed: int) -> None:
    moment = time.monotonic() + Random(seed).uniform(0, LONGEST_START_SECONDS)
    async with starting(tmp_path / "data") as process:
        await eventually(lambda: time.monotonic() >= moment)
        process.terminate()
        code, said = await ended(process)
        assert code == 0, said
        assert "received SIGTERM" in said
        assert "Traceback" not in said


async def test_sigterm_from_the_first_line_to_the_last_ends_the_server_in_order(tmp_path: Path) -> None:
    async with starting(tmp_path / "data") as process:
        reading = asyncio.create_task(ended(process))
        await pelt(process, signal.SIGTERM)
        assert (await reading)[0] == 0


async def test_sigterm_while_a_server_stops_changes_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await pelt(server.process, signal.SIGTERM)
        assert await server.process.wait() == 0, server.log.read_text()
        assert server.log.read_text().endswith("stopped\n")


async def test_sighup_before_the_server_serves_does_not_end_it(tmp_path: Path) -> None:
    async with starting(tmp_path / "data") as process:
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        said = b""
        while b"serving gRPC" not in said:
            said += await asyncio.wait_for(process.stderr.readline(), END_SECONDS)
        process.terminate()
        code, rest = await ended(process)
        assert code == 0
        assert "nothing to reload" in said.decode() + rest


async def test_a_second_ctrl_c_ends_the_server_at_once(tmp_path: Path) -> None:
    async with starting(tmp_path / "data") as process:
        reading = asyncio.create_task(ended(process))
        await pelt(process, signal.SIGINT)
        assert (await reading)[0] == 128 + signal.SIGINT
