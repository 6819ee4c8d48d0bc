"""Runs every party as a process group on this machine, by way of the shim, which outlives the server."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from kusciajob.contracts import (
    DomainFacts,
    DomainSource,
    ExitResult,
    NoCapacity,
    OutputPiece,
    OutputStream,
    PartyKey,
    PartySpec,
    StartFailed,
)
from kusciajob.model.appimage import Container
from kusciajob.model.status import Endpoint
from kusciajob.runtime import party as layout
from kusciajob.runtime.blocking import Blocking
from kusciajob.runtime.ports import PortPool
from kusciajob.runtime.rendering import port_of
from kusciajob.runtime.shim_client import PartyExit, ShimClient, ShimError
from kusciajob.runtime.slots import Slots

logger = logging.getLogger(__name__)

TAIL_LINES = 5
TAIL_BYTES = 2048
READ_BYTES = 64 * 1024


class ProcessRuntime:
    """See Runtime and OutputSource. What it keeps of a party is below `<directory>/runs/<party key>`."""

    def __init__(
        self,
        *,
        directory: Path,
        domains: Path,
        path: str,
        ports: range,
        stop_grace_seconds: float,
        progress_url: Callable[[], str],
        max_running_parties: int = 0,
        output_limit_bytes: int | None = None,
        host: str = "127.0.0.1",
        facts_of: DomainSource = lambda _: DomainFacts(),
        strict_templates: bool = False,
        max_restarts: int = 0,
        restart_pause_seconds: float = 0.0,
    ) -> None:
        self._runs = directory.absolute() / "runs"
        self._domains = domains.absolute()
        self._path = path
        self._progress_url = progress_url
        self._host = host
        self._facts_of = facts_of
        self._strict_templates = strict_templates
        self._max_restarts = max_restarts
        self._restart_pause_seconds = restart_pause_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._ports = PortPool(ports)
        self._slots = Slots(max_running_parties)
        self._output_limit_bytes = output_limit_bytes
        self._blocking = Blocking()
        self._shim = ShimClient(directory)
        self._connecting = asyncio.Lock()
        self._is_connected = False
        self._started: dict[PartyKey, Path] = {}
        self._containers: dict[PartyKey, Container] = {}
        """Of those that have config files, to explain a failure."""

    @property
    def parties(self) -> int:
        """How many run."""
        return self._slots.taken

    async def open(self) -> None:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        containers = [layout.container_of(party, party.key.party) for party in parties]
        wanted = {party.key: len(container.ports) for party, container in zip(parties, containers, strict=True)}
        self._slots.take(wanted)
        try:
            given = self._ports.allocate(wanted)
        except NoCapacity:
            self._slots.free(wanted)
            raise
        return [
            layout.endpoints_of(container, given[party.key], self._host)
            for party, container in zip(parties, containers, strict=True)
        ]

    async def attach(self, party: PartySpec) -> None:
        self._slots.hold(party.key)
        self._ports.reserve(party.key, map(port_of, party.endpoints[party.key.party]))
        directory = self._runs / str(party.key)
        state = await (await self._connected()).recover(str(party.key), directory)
        if state.state != "unknown":
            self._note_started(party, directory)

    async def start(self, party: PartySpec) -> None:
        if party.key in self._started:
            return
        directory = self._runs / str(party.key)
        # Done to its end even when this is cancelled: else it could lay out again what a remove has just deleted.
        program = await self._blocking.do(partial(self._prepare, party, directory))
        self._note_started(party, directory)
        try:
            shim = await self._connected()
            await shim.start(
                str(party.key),
                argv=program.argv,
                env=program.env,
                cwd=program.cwd,
                directory=directory,
                output_limit_bytes=self._output_limit_bytes,
                max_restarts=self._max_restarts if program.restarts_on_failure else None,
                pause_seconds=self._restart_pause_seconds,
            )
        except ShimError as error:
            self._release(party.key)
            raise StartFailed(str(error)) from None

    def _prepare(self, party: PartySpec, directory: Path) -> layout.Program:
        own = party.spec.tasks[party.key.task].parties[party.key.party]
        return layout.prepare(
            party,
            directory,
            domains=self._domains,
            path=self._path,
            progress_url=self._progress_url() + quote(party.task_id),
            facts=self._facts_of(own.domain_id),
            strict_templates=self._strict_templates,
        )

    async def wait(self, key: PartyKey) -> ExitResult:
        directory = self._started.get(key)
        if directory is None:
            self._release(key)
            return ExitResult(
                succeeded=False,
                message="lost: nothing is known of its process any more; its directory was removed",
                is_fault=True,
            )
        try:
            ended = await self._shim.wait(str(key))
        except ShimError as error:
            self._release(key)
            return ExitResult(succeeded=False, message=f"lost: {error}", is_fault=True)
        if ended.code == 0 and ended.tidy:
            result = ExitResult(succeeded=True)  # mostly there is nothing to look at or to remove
        else:
            result = await self._blocking.do(partial(_judge, ended, directory, self._containers.get(key)))
        self._release(key)
        return result

    async def stop(self, key: PartyKey) -> None:
        if key in self._started:
            shim = await self._connected()
            await shim.stop(str(key), grace_seconds=self._stop_grace_seconds)
        self._ports.release([key])
        self._slots.free([key])

    async def owned(self) -> Collection[int]:
        return await asyncio.to_thread(_numbers, self._runs)

    async def remove(self, job: int) -> None:
        directory = self._runs / str(job)
        await asyncio.gather(*(self._end(path) for path in await asyncio.to_thread(_unended, directory)))
        for key in [key for key in self._started if key.job == job]:
            self._release(key)
        self._slots.free_job(job)
        self._ports.release_job(job)  # also what was allocated for a start that never came
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int) -> OutputPiece:
        """See OutputSource."""
        return await asyncio.to_thread(_read, self._runs / str(key) / layout.OUTPUT_FILES[stream], offset)

    async def close(self) -> None:
        if self._is_connected:
            await self._shim.close()

    async def _connected(self) -> ShimClient:
        """The shim is started when it is first needed."""
        async with self._connecting:
            if not self._is_connected:
                await self._shim.connect()
                self._is_connected = True
        return self._shim

    async def _end(self, directory: Path) -> None:
        """Whatever runs in a party's directory, this server's or an earlier one's."""
        key = "/".join(directory.parts[-3:])
        shim = await self._connected()
        await shim.recover(key, directory)
        await shim.stop(key, grace_seconds=self._stop_grace_seconds)
        shim.forget(key)

    def _note_started(self, party: PartySpec, directory: Path) -> None:
        self._started[party.key] = directory
        with contextlib.suppress(StartFailed):  # its AppImage may be gone since
            container = layout.container_of(party, party.key.party)
            if container.config_volume_mounts:
                self._containers[party.key] = container

    def _release(self, key: PartyKey) -> None:
        self._containers.pop(key, None)
        self._ports.release([key])
        self._slots.free([key])
        if self._started.pop(key, None) is not None:
            self._shim.forget(str(key))


