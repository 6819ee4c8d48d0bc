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

import msgspec
from msgspec import Struct

from kusciajob.contracts import (
    DomainFacts,
    DomainSource,
    ExitResult,
    OutputPiece,
    OutputStream,
    PartyKey,
    PartySpec,
    StartFailed,
)
from kusciajob.model.appimage import MAX_REPLICAS, Container, DeployTemplate
from kusciajob.model.status import Endpoint
from kusciajob.runtime.process import layout, output_files
from kusciajob.runtime.process.blocking import Blocking
from kusciajob.runtime.process.ports import PortPool
from kusciajob.runtime.process.shim_client import PartyExit, ShimClient, ShimError
from kusciajob.runtime.rendering import port_of
from kusciajob.users import User, Users

logger = logging.getLogger(__name__)

SIGNALLED = 128
"""What a signal's number is added to for an exit code."""


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
        progress_url: Callable[[PartySpec], str],
        output_limit_bytes: int | None = None,
        host: str = "127.0.0.1",
        users: Users | None = None,
        facts_of: DomainSource = lambda _: DomainFacts(),
        strict_templates: bool = False,
        max_restarts: int = 0,
        restart_pause_seconds: float = 0.0,
        otlp_endpoint: str = "",
    ) -> None:
        self._runs = directory.absolute() / "runs"
        self._domains = domains.absolute()
        self._path = path
        self._progress_url = progress_url
        self._host = host
        self._users = users
        self._facts_of = facts_of
        self._strict_templates = strict_templates
        self._max_restarts = max_restarts
        self._restart_pause_seconds = restart_pause_seconds
        self._otlp_endpoint = otlp_endpoint
        self._stop_grace_seconds = stop_grace_seconds
        self._ports = PortPool(ports)
        self._output_limit_bytes = output_limit_bytes
        self._blocking = Blocking()
        self._shim = ShimClient(directory)
        self._connecting = asyncio.Lock()
        self._is_connected = False
        self._started: set[PartyKey] = set()
        """Parties of which the shim has told that every replica was started."""
        self._may_run: dict[PartyKey, _Run] = {}
        """Parties of which the shim has been, or may have been, asked to start a replica: these too stay until the end
        of each replica is known."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while nothing can be started or stopped."""
        return self._shim.failing

    async def open(self) -> None:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._users:
            self._runs.chmod(layout.PASSAGE)

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return list(map(_ports_of, map(layout.template_of, parties)))

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        templates = {party.key: layout.template_of(party) for party in parties}
        given = self._ports.allocate({key: _ports_of(template) for key, template in templates.items()})
        return [layout.endpoints_of(template, given[key], self._host) for key, template in templates.items()]

    async def attach(self, party: PartySpec) -> None:
        self._ports.reserve(party.key, map(port_of, party.endpoints[party.key.party]))
        run = self._note(party, self._directories(party.key))
        shim = await self._connected()
        states = [await shim.recover(_name(directory), directory) for directory in run.directories]
        if all(state.state != "unknown" for state in states):
            self._started.add(party.key)

    async def start(self, party: PartySpec) -> None:
        if party.key in self._started:
            return
        # Done to its end even when this is cancelled: else it could lay out again what a remove has just deleted.
        user = layout.user_of(party, self._users) if self._users else None
        programs = await self._blocking.do(partial(self._prepare, party, user))
        try:
            shim = await self._connected()
            self._note(party, tuple(programs))
            # Those that ran already, under an earlier server, are not started again: the shim answers their state.
            starts = [self._start_program(shim, *entry, user) for entry in programs.items()]
            # Each to its end: none may still be on its way when the party is stopped because of another.
            for failure in await asyncio.gather(*starts, return_exceptions=True):
                if failure is not None:
                    raise failure
        except ShimError as error:
            raise StartFailed("the program could not be started", detail=str(error)) from None
        self._started.add(party.key)

    def _prepare(self, party: PartySpec, user: User | None) -> dict[Path, layout.Program]:
        """What to execute as each replica, by its directory. All of these are there before anything is started."""
        template = layout.template_of(party)
        if _ports_of(template) != len(party.endpoints[party.key.party]):
            raise StartFailed("its AppImage was changed while the party was being started: restart the job")
        facts = self._facts_of(party.spec.tasks[party.key.task].parties[party.key.party].domain_id)
        programs = {}
        for replica in range(template.replicas):
            directory = self._directory(party.key, replica)
            programs[directory] = layout.prepare(
                party,
                directory,
                domains=self._domains,
                path=self._path,
                progress_url=self._progress_url(party),
                otlp_endpoint=self._otlp_endpoint,
                facts=facts,
                strict_templates=self._strict_templates,
                replica=replica,
                user=user,
            )
        return programs

    async def _start_program(
        self, shim: ShimClient, directory: Path, program: layout.Program, user: User | None
    ) -> None:
        await shim.start(
            _name(directory),
            argv=program.argv,
            env=program.env,
            cwd=program.cwd,
            directory=directory,
            output_limit_bytes=self._output_limit_bytes,
            user=(user.uid, user.gid) if user else None,
            max_restarts=self._max_restarts if program.restarts_on_failure else None,
            pause_seconds=self._restart_pause_seconds,
            notice=program.notice,
        )

    async def wait(self, key: PartyKey) -> ExitResult:
        if key not in self._started:
            await self.stop(key)  # of its replicas some may run
            return ExitResult(
                succeeded=False,
                message="lost: nothing is known of its process any more; its directory was removed",
                is_fault=True,
            )
        run = self._may_run[key]
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
                        await self._end_all(run)
                        result = wait.result()
                        return msgspec.structs.replace(result, message=f"replica {replica}: {result.message}")
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return ExitResult(succeeded=True, exit_code=0)

    async def _wait_program(self, directory: Path, container: Container | None) -> ExitResult:
        ended = await self._shim.wait(_name(directory))
        return await self._blocking.do(partial(_judge, ended, directory, container))

    async def stop(self, key: PartyKey) -> None:
        if (run := self._may_run.get(key)) is not None:
            await self._end_all(run)
        self._release(key)

    async def owned(self) -> Collection[int]:
        return await asyncio.to_thread(_numbers, self._runs)

    async def stop_job(self, job: int) -> None:
        runs = [run for key, run in self._may_run.items() if key.job == job]
        own = {_name(directory): directory for run in runs for directory in run.directories}
        # Also what an earlier server started; and of our own also what has deleted its directory.
        unended = await asyncio.to_thread(_unended, self._runs / str(job))
        parties = own | {_name(directory): directory for directory in unended}
        await asyncio.gather(*(self._end(key, directory) for key, directory in parties.items()))
        for key in [key for key in self._may_run if key.job == job]:
            self._release(key)
        for text in parties:
            self._shim.forget(text)
        self._ports.release_job(job)  # also what was allocated for a start that never came

    async def remove(self, job: int) -> None:
        await asyncio.to_thread(_delete, self._runs / str(job))

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """See OutputSource."""
        return await asyncio.to_thread(
            output_files.read, self._directory(key, replica) / layout.OUTPUT_FILES[stream], offset
        )

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

    async def _end_all(self, run: "_Run") -> None:
        """The same of each replica. The first error is raised when nothing of this is under way any more."""
        ends = [self._end(_name(directory), directory) for directory in run.directories]
        for failure in await asyncio.gather(*ends, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _end(self, key: str, directory: Path) -> None:
        """Return when nothing of a party is left and nothing of it can be started any more. ShimError: not known yet.

        Only the party's record tells: a shim that has just replaced a killed one knows nothing of a party before it is
        asked to recover it, and stopping what it does not know is success.
        """
        shim = await self._connected()
        while (state := await shim.recover(key, directory)).exit is None:
            if state.state == "running":
                await shim.stop(key, grace_seconds=self._stop_grace_seconds)
            elif await self._blocking.do(partial(_claim, directory)):
                return

    def _directory(self, key: PartyKey, replica: int = 0) -> Path:
        return self._runs / layout.replica_name(key, replica)

    def _directories(self, key: PartyKey) -> tuple[Path, ...]:
        """Those of the party's replicas, up to the last one that is on disk."""
        # All are laid out before one is started; a program can have deleted its own.
        directories = [self._directory(key, replica) for replica in range(MAX_REPLICAS)]
        names = set()
        with contextlib.suppress(OSError):
            names = set(os.listdir(directories[0].parent))
        last = max((at for at, directory in enumerate(directories) if directory.name in names), default=0)
        return tuple(directories[: last + 1])

    def _note(self, party: PartySpec, directories: tuple[Path, ...]) -> "_Run":
        container = None
        with contextlib.suppress(StartFailed):  # its AppImage may be gone since
            container = layout.template_of(party).containers[0]
        known = self._may_run.get(party.key)
        if known is not None:  # its AppImage may have had more replicas when it was started
            directories = tuple(dict.fromkeys((*directories, *known.directories)))
        run = self._may_run[party.key] = _Run(directories, container)
        return run

    def _release(self, key: PartyKey) -> None:
        self._ports.release([key])
        self._started.discard(key)
        if (run := self._may_run.pop(key, None)) is not None:
            for directory in run.directories:
                self._shim.forget(_name(directory))


class _Run(Struct, frozen=True):
    """A party that was started: its replicas' directories and, to explain a failure, what they run."""

    directories: tuple[Path, ...]
    container: Container | None


def _name(directory: Path) -> str:
    """What the shim knows a run by: its directory below the runs."""
    return "/".join(directory.parts[-3:])


def _ports_of(template: DeployTemplate) -> int:
    """How many ports a party needs, with all its replicas."""
    return len(template.containers[0].ports) * template.replicas


def _judge(ended: PartyExit, directory: Path, container: Container | None) -> ExitResult:
    """The result of a run; its temporary files, which may hold data in the clear, are deleted."""
    _empty(directory / layout.TEMPORARY)
    if ended.lost:
        text = "lost: its process was found dead or without supervision after the shim had died"
        return ExitResult(succeeded=False, message=text, is_fault=True)
    code = ended.code if ended.signal is None else SIGNALLED + ended.signal
    if code == 0:
        return ExitResult(succeeded=True, exit_code=0, ended_at=ended.ended_at)
    if ended.signal is not None:
        text = f"killed by signal {ended.signal} ({_signal_name(ended.signal)})"
    else:
        text = f"exit code {ended.code}"
    if ended.restarts:
        text += f", after {ended.restarts} restarts" if ended.restarts > 1 else ", after a restart"
    # What the program wrote is its domain's own.
    tail = output_files.tail(directory / layout.OUTPUT_FILES[OutputStream.STDERR])
    if container is not None and container.config_volume_mounts:
        text += layout.explain_paths(container, tail)
    return ExitResult(succeeded=False, message=text, detail=tail, exit_code=code, ended_at=ended.ended_at)


def _empty(directory: Path) -> None:
    """Nothing is left in it. One that is empty stays: for a minute after files went, ext4 is slow to create others."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        if next(entries, None) is None:
            return
    shutil.rmtree(directory, ignore_errors=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time signal"


def _numbers(runs: Path) -> set[int]:
    return {int(entry.name) for entry in runs.iterdir() if entry.name.isdecimal()}


def _claim(directory: Path) -> bool:
    """Keep a party from being started: what an earlier server asked for may still be on its way. False: it was."""
    try:
        os.close(
            os.open(directory / layout.OUTPUT_FILES[OutputStream.STDOUT], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        )
    except FileExistsError:
        return False
    except OSError:
        return True  # without a directory, or room for a file in it, nobody can start it either
    return True


def _delete(directory: Path) -> None:
    """The tree is gone. OSError."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        if directory.exists():
            raise
    except PermissionError:
        # A program may leave directories that nobody may write to; they are its own, and so are ours.
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(directory)


def _unended(job: Path) -> list[Path]:
    """The party directories below a job's that have no record of an exit."""
    return [path for path in job.glob("*/*") if path.is_dir() and not (path / "exit.json").exists()]
