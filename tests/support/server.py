"""The real server in a subprocess, on a data directory below the test's own."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.polling import PATIENCE_SECONDS, eventually
from tests.support.shims import groups_of

_CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
START_SECONDS = 4 * PATIENCE_SECONDS
"""A start takes a second of a processor, of which a loaded machine may give little; one that fails ends at once."""
_ADDRESS = r"([\w.:\[\]-]+)"
_TAKEN = "is the port taken?"
_READY = re.compile(f"serving gRPC on {_ADDRESS}")
_HTTP = re.compile(f"serving HTTP on {_ADDRESS}")  # logged before gRPC


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of kusciajob and terminals."""
    foreign = ("KUSCIAJOB_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "PYTHONASYNCIODEBUG")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


class RunningServer:
    """One server process after the other on the same data directory and, from the first start on, the same ports."""

    def __init__(self, directory: Path, settings: dict[str, object], launcher: Sequence[str] = ()) -> None:
        self.data_dir = directory / "data"
        self.log = directory / "server.log"
        self.address = "127.0.0.1:0"
        self.http_address = "127.0.0.1:0"
        self._settings = settings
        self.launcher = launcher
        """A program, with its arguments, that becomes the server at the next start."""
        self._process: asyncio.subprocess.Process | None = None
        self._channel: grpc.aio.Channel | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The present process, or the last one."""
        assert self._process is not None, "the server was never started"
        return self._process

    @property
    def channel(self) -> grpc.aio.Channel:
        """A channel to the server; it connects again by itself after a restart."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
        return self._channel

    @property
    def stub(self) -> job_pb2_grpc.JobServiceStub:
        """JobService over that channel."""
        return job_pb2_grpc.JobServiceStub(self.channel)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start a process and return once it serves; AssertionError with its log when it ends instead.

        One that is started again asks for the port it had. A client of another test may have that for a while.
        """
        deadline = time.monotonic() + (PATIENCE_SECONDS if self._process else 0)
        while True:
            try:
                return await self._start()
            except AssertionError as error:
                if _TAKEN not in str(error) or time.monotonic() > deadline:
                    raise

    async def _start(self) -> None:
        ports = {
            "grpc_port": self.address.rpartition(":")[2],
            "http_port": self.http_address.rpartition(":")[2],
        }
        settings = {"data_dir": self.data_dir} | ports | self._settings
        flags = [_flag(name.replace("_", "-"), value) for name, value in settings.items()]
        earlier_log_bytes = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            command = [*self.launcher, sys.executable, "-m", "kusciajob", "serve", *flags]
            self._process = await asyncio.create_subprocess_exec(*command, stderr=log, env=clean_environment())

        def find_ready_line() -> re.Match[str] | None:
            text = self.log.read_bytes()[earlier_log_bytes:].decode()
            assert self.is_running, f"the server ended with exit code {self.process.returncode}:\n{text}"
            return _READY.search(text)

        ready = await eventually(find_ready_line, timeout_seconds=START_SECONDS)
        assert ready is not None
        self.address = ready[1]
        http = _HTTP.search(ready.string)
        if http:
            self.http_address = http[1]

    async def logged(self, text: str) -> str:
        """The log, once the text is in it: lines are written a moment after what they tell."""
        await eventually(lambda: text in self.log.read_text())
        return self.log.read_text()

    async def stop(self) -> int:
        """End it by SIGTERM; the exit code."""
        self.process.terminate()
        return await self._wait()

    async def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        await self._wait()

    async def restart(self) -> None:
        """Start it again; a running one is stopped in order first."""
        if self.is_running:
            await self.stop()
        await self.start()

    @property
    def shim_pid(self) -> int:
        """The process that owns the programs; there is one once the first was started."""
        return next(pid for pid in self.left_processes() if b"shim" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def left_processes(self) -> list[int]:
        """Whatever else runs on the data directory: the shim, and the parties' programs."""
        own = self.process.pid if self.is_running else 0
        return [pid for pid in _processes_on(self.data_dir) if pid != own]

    async def close(self) -> None:
        """Leave nothing behind; AssertionError when a running server does not stop in order."""
        if self._channel is not None:
            await self._channel.close(None)
        exit_code = await self.stop() if self.is_running else 0
        for pid in self.left_processes():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)
        for group in reversed(groups_of(self.data_dir)):  # of the shim that was killed just now
            await eventually(partial(_is_removed, group))
        assert exit_code == 0, f"the server stopped with exit code {exit_code}:\n{self.log.read_text()}"

    async def _wait(self) -> int:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"the server did not stop in time:\n{self.log.read_text()}") from None


@asynccontextmanager
async def running_server(
    directory: Path, launcher: Sequence[str] = (), /, **settings: object
) -> AsyncIterator[RunningServer]:
    """A server with these settings, by the names of kusciajob.config; its data is in `<directory>/data`.

    The launcher is a program, with its arguments, that becomes the server.
    """
    server = RunningServer(directory, settings, launcher)
    try:
        await server.start()
        yield server
    finally:
        await server.close()


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"


def _is_removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def _processes_on(directory: Path) -> list[int]:
    """The processes that work below the directory or have it on their command line."""
    found = []
    wanted = os.fsencode(directory)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            places = [os.fsencode(os.readlink(entry / "cwd")), *(entry / "cmdline").read_bytes().split(b"\0")]
        except OSError:  # it has ended
            continue
        if any(place == wanted or place.startswith(wanted + b"/") for place in places):
            found.append(int(entry.name))
    return found
