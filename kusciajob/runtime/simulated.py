"""A runtime without processes, for client developers and benchmarks: a script runs each party."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from kusciajob.clock import pause
from kusciajob.contracts import (
    Arrival,
    Clock,
    ConfigFile,
    ExitResult,
    NoCapacity,
    Node,
    OutputPiece,
    OutputStream,
    PartyKey,
    PartyPreview,
    PartySpec,
    ProgressReport,
    StartFailed,
    WaitReport,
)
from kusciajob.model.status import Endpoint
from kusciajob.runtime.machine import this_machine
from kusciajob.runtime.scripts import Director, Line, Script, script_in

PIECE_BYTES = 64 * 1024


class _Run:
    def __init__(self, result: asyncio.Future[ExitResult]) -> None:
        self.result = result
        self.timers: list[asyncio.TimerHandle] = []

    def end(self, result: ExitResult) -> None:
        for timer in self.timers:
            timer.cancel()
        if not self.result.done():
            self.result.set_result(result)


class _Output:
    """What a party has written, and when."""

    def __init__(self) -> None:
        self.written = {stream: bytearray() for stream in OutputStream}
        self.arrivals: list[Arrival] = []

    def write(self, line: Line, now: float) -> None:
        text = line.text if line.text.endswith("\n") else f"{line.text}\n"
        self.written[line.stream] += text.encode()
        stdout, stderr = (len(self.written[stream]) for stream in (OutputStream.STDOUT, OutputStream.STDERR))
        self.arrivals.append(Arrival(now, stdout, stderr))


class SimulatedRuntime:
    """Runs scripts on the event loop. Nothing outlives the server: after a restart an unfinished party starts again.

    A script is the director's or, without one for a party, in its task's input config.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        on_progress: ProgressReport,
        on_waiting: WaitReport = lambda _key, _text: None,
        director: Director | None = None,
    ) -> None:
        self._clock = clock
        self._on_progress = on_progress
        self._on_waiting = on_waiting
        self._director = director
        self._runs: dict[PartyKey, _Run] = {}
        self._outputs: dict[int, dict[PartyKey, _Output]] = {}
        """By the number of the job."""
        self.held: dict[PartyKey, tuple[PartySpec, Callable[[], None]]] = {}
        """The parties that hold, each with what lets it end."""
        self.lines_written = 0
        self.failing = asyncio.Event()
        """Never set."""

    async def open(self) -> None:
        pass

    def preview(self, party: PartySpec) -> PartyPreview:
        """A script that the start would refuse is refused here too."""
        script = script_in(party)
        if script.start_error:
            raise StartFailed(script.start_error)
        return PartyPreview()

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """None: nothing is executed."""
        return ()

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return [0] * len(parties)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        endpoints: list[tuple[Endpoint, ...]] = []
        for party in parties:
            with suppress(StartFailed):  # the start raises it
                script = self._script_of(party)
                if script.never_scheduled:
                    raise NoCapacity(script.never_scheduled)
                endpoints.append(script.endpoints)
                continue
            endpoints.append(())
        return endpoints

    async def attach(self, party: PartySpec) -> None:
        # A party that was being started is started again; that call raises what is wrong.
        with suppress(StartFailed):
            self._begin(party, self._script_of(party))

    async def start(self, party: PartySpec) -> None:
        if party.key in self._runs:
            return
        script = self._script_of(party)
        if script.waiting:
            self._on_waiting(party.key, script.waiting)
        if script.start_seconds > 0:
            await pause(script.start_seconds, clock=self._clock)
        self._begin(party, script)

    def _script_of(self, party: PartySpec) -> Script:
        """Raises StartFailed for a bad one."""
        told = self._director.script_of(party) if self._director is not None else None
        return told or script_in(party)

    def _begin(self, party: PartySpec, script: Script) -> None:
        if party.key in self._runs:
            return
        if script.start_error:
            raise StartFailed(script.start_error)
        run = self._runs[party.key] = _Run(asyncio.get_running_loop().create_future())
        output = _Output()
        if script.lines or script.message:
            self._outputs.setdefault(party.key.job, {})[party.key] = output

        def write(line: Line) -> None:
            output.write(line, self._clock.now())
            self.lines_written += 1

        def end() -> None:
            if script.message and not run.result.done():
                write(Line(script.message, OutputStream.STDERR))
            run.end(script.result)

        for line in script.lines:
            self._later(run, line.seconds, lambda line=line: write(line))  # type: ignore[misc]
        if script.holds or script.hangs:
            if script.holds:
                self.held[party.key] = party, end
                self._note_hold(party.key)
        elif script.seconds <= 0:
            end()
            return
        else:
            self._later(run, script.seconds, end)
        for number, progress in enumerate(script.progress, start=1):
            delay = script.seconds * number / (len(script.progress) + 1)
            self._later(run, delay, lambda progress=progress: self._on_progress(party.key, progress))  # type: ignore[misc]

    def _later(self, run: _Run, seconds: float, act: Callable[[], None]) -> None:
        if seconds <= 0:
            act()
        else:
            run.timers.append(self._clock.call_later(seconds, act))

    def _note_hold(self, key: PartyKey) -> None:
        if self._director is not None:
            self._director.note_hold(key)

    async def wait(self, key: PartyKey) -> ExitResult:
        run = self._runs.get(key)
        if run is None:
            return ExitResult(succeeded=False, message="never started here", is_fault=True)
        result = run.result.result() if run.result.done() else await asyncio.shield(run.result)
        self._runs.pop(key, None)
        self._let_go(key)
        return result

    async def stop(self, key: PartyKey) -> None:
        run = self._runs.get(key)
        if run is not None:
            run.end(ExitResult(succeeded=False, message="terminated by SIGTERM"))
        self._let_go(key)

    def _let_go(self, key: PartyKey) -> None:
        if self.held and self.held.pop(key, None) is not None:
            self._note_hold(key)

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        return await this_machine()

    async def owned(self) -> Collection[int]:
        return {key.job for key in self._runs}

    async def stop_job(self, job: int) -> None:
        for key in [key for key in self._runs if key.job == job]:
            await self.stop(key)
            self._runs.pop(key, None)

    async def remove(self, job: int) -> None:
        self._outputs.pop(job, None)

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """What the script has had it write by now."""
        return OutputPiece(offset, bytes(self._output(key).written[stream][offset : offset + PIECE_BYTES]))

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """The lines, each with its time."""
        return list(self._output(key).arrivals)

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        return len(self._output(key).written[stream])

    def _output(self, key: PartyKey) -> _Output:
        return self._outputs.get(key.job, {}).get(key) or _NO_OUTPUT

    async def replicas(self, key: PartyKey) -> int:
        return 1

    async def close(self) -> None:
        for run in self._runs.values():
            for timer in run.timers:
                timer.cancel()


_NO_OUTPUT = _Output()


class AnyImage:
    """The simulated runtime accepts every AppImage name."""

    def get(self, name: str) -> None:
        return None
