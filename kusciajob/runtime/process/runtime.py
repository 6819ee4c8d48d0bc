"""Runs each party as a process group on this machine. The shim, which outlives the server, owns the processes."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from kusciajob.contracts import (
    Arrival,
    ConfigFile,
    DomainFacts,
    DomainSource,
    ExitResult,
    Node,
    OutputPiece,
    OutputStream,
    PartyKey,
    PartyPreview,
    PartySpec,
    StartFailed,
)
from kusciajob.model.appimage import MAX_REPLICAS, Container, DeployTemplate
from kusciajob.model.status import Endpoint
from kusciajob.runtime import output_files
from kusciajob.runtime.directories import replica_name
from kusciajob.runtime.file_work import FileWork
from kusciajob.runtime.machine import this_machine
from kusciajob.runtime.process import layout, run_directories
from kusciajob.runtime.process.exits import judge
from kusciajob.runtime.process.ports import PortPool
from kusciajob.runtime.process.shim_client import ShimClient, ShimError
from kusciajob.runtime.rendering import port_of
from kusciajob.runtime.together import all_done, first_failure
from kusciajob.users import User, Users

logger = logging.getLogger(__name__)


class ProcessRuntime:
    """A Runtime and OutputSource. It keeps a party's files below `<directory>/runs/<party key>`."""

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
        self._file_work = FileWork()
        self._shim = ShimClient(directory)
        self._connecting = asyncio.Lock()
        self._is_connected = False
        self._parties: dict[PartyKey, _Party] = {}
        """All of which anything is kept, until the end of each replica is known; only `_release` takes one out."""

    @property
    def failing(self) -> asyncio.Event:
        return self._shim.failing

    async def open(self) -> None:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._users:
            self._runs.chmod(layout.PASSAGE)

    def preview(self, party: PartySpec) -> PartyPreview:
        """See Previewer."""
        return layout.preview(
            party,
            path=self._path,
            facts=self._facts_of(party.party.domain_id),
            strict_templates=self._strict_templates,
            user=layout.user_of(party, self._users) if self._users else None,
            otlp_endpoint=self._otlp_endpoint,
        )

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """See Previewer."""
        return layout.config(
            party,
            path=self._path,
            facts=self._facts_of(party.party.domain_id),
            user=layout.user_of(party, self._users) if self._users else None,
            otlp_endpoint=self._otlp_endpoint,
        )

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return list(map(_ports_of, map(layout.template_of, parties)))

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        templates = {party.key: layout.template_of(party) for party in parties}
        given = self._ports.take([_ports_of(template) for template in templates.values()])
        for key, ports in zip(templates, given, strict=True):
            self._party(key).ports.update(ports)
        return list(map(partial(layout.endpoints_of, host=self._host), templates.values(), given))

    async def attach(self, party: PartySpec) -> None:
        own = self._note(party, self._directories(party.key))
        own.ports.update(map(port_of, party.endpoints[party.key.party]))
        self._ports.reserve(own.ports)
        shim = await self._connected()
        states = [await shim.recover(run_directories.name(directory), directory) for directory in own.directories]
        own.is_started = all(state.state != "unknown" for state in states)

    async def start(self, party: PartySpec) -> None:
        if self._party(party.key).is_started:
            return
        # Completed even if this is cancelled: else it could create again what `remove` has just deleted.
        user = layout.user_of(party, self._users) if self._users else None
        programs = await self._file_work.do(partial(self._prepare, party, user))
        try:
            shim = await self._connected()
            own = self._note(party, tuple(programs))
            # Replicas that an earlier server has started are not started again: the shim answers their state.
            await all_done(self._start_program(shim, *entry, user) for entry in programs.items())
        except ShimError as error:
            raise StartFailed("the program could not be started", detail=str(error)) from None
        own.is_started = True

    def _prepare(self, party: PartySpec, user: User | None) -> dict[Path, layout.Program]:
        """The program of each replica, by its directory. All directories are made before anything starts."""
        template = layout.template_of(party)
        if _ports_of(template) != len(party.endpoints[party.key.party]):
            raise StartFailed("its AppImage was changed while the party was being started: restart the job")
        facts = self._facts_of(party.party.domain_id)
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
            run_directories.name(directory),
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
        own = self._parties.get(key)
        if own is None or not own.is_started:
            await self.stop(key)  # some of its replicas may run
            return ExitResult(
                succeeded=False,
                message="lost: nothing is known of its process any more; its directory was removed",
                is_fault=True,
            )
        if len(own.directories) == 1:
            result = await self._wait_program(own.directories[0], own.container)
        else:
            ends = {at: self._wait_program(each, own.container) for at, each in enumerate(own.directories)}
            result = await first_failure(ends, end_all=lambda: self._end_all(own))
        self._release(key)
        return result

    async def _wait_program(self, directory: Path, container: Container | None) -> ExitResult:
        ended = await self._shim.wait(run_directories.name(directory))
        return await self._file_work.do(partial(judge, ended, directory, container))

    async def stop(self, key: PartyKey) -> None:
        if (own := self._parties.get(key)) is not None:
            await self._end_all(own)
        self._release(key)

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        return await this_machine()

    async def owned(self) -> Collection[int]:
        return await asyncio.to_thread(run_directories.numbers, self._runs)

    async def stop_job(self, job: int) -> None:
        own = {key: party for key, party in self._parties.items() if key.job == job}
        runs = {run_directories.name(directory): directory for party in own.values() for directory in party.directories}
        # Runs that an earlier server started are on disk only; runs that deleted their directory are known only here.
        runs |= {
            run_directories.name(directory): directory
            for directory in await asyncio.to_thread(run_directories.unended, self._runs / str(job))
        }
        await asyncio.gather(*(self._end(name, directory) for name, directory in runs.items()))
        for key in own:  # also ports that were allocated for a start that never came
            self._release(key)
        for name in runs:
            self._shim.forget(name)

    async def remove(self, job: int) -> None:
        await asyncio.to_thread(run_directories.delete, self._runs / str(job))

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """See OutputSource."""
        return await asyncio.to_thread(
            output_files.read, self._directory(key, replica) / output_files.NAMES[stream], offset
        )

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """See OutputSource."""
        return await asyncio.to_thread(output_files.arrivals, self._directory(key, replica))

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """See OutputSource."""
        file = self._directory(key, replica) / output_files.NAMES[stream]
        return await asyncio.to_thread(output_files.size, file)

    async def replicas(self, key: PartyKey) -> int:
        """See OutputSource."""
        return len(await asyncio.to_thread(self._directories, key))

    async def close(self) -> None:
        if self._is_connected:
            await self._shim.close()

    async def _connected(self) -> ShimClient:
        """The client of the shim, which is started when it is first needed."""
        async with self._connecting:
            if not self._is_connected:
                await self._shim.connect()
                self._is_connected = True
        return self._shim

    async def _end_all(self, party: "_Party") -> None:
        """End all replicas. If some fail, it raises the first error once all others are done."""
        await all_done(self._end(run_directories.name(directory), directory) for directory in party.directories)

    async def _end(self, key: str, directory: Path) -> None:
        """Return when nothing of a replica is left or can be started any more. Raises ShimError if that is unknown yet.

        Only the party's record on disk is proof. A shim that has replaced a killed one knows no party before it is
        asked to recover it, and for the shim, stopping an unknown party is success.
        """
        shim = await self._connected()
        while (state := await shim.recover(key, directory)).exit is None:
            if state.state == "running":
                await shim.stop(key, grace_seconds=self._stop_grace_seconds)
            elif await self._file_work.do(partial(run_directories.claim, directory)):
                return

    def _directory(self, key: PartyKey, replica: int = 0) -> Path:
        return self._runs / replica_name(key, replica)

    def _directories(self, key: PartyKey) -> tuple[Path, ...]:
        """The directories of the party's replicas, up to the last one on disk."""
        # All are made before one is started; a program can have deleted its own.
        directories = [self._directory(key, replica) for replica in range(MAX_REPLICAS)]
        names = set()
        with contextlib.suppress(OSError):
            names = set(os.listdir(directories[0].parent))
        last = max((at for at, directory in enumerate(directories) if directory.name in names), default=0)
        return tuple(directories[: last + 1])

    def _party(self, key: PartyKey) -> "_Party":
        return self._parties.setdefault(key, _Party())

    def _note(self, party: PartySpec, directories: tuple[Path, ...]) -> "_Party":
        """Note that from now on a replica may run in each of the directories."""
        own = self._party(party.key)
        own.container = None
        with contextlib.suppress(StartFailed):  # its AppImage may be gone since
            own.container = layout.template_of(party).containers[0]
        # Its AppImage may have had more replicas when it was started.
        own.directories = tuple(dict.fromkeys((*directories, *own.directories)))
        return own

    def _release(self, key: PartyKey) -> None:
        """Nothing of the party runs: forget it, and free its ports."""
        if (own := self._parties.pop(key, None)) is not None:
            self._ports.release(own.ports)
            for directory in own.directories:
                self._shim.forget(run_directories.name(directory))


class _Party(Struct):
    """What is kept of a party."""

    ports: set[int] = set()
    directories: tuple[Path, ...] = ()
    """Those of its replicas, once the shim may have been asked to start one."""
    container: Container | None = None
    """What they run, to explain a failure."""
    is_started: bool = False
    """Whether the shim has told that every replica was started."""


def _ports_of(template: DeployTemplate) -> int:
    """How many ports a party needs, with all its replicas."""
    return len(template.containers[0].ports) * template.replicas
