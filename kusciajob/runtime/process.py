"""Runs every party as a process group on this machine, by way of the shim, which outlives the server."""

import asyncio
import errno
import logging
import os
import shutil
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from kusciajob.contracts import ExitResult, OutputPiece, OutputStream, PartyKey, PartySpec, StartFailed
from kusciajob.model.status import Endpoint
from kusciajob.runtime import party as layout
from kusciajob.runtime.blocking import Blocking
from kusciajob.runtime.ports import PortPool
from kusciajob.runtime.shim.records import open_regular
from kusciajob.runtime.shim_client import PartyExit, ShimClient, ShimError
from kusciajob.users import Users

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
        progress_url: Callable[[PartySpec], str],
        output_limit_bytes: int | None = None,
        host: str = "127.0.0.1",
        users: Users | None = None,
    ) -> None:
        self._runs = directory.absolute() / "runs"
        self._domains = domains.absolute()
        self._path = path
        self._progress_url = progress_url
        self._host = host
        self._users = users
        self._stop_grace_seconds = stop_grace_seconds
        self._ports = PortPool(ports)
        self._output_limit_bytes = output_limit_bytes
        self._blocking = Blocking()
        self._shim = ShimClient(directory)
        self._connecting = asyncio.Lock()
        self._is_connected = False
        self._started: set[PartyKey] = set()
        """Parties that the shim has told to have been started."""
        self._may_run: set[PartyKey] = set()
        """Parties that the shim has been, or may have been, asked to start: these too stay until their end is known."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while nothing can be started or stopped."""
        return self._shim.failing

    async def open(self) -> None:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._users:
            self._runs.chmod(layout.PASSAGE)

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return [len(layout.container_of(party, party.key.party).ports) for party in parties]

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        containers = [layout.container_of(party, party.key.party) for party in parties]
        wanted = {party.key: len(container.ports) for party, container in zip(parties, containers, strict=True)}
        given = self._ports.allocate(wanted)
        return [
            layout.endpoints_of(container, given[party.key], self._host)
            for party, container in zip(parties, containers, strict=True)
        ]

    async def attach(self, party: PartySpec) -> None:
        self._ports.reserve(party.key, map(layout.port_of, party.endpoints[party.key.party]))
        self._may_run.add(party.key)
        shim = await self._connected()
        state = await shim.recover(str(party.key), self._directory(party.key))
        if state.state != "unknown":
            self._started.add(party.key)

    async def start(self, party: PartySpec) -> None:
        if party.key in self._started:
            return
        directory = self._directory(party.key)
        user = layout.user_of(party, self._users) if self._users else None
        # Done to its end even when this is cancelled: else it could lay out again what a remove has just deleted.
        program = await self._blocking.do(
            partial(
                layout.prepare,
                party,
                directory,
                domains=self._domains,
                path=self._path,
                progress_url=self._progress_url(party),
                user=user,
            )
        )
        try:
            shim = await self._connected()
            self._may_run.add(party.key)
            await shim.start(
                str(party.key),
                argv=program.argv,
                env=program.env,
                cwd=program.cwd,
                directory=directory,
                output_limit_bytes=self._output_limit_bytes,
                user=(user.uid, user.gid) if user else None,
            )
        except ShimError as error:
            raise StartFailed("the program could not be started", detail=str(error)) from None
        self._started.add(party.key)

    async def wait(self, key: PartyKey) -> ExitResult:
        if key not in self._started:
            self._release(key)
            return ExitResult(
                succeeded=False,
                message="lost: nothing is known of its process any more; its directory was removed",
                is_fault=True,
            )
        ended = await self._shim.wait(str(key))
        if ended.code == 0 and ended.tidy:
            result = ExitResult(succeeded=True)  # mostly there is nothing to look at or to remove
        else:
            result = await self._blocking.do(partial(_judge, ended, self._directory(key)))
        self._release(key)
        return result

    async def stop(self, key: PartyKey) -> None:
        if key in self._may_run:
            await self._end(str(key), self._directory(key))
        self._release(key)

    async def owned(self) -> Collection[int]:
        return await asyncio.to_thread(_numbers, self._runs)

    async def stop_job(self, job: int) -> None:
        own = {str(key): self._directory(key) for key in self._may_run if key.job == job}
        # Also what an earlier server started; and of our own also what has deleted its directory.
        unended = await asyncio.to_thread(_unended, self._runs / str(job))
        parties = own | {"/".join(directory.parts[-3:]): directory for directory in unended}
        await asyncio.gather(*(self._end(key, directory) for key, directory in parties.items()))
        for key in [key for key in self._may_run if key.job == job]:
            self._release(key)
        for text in parties:
            self._shim.forget(text)
        self._ports.release_job(job)  # also what was allocated for a start that never came

    async def remove(self, job: int) -> None:
        await asyncio.to_thread(_delete, self._runs / str(job))

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

    def _directory(self, key: PartyKey) -> Path:
        return self._runs / str(key)

    def _release(self, key: PartyKey) -> None:
        self._ports.release([key])
        self._started.discard(key)
        if key in self._may_run:
            self._may_run.remove(key)
            self._shim.forget(str(key))


def _judge(ended: PartyExit, directory: Path) -> ExitResult:
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
    # What the program wrote is its domain's own.
    return ExitResult(succeeded=False, message=text, detail=_tail(directory / layout.OUTPUT_FILES[OutputStream.STDERR]))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time signal"


def _tail(file: Path) -> str:
    """The last lines of a program's output, at most 2 KiB."""
    try:
        with open(open_regular(str(file), os.O_RDONLY), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def _read(file: Path, offset: int) -> OutputPiece:
    """What follows the offset, less the hole that the limit of output leaves: it would read as NULs.

    Nothing where the program has put something else in the file's place.
    """
    try:
        descriptor = open_regular(str(file), os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO):
            return OutputPiece(offset, b"")
        raise
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
