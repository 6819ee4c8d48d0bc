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

import msgspec
from msgspec import Struct

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
        self._started: dict[PartyKey, _Run] = {}
        self._half_started: dict[PartyKey, set[int]] = {}
        """By an earlier server: those of the party's replicas that run or ran."""

    @property
    def parties(self) -> int:
        """How many run."""
        return self._slots.taken

    async def open(self) -> None:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        templates = {party.key: layout.template_of(party) for party in parties}
        slots = {key: template.replicas for key, template in templates.items()}
        self._slots.take(slots)
        try:
            given = self._ports.allocate(
                {key: len(template.containers[0].ports) * template.replicas for key, template in templates.items()}
            )
        except NoCapacity:
            self._slots.free(slots)
            raise
        return [layout.endpoints_of(template, given[key], self._host) for key, template in templates.items()]

    async def attach(self, party: PartySpec) -> None:
        directories = self._directories(party.key)
        self._slots.hold(party.key, len(directories))
        self._ports.reserve(party.key, map(port_of, party.endpoints[party.key.party]))
        shim = await self._connected()
        states = [await shim.recover(_name(directory), directory) for directory in directories]
        found = {replica for replica, state in enumerate(states) if state.state != "unknown"}
        if len(found) == len(directories):
            self._note_started(party, directories)
        elif found:
            self._half_started[party.key] = found

    async def start(self, party: PartySpec) -> None:
        if party.key in self._started:
            return
        # Done to its end even when this is cancelled: else it could lay out again what a remove has just deleted.
        programs = await self._blocking.do(partial(self._prepare, party, self._half_started.get(party.key, ())))
        directories = self._directories(party.key)
        self._note_started(party, directories)
        shim = await self._connected()
        starts = [self._start_program(shim, directories[replica], program) for replica, program in programs.items()]
        failures = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error is not None]
        if failures:
            if len(directories) > 1:  # those of the others that were started
                await self._stop_programs(directories)
            self._release(party.key)
            if isinstance(failures[0], ShimError):
                raise StartFailed(str(failures[0])) from None
            raise failures[0]

    def _prepare(self, party: PartySpec, running: Collection[int]) -> dict[int, layout.Program]:
        """What to execute as each replica but those that run. All directories are there before anything is started."""
        own = party.spec.tasks[party.key.task].parties[party.key.party]
        template = layout.template_of(party)
        if len(template.containers[0].ports) * template.replicas != len(party.endpoints[party.key.party]):
            raise StartFailed("its AppImage was changed while the party was being started: restart the job")
        facts = self._facts_of(own.domain_id)
        return {
            replica: layout.prepare(
                party,
                self._runs / layout.replica_name(party.key, replica),
                domains=self._domains,
                path=self._path,
                progress_url=self._progress_url() + quote(party.task_id),
                facts=facts,
                strict_templates=self._strict_templates,
                replica=replica,
            )
            for replica in range(template.replicas)
            if replica not in running
        }

    async def _start_program(self, shim: ShimClient, directory: Path, program: layout.Program) -> None:
        await shim.start(
            _name(directory),
            argv=program.argv,
            env=program.env,
            cwd=program.cwd,
            directory=directory,
            output_limit_bytes=self._output_limit_bytes,
            max_restarts=self._max_restarts if program.restarts_on_failure else None,
            pause_seconds=self._restart_pause_seconds,
        )

    async def wait(self, key: PartyKey) -> ExitResult:
        run = self._started.get(key)
        if run is None:
            await self.stop(key)
            self._release(key)
            return ExitResult(
                succeeded=False,
                message="lost: nothing is known of its process any more; its directory was removed",
                is_fault=True,
            )
        if len(run.directories) == 1:
            result = await self._wait_program(run.directories[0], run.container)
        else:
            result = await self._wait_replicas(run)
        self._release(key)
        return result

    async def _wait_replicas(self, run: "_Run") -> ExitResult:
        """The first failure, with which all others end, or that all have succeeded."""
        waits = [asyncio.create_task(self._wait_program(directory, run.container)) for directory in run.directories]
        try:
            pending = set(waits)
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for replica, wait in enumerate(waits):
                    if wait in ended and not wait.result().succeeded:
                        await self._stop_programs(run.directories)
                        result = wait.result()
                        return msgspec.structs.replace(result, message=f"replica {replica}: {result.message}")
        finally:
            for wait in waits:
                wait.cancel()
        return ExitResult(succeeded=True)

    async def _wait_program(self, directory: Path, container: Container | None) -> ExitResult:
        try:
            ended = await self._shim.wait(_name(directory))
        except ShimError as error:
            return ExitResult(succeeded=False, message=f"lost: {error}", is_fault=True)
        if ended.code == 0 and ended.tidy:
            return ExitResult(succeeded=True)  # mostly there is nothing to look at or to remove
        return await self._blocking.do(partial(_judge, ended, directory, container))

    async def stop(self, key: PartyKey) -> None:
        if (run := self._started.get(key)) is not None:
            await self._stop_programs(run.directories)
        elif key in self._half_started:
            await self._stop_programs(self._directories(key))
        self._ports.release([key])
        self._slots.free([key])

    async def _stop_programs(self, directories: Sequence[Path]) -> None:
        shim = await self._connected()
        grace_seconds = self._stop_grace_seconds
        await asyncio.gather(*(shim.stop(_name(directory), grace_seconds=grace_seconds) for directory in directories))

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

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """See OutputSource."""
        file = self._runs / layout.replica_name(key, replica) / layout.OUTPUT_FILES[stream]
        return await asyncio.to_thread(_read, file, offset)

    async def replicas(self, key: PartyKey) -> int:
        """See OutputSource."""
        return len(await asyncio.to_thread(self._directories, key))

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
        shim = await self._connected()
        await shim.recover(_name(directory), directory)
        await shim.stop(_name(directory), grace_seconds=self._stop_grace_seconds)
        shim.forget(_name(directory))

    def _directories(self, key: PartyKey) -> tuple[Path, ...]:
        """Those of the party's replicas, as they are on disk; the first one's even when it is not there."""
        directories = [self._runs / str(key)]
        while (following := self._runs / layout.replica_name(key, len(directories))).is_dir():
            directories.append(following)
        return tuple(directories)

    def _note_started(self, party: PartySpec, directories: tuple[Path, ...]) -> None:
        container = None
        with contextlib.suppress(StartFailed):  # its AppImage may be gone since
            container = layout.template_of(party).containers[0]
        self._started[party.key] = _Run(directories, container)
        self._half_started.pop(party.key, None)

    def _release(self, key: PartyKey) -> None:
        self._ports.release([key])
        self._slots.free([key])
        self._half_started.pop(key, None)
        if (run := self._started.pop(key, None)) is not None:
            for directory in run.directories:
                self._shim.forget(_name(directory))


class _Run(Struct, frozen=True):
    """A party that was started: its replicas' directories and, to explain a failure, what they run."""

    directories: tuple[Path, ...]
    container: Container | None


def _name(directory: Path) -> str:
    """What the shim knows a run by: its directory below the runs."""
    return "/".join(directory.parts[-3:])


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
    if container is not None and container.config_volume_mounts:
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
