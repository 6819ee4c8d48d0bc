"""A runtime without processes, for client developers and benchmarks: a script in its input config runs each task."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from kusciajob.contracts import (
    Arrival,
    Clock,
    ConfigFile,
    ExitResult,
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
from kusciajob.model.limits import MAX_PARTIES
from kusciajob.model.status import Endpoint
from kusciajob.runtime.machine import this_machine


class PartyScript(Struct, frozen=True, forbid_unknown_fields=True):
    """How one party's program ends."""

    exit_code: int = 0
    message: str = ""
    seconds: float | None = None
    """Instead of the task's."""
    start_seconds: float | None = None
    """Instead of the task's."""
    waiting: str = ""
    """Instead of the task's; without any, the task's."""


class TaskScript(Struct, frozen=True):
    """What task_input_config may hold, as JSON; other members are ignored. Default: succeed at once.

    `seconds` is how long each party runs, `parties` maps domain ids to what they do instead, `progress` lists values
    (0 to 1) reported at equal distances over the run, `start_error` makes the start itself fail with that text.
    A start takes `start_seconds`, and `waiting` is why: what the task is told meanwhile.
    """

    seconds: float = 0.0
    exit_code: int = 0
    message: str = ""
    parties: dict[str, PartyScript] = {}
    progress: tuple[float, ...] = ()
    start_error: str = ""
    start_seconds: float = 0.0
    waiting: str = ""


_NOTHING_SCRIPTED = TaskScript()
MAX_LIST_BYTES = 256 * 1024
"""How long the text of `progress` and of `parties` may be; what else a config holds is not looked at."""
MAX_STEPS = 1000
"""How many values `progress` may have."""


def read_script(config: str) -> TaskScript:
    """The script in a task's input config; none if that is no JSON object. Raises StartFailed for a bad script."""
    if not config.lstrip().startswith("{"):
        return _NOTHING_SCRIPTED
    try:
        if len(config) > MAX_LIST_BYTES:
            _check_sizes(msgspec.json.decode(config, type=_Lists))
        return _check_counts(msgspec.json.decode(config, type=TaskScript))
    except msgspec.ValidationError as error:
        raise StartFailed(f"task_input_config is no script for the simulated runtime: {error}") from None
    except RecursionError:
        raise StartFailed("task_input_config is no script for the simulated runtime: nested too deeply") from None
    except msgspec.DecodeError:
        return _NOTHING_SCRIPTED


def _script_of(party: PartySpec) -> TaskScript:
    """The script of a party. Raises StartFailed for a bad script."""
    config = party.task.task_input_config
    return read_script(config) if config else _NOTHING_SCRIPTED


def _own(script: TaskScript, party: PartySpec) -> PartyScript:
    return script.parties.get(party.party.domain_id, PartyScript(script.exit_code, script.message))


class _Lists(Struct, frozen=True):
    """A script whose lists are left as they are."""

    parties: msgspec.Raw = msgspec.Raw()
    progress: msgspec.Raw = msgspec.Raw()


def _check_sizes(lists: _Lists) -> None:
    for name, text in (("progress", lists.progress), ("parties", lists.parties)):
        if len(bytes(text)) > MAX_LIST_BYTES:
            raise StartFailed(
                f"task_input_config is no script for the simulated runtime: {name} has {len(bytes(text)):,} bytes, "
                f"at most {MAX_LIST_BYTES:,} are allowed"
            )


def _check_counts(script: TaskScript) -> TaskScript:
    for name, count, most in (
        ("progress", len(script.progress), MAX_STEPS),
        ("parties", len(script.parties), MAX_PARTIES),
    ):
        if count > most:
            raise StartFailed(
                f"task_input_config is no script for the simulated runtime: {name} has {count:,} values, "
                f"at most {most:,} are allowed"
            )
    return script


class _Run:
    def __init__(self, result: asyncio.Future[ExitResult]) -> None:
        self.result = result
        self.timers: list[asyncio.TimerHandle] = []

    def end(self, result: ExitResult) -> None:
        for timer in self.timers:
            timer.cancel()
        if not self.result.done():
            self.result.set_result(result)


