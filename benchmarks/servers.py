"""The server processes that are measured: kusciajob itself, and floors that are run like it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER_CPU, LOAD_CPU = 0, 1
START_SECONDS = 240.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.002
SETTLED_SECONDS = 0.1
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_READY = re.compile(r"serving gRPC on ([\w.:]+)")
_HTTP = re.compile(r"serving HTTP on ([\w.:]+)")
_FLOOR_READY = re.compile(r"listening on ([\w.:]+)\n")


class ServerFailed(Exception):
    """A server did not start; the text ends with its log."""


class ServerProcess:
    """A running server on its core."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self.address = ""
        self.http_address = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, pattern: "re.Pattern[str]") -> "re.Match[str]":
        """The pattern's first match in the log. ServerFailed."""
        deadline = time.monotonic() + START_SECONDS
        while (found := pattern.search(self._log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"no server has started: {self._log.read_text()}")
            time.sleep(POLL_SECONDS)
        return found

    def cpu_seconds(self) -> float:
        """What it has used so far, all threads, user and system, by the clock's ticks of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def rss_bytes(self) -> int:
        """Its resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def settle(self) -> None:
        """Return once it has nothing left to do."""
        used = -1.0
        while (now := self.cpu_seconds()) != used:
            used = now
            time.sleep(SETTLED_SECONDS)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def kusciajob(directory: Path, *, cpus: Sequence[int] = (SERVER_CPU,), **settings: object) -> Iterator[ServerProcess]:
    """`kusciajob serve` with these settings, on free ports, its data below the directory; it serves."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {"data_dir": directory / "data", "grpc_port": 0, "http_port": 0} | settings
    flags = [_flag(name.replace("_", "-"), value) for name, value in settings.items()]
    with _running(["-m", "kusciajob", "serve", *flags], directory / "server.log", cpus) as server:
        server.address = server.wait_for(_READY)[1]
        if settings["http_port"] != -1:
            server.http_address = server.wait_for(_HTTP)[1]
        yield server


@contextmanager
def floor(kind: str, directory: Path, *, like: ServerProcess, reply: bytes = b"") -> Iterator[ServerProcess]:
    """A server of floors.py that answers with these bytes, on the event loop and in the scheduling class of `like`."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{kind}.reply"
    file.write_bytes(reply)
    flags = [f"--reply={file}", *(["--uvloop"] if uses_uvloop(like.pid) else [])]
    if os.sched_getscheduler(like.pid) == os.SCHED_BATCH:
        flags.append("--batch")
    with _running(["-m", "benchmarks.floors", kind, *flags], directory / f"{kind}.log", (SERVER_CPU,)) as server:
        server.address = server.http_address = server.wait_for(_FLOOR_READY)[1]
        yield server


def uses_uvloop(pid: int) -> bool:
    """Whether a process has loaded it."""
    return "uvloop" in Path(f"/proc/{pid}/maps").read_text()


def describe(server: ServerProcess) -> str:
    """The event loop and scheduling class, in words."""
    loop = "uvloop" if uses_uvloop(server.pid) else "asyncio"
    return f"{loop}, {'SCHED_BATCH' if os.sched_getscheduler(server.pid) == os.SCHED_BATCH else 'SCHED_OTHER'}"


def pin_load() -> None:
    """Keep this process, the load generator, off the server's core."""
    os.sched_setaffinity(0, _cpus(LOAD_CPU))


@contextmanager
def on_cpus(*cpus: int) -> Iterator[None]:
    """What is started in this block runs there."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _cpus(*cpus))
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


@contextmanager
def _running(arguments: list[str], log: Path, cpus: Sequence[int]) -> Iterator[ServerProcess]:
    log.write_bytes(b"")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUSCIAJOB_")}
    with log.open("ab") as file, on_cpus(*cpus):
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=file, env=environment, start_new_session=True
        )
    server = ServerProcess(process, log)
    try:
        yield server
    finally:
        server.stop()


def _cpus(*wanted: int) -> set[int]:
    """Of the cores that there are; a machine with one has to share it."""
    there = range(os.cpu_count() or 1)
    return {cpu for cpu in wanted if cpu in there} or {0}


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"
