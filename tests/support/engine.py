"""An engine in memory that outlives runtimes: it runs workloads as programs of this machine, as hostile as wanted."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import UTC, datetime

from kusciajob.contracts import Node, OutputStream, StartFailed
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece, Phase, Ref, Sighting, Workload

NODE = Node("memory", "127.0.0.1")


class _Hosted:
    def __init__(self, workload: Workload, uid: str) -> None:
        self.workload = workload
        self.ref = Ref(**{**{f: getattr(workload.ref, f) for f in workload.ref.__struct_fields__}, "uid": uid})
        self.process: asyncio.subprocess.Process | None = None
        self.sighting = Sighting(self.ref, Phase.WAITING, "created")
        self.output: list[LogPiece] = []
        self.is_over = asyncio.Event()
        self.news = asyncio.Event()


class MemoryEngine:
    """All that exists on the engine; each runtime gets a connection of its own."""

    def __init__(self) -> None:
        self.workloads: dict[str, _Hosted] = {}
        self.is_away = False
        self.begun: list[str] = []
        """The name of each workload that was started, once for each start."""
        self.connections: list[MemoryConnection] = []
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self) -> "MemoryConnection":
        """For another runtime."""
        self.connections.append(MemoryConnection(self))
        return self.connections[-1]

    def tell(self, hosted: _Hosted, sighting: Sighting) -> None:
        hosted.sighting = sighting
        for connection in self.connections:
            connection.hear(sighting)

    def vanish(self, name: str) -> None:
        """Somebody removes a workload by hand."""
        hosted = self.workloads.pop(name)
        if hosted.process and hosted.process.returncode is None:
            hosted.process.kill()
        hosted.is_over.set()
        hosted.news.set()
        self.tell(hosted, Sighting(hosted.ref, Phase.GONE, "it was removed by hand"))

    def create(self, workload: Workload) -> str:
        if workload.ref.name not in self.workloads:
            self._count += 1
            self.workloads[workload.ref.name] = hosted = _Hosted(workload, f"uid-{self._count}")
            self.tell(hosted, hosted.sighting)
        return self.workloads[workload.ref.name].ref.uid

    async def release(self, hosted: _Hosted) -> None:
        if hosted.process is not None:
            return
        program = hosted.workload.programs[0]
        self.begun.append(hosted.ref.name)
        hosted.process = await asyncio.create_subprocess_exec(
            *program.command,
            *program.args,
            env={"PATH": "/usr/bin:/bin", **program.env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        task = asyncio.create_task(self._follow(hosted, hosted.process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, hosted: _Hosted, process: asyncio.subprocess.Process) -> None:
        self.tell(hosted, Sighting(hosted.ref, Phase.RUNNING, node=NODE))
        assert process.stdout
        assert process.stderr
        await asyncio.gather(
            self._read(hosted, OutputStream.STDOUT, process.stdout),
            self._read(hosted, OutputStream.STDERR, process.stderr),
        )
        code = await process.wait()
        hosted.is_over.set()
        hosted.news.set()
        if hosted.ref.name in self.workloads:
            code = code if code >= 0 else 128 - code
            ended = Sighting(hosted.ref, Phase.ENDED, node=NODE, exit_code=code, ended_at=time.time())
            self.tell(hosted, ended)

    async def _read(self, hosted: _Hosted, stream: OutputStream, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            # Several lines with one time, as engines have them.
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4] + "0000Z"
            hosted.output.append(LogPiece(stream, now, line))
            hosted.news.set()

    async def kill_all(self) -> None:
        for name in list(self.workloads):
            self.vanish(name)
        await asyncio.gather(*self._tasks)


class MemoryConnection:
    """An Engine: what one server has of the engine."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._sight: Callable[[Sighting], None] | None = None
        self._owner = ""
        self.is_cut = False
        self.failing = asyncio.Event()

    def hear(self, sighting: Sighting) -> None:
        hosted = self._engine.workloads.get(sighting.ref.name)
        is_ours = hosted is None or hosted.workload.owner == self._owner
        if self._sight and not self.is_cut and is_ours:
            self._sight(sighting)

    def _ask(self) -> None:
        if self.is_cut or self._engine.is_away:
            raise EngineUnavailable("the engine is away")

    async def open(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        self._owner, self._sight = owner, sight
        for hosted in self._engine.workloads.values():
            if hosted.workload.owner == owner:
                sight(hosted.sighting)

    async def seen_all(self) -> None:
        pass

    def host_of(self, name: str, domain: DomainSettings) -> str:
        return f"{name}.{domain.domain_id}"

    async def create(self, workload: Workload) -> str:
        self._ask()
        return self._engine.create(workload)

    async def release(self, ref: Ref) -> None:
        self._ask()
        if ref.name not in self._engine.workloads:
            raise StartFailed(f"{ref.name} is not there any more")
        await self._engine.release(self._engine.workloads[ref.name])

    async def end(self, ref: Ref, grace_seconds: float) -> None:
        self._ask()
        hosted = self._engine.workloads.get(ref.name)
        if hosted is None or hosted.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            hosted.process.terminate()
        try:
            await asyncio.wait_for(hosted.is_over.wait(), grace_seconds)
        except TimeoutError:
            hosted.process.kill()
            await hosted.is_over.wait()

    async def remove(self, ref: Ref) -> None:
        self._ask()
        if ref.name in self._engine.workloads:
            self._engine.vanish(ref.name)

    async def logs(
        self, ref: Ref, since: Mapping[OutputStream, str], *, is_continued: bool = False
    ) -> AsyncIterator[LogPiece]:
        hosted = self._engine.workloads.get(ref.name)
        told = 0
        while hosted is not None:
            self._ask()
            hosted.news.clear()
            for piece in hosted.output[told:]:
                told += 1
                if piece.time >= since.get(piece.stream, ""):
                    yield piece
            if hosted.is_over.is_set() and told == len(hosted.output):
                return
            await hosted.news.wait()

    async def owned(self) -> Collection[int]:
        self._ask()
        own = (hosted for hosted in self._engine.workloads.values() if hosted.workload.owner == self._owner)
        return {hosted.ref.key.job for hosted in own}

    async def remove_job(self, job: int, grace_seconds: float) -> None:
        for hosted in list(self._engine.workloads.values()):
            if hosted.ref.key.job == job and hosted.workload.owner == self._owner:
                self._engine.vanish(hosted.ref.name)

    async def close(self) -> None:
        self.is_cut = True