class SimulatedRuntime:
    """Runs scripts on the event loop. Nothing outlives the server: after a restart an unfinished party starts again."""

    def __init__(
        self, *, clock: Clock, on_progress: ProgressReport, on_waiting: WaitReport = lambda _key, _text: None
    ) -> None:
        self._clock = clock
        self._on_progress = on_progress
        self._on_waiting = on_waiting
        self._runs: dict[PartyKey, _Run] = {}
        self.failing = asyncio.Event()
        """Never set."""

    async def open(self) -> None:
        pass

    def preview(self, party: PartySpec) -> PartyPreview:
        """A script that the start would refuse is refused here too."""
        script = _script_of(party)
        if script.start_error:
            raise StartFailed(script.start_error)
        return PartyPreview()

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """None: nothing is executed."""
        return ()

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        return [0] * len(parties)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        return [()] * len(parties)

    async def attach(self, party: PartySpec) -> None:
        # A party that was being started is started again; that call raises what is wrong.
        with suppress(StartFailed):
            self._begin(party, _script_of(party))

    async def start(self, party: PartySpec) -> None:
        if party.key in self._runs:
            return
        script = _script_of(party)
        own = _own(script, party)
        if waiting := own.waiting or script.waiting:
            self._on_waiting(party.key, waiting)
        await self._pause(script.start_seconds if own.start_seconds is None else own.start_seconds)
        self._begin(party, script)

    def _begin(self, party: PartySpec, script: TaskScript) -> None:
        if party.key in self._runs:
            return
        if script.start_error:
            raise StartFailed(script.start_error)
        own = _own(script, party)
        seconds = script.seconds if own.seconds is None else own.seconds
        run = self._runs[party.key] = _Run(asyncio.get_running_loop().create_future())
        # The scripted message takes the place of a program's output.
        text = f"exit code {own.exit_code}" if own.exit_code else ""
        result = ExitResult(succeeded=not own.exit_code, message=text, detail=own.message, exit_code=own.exit_code)
        if seconds <= 0:
            run.end(result)
            return
        run.timers.append(self._clock.call_later(seconds, lambda: run.end(result)))
        if party.key.party == 0:
            self._script_progress(run, party.key, script.progress, seconds)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        over = asyncio.Event()
        timer = self._clock.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def _script_progress(self, run: _Run, key: PartyKey, steps: Sequence[float], seconds: float) -> None:
        for number, progress in enumerate(steps, start=1):
            delay = seconds * number / (len(steps) + 1)
            run.timers.append(
                self._clock.call_later(delay, lambda progress=progress: self._on_progress(key, progress))  # type: ignore[misc]
            )

    async def wait(self, key: PartyKey) -> ExitResult:
        run = self._runs.get(key)
        if run is None:
            return ExitResult(succeeded=False, message="never started here", is_fault=True)
        result = run.result.result() if run.result.done() else await asyncio.shield(run.result)
        self._runs.pop(key, None)
        return result

    async def stop(self, key: PartyKey) -> None:
        run = self._runs.get(key)
        if run is not None:
            run.end(ExitResult(succeeded=False, message="terminated by SIGTERM"))

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        return await this_machine()

    async def owned(self) -> Collection[int]:
        return {key.job for key in self._runs}

    async def stop_job(self, job: int) -> None:
        for key in [key for key in self._runs if key.job == job]:
            await self.stop(key)
            self._runs.pop(key, None)

    async def remove(self, job: int) -> None:
        pass

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """A script writes nothing."""
        return OutputPiece(offset, b"")

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """A script writes nothing."""
        return ()

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """A script writes nothing."""
        return 0

    async def replicas(self, key: PartyKey) -> int:
        return 1

    async def close(self) -> None:
        for run in self._runs.values():
            for timer in run.timers:
                timer.cancel()


class AnyImage:
    """The simulated runtime accepts every AppImage name."""

    def get(self, name: str) -> None:
        return None
