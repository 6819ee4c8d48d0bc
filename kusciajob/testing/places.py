"""Where a server for tests runs: on a thread of this process, or as a process of its own."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from kusciajob import config
from kusciajob.server import Server
from kusciajob.store.memory import MemoryStore
from kusciajob.testing.control import KitError

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
LOOK_SECONDS = 0.005


class Address(Struct, frozen=True):
    """Where it serves: HOST:PORT."""

    grpc: str
    http: str
    pid: int


class Place(Protocol):
    """One server after the other, with the same settings."""

    def start(self, settings: Mapping[str, object]) -> Address:
        """Return once it serves. Raises KitError."""

    def stop(self) -> None:
        """End it in order. One that does not run is success."""

    def kill(self) -> None:
        """End it as a crash does."""


class ThreadPlace:
    """On a thread of its own with an event loop of its own. A server in memory goes on with the jobs of the last."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._store: MemoryStore | None = None
        self._address: Address | None = None
        self._error: Exception | None = None

    def start(self, settings: Mapping[str, object]) -> Address:
        ready = threading.Event()
        self._error = None
        self._thread = threading.Thread(
            target=self._run, args=(dict(settings), ready), name="kusciajob server", daemon=True
        )
        self._thread.start()
        ready.wait(START_SECONDS)
        if self._address is None or self._error is not None:
            raise KitError(f"the server has not started: {self._error or 'it takes too long'}")
        return self._address

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # it has ended by itself: so its log says
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._thread = self._loop = self._stopping = self._address = None

    def kill(self) -> None:
        raise KitError("only a server that is a process can be killed: JobServer(process=True)")

    def _run(self, settings: dict[str, object], ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(settings, ready))
        except Exception as error:  # it is told where it is waited for
            self._error = error
        finally:
            ready.set()

    async def _serve(self, settings: dict[str, object], ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        loaded = config.load(settings, environment={})
        if loaded.is_in_memory and self._store is None:
            self._store = MemoryStore()
        async with Server(loaded, store=self._store if loaded.is_in_memory else None) as server:
            host = loaded.bracketed_host
            self._address = Address(f"{host}:{server.grpc_port}", f"{host}:{server.http_port}", os.getpid())
            ready.set()
            failing = asyncio.ensure_future(server.wait_failed())
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if failing.done():
                error = failing.exception()
                logger.critical("a part of the server has died, stopping: %s", error, exc_info=error)
            failing.cancel()


class ProcessPlace:
    """A process that ends with this one. Its log is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._directory / "server.log"

    def start(self, settings: Mapping[str, object]) -> Address:
        ready = self._directory / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "kusciajob", "serve", f"--ready-file={ready}", "--exit-with-parent"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KUSCIAJOB_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # our own program
                [*command, *(_flag(name, value) for name, value in settings.items())], stderr=log, env=environment
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise KitError(f"the server has not started:\n{self.log.read_text()}")
            time.sleep(LOOK_SECONDS)
        told = json.loads(ready.read_text())
        return Address(told["grpc"], told["http"], told["pid"])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _flag(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}={value}"