def _judge(ended: PartyExit, directory: Path, container: Container | None) -> ExitResult:
    """The result of a run; its temporary files, which may hold data in the clear, are deleted."""
    shutil.rmtree(directory / layout.TEMPORARY, ignore_errors=True)
    if ended.lost:
        text = "lost: its process was found dead or without supervision after the shim had died"
        return ExitResult(succeeded=False, message=text, is_fault=True)
    if ended.code == 0:
        return ExitResult(succeeded=True)
    if ended.signal is not None:
        text = f"killed by signal {ended.signal} ({_signal_name(ended.signal)})"
    else:
        text = f"exit code {ended.code}"
    if ended.restarts:
        text += f", after {ended.restarts} restarts" if ended.restarts > 1 else ", after a restart"
    tail = _tail(directory / layout.OUTPUT_FILES[OutputStream.STDERR])
    if container is not None:
        text += layout.explain_paths(container, tail)
    return ExitResult(succeeded=False, message=f"{text}: {tail}" if tail else text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time signal"


def _tail(file: Path) -> str:
    """The last lines of a program's output, at most 2 KiB."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def _read(file: Path, offset: int) -> OutputPiece:
    """What follows the offset, less the hole that the limit of output leaves: it would read as NULs."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return OutputPiece(offset, b"")
    try:
        if offset > os.fstat(descriptor).st_size:
            offset = 0  # without holes, the file was emptied instead
        while True:
            start = _data_from(descriptor, offset)
            data = os.pread(descriptor, READ_BYTES, start)
            if _data_from(descriptor, start) == start:  # else the hole has grown meanwhile
                return OutputPiece(start, data)
    finally:
        os.close(descriptor)


def _data_from(descriptor: int, offset: int) -> int:
    """The first offset from this one on that is in no hole."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:  # at the end, or the file system knows no holes
        return offset


def _numbers(runs: Path) -> set[int]:
    return {int(entry.name) for entry in runs.iterdir() if entry.name.isdecimal()}


def _unended(job: Path) -> list[Path]:
    """The party directories below a job's that have no record of an exit."""
    return [path for path in job.glob("*/*") if path.is_dir() and not (path / "exit.json").exists()]
