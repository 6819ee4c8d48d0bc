"""What simulated programs do, and how a task's input config tells it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from kusciajob.contracts import ExitResult, OutputStream, PartyKey, PartySpec, StartFailed
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.job import JobSpec
from kusciajob.model.limits import MAX_PARTIES
from kusciajob.model.status import Endpoint
from kusciajob.runtime import exit_texts

MARK = "simulate"
"""The member of an input config whose value is a script, whatever else the config holds."""
MAX_LIST_BYTES = 256 * 1024
"""How long the text of `progress` and of `parties` may be; what else a config holds is not looked at."""
MAX_STEPS = 1000
"""How many values `progress` may have."""
MAX_SPELLED_BYTES = 64 * 1024
"""Only in a config that is not longer are names looked for that are nearly those of a script."""
MAX_KEPT_CHARACTERS = 16 * 1024
"""What is in a longer config is not kept."""
KEPT_SCRIPTS = 256
_ANYBODYS = frozenset({"parties", "progress", "message", "waiting"})
"""Names that configs of other programs have as well, with values of other kinds."""
_NO_SCRIPT = "task_input_config is no script for the simulated runtime"


class Line(Struct, frozen=True):
    """What a program writes, so many seconds after its begin."""

    text: str
    stream: OutputStream = OutputStream.STDOUT
    seconds: float = 0.0


class Script(Struct, frozen=True):
    """What one party's program does. Default: it succeeds at once.

    `holds`: it ends when it is released. `hangs`: it ends when it is stopped. `is_lost`: its machine ends it, not the
    program. `never_scheduled`: why not. A start takes `start_seconds`, and `waiting` is why.
    """

    seconds: float = 0.0
    exit_code: int = 0
    message: str = ""
    signal: int = 0
    is_lost: bool = False
    holds: bool = False
    hangs: bool = False
    progress: tuple[float, ...] = ()
    lines: tuple[Line, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    start_seconds: float = 0.0
    waiting: str = ""
    never_scheduled: str = ""
    start_error: str = ""

    @property
    def result(self) -> ExitResult:
        """How the program ends. The message takes the place of a program's output."""
        if self.is_lost:
            return ExitResult(succeeded=False, message="its machine was lost", is_fault=True, detail=self.message)
        code = exit_texts.SIGNALLED + self.signal if self.signal else self.exit_code
        text = exit_texts.of_code(code) if self.signal else f"exit code {code}" if code else ""
        return ExitResult(succeeded=not code, message=text, detail=self.message, exit_code=code)


NOTHING_SCRIPTED = Script()


class Director(Protocol):
    """Who says what programs do, whatever their tasks' input configs say."""

    def script_of(self, party: PartySpec) -> Script | None:
        """The script of a party; None: its input config has it."""

    def note_hold(self, key: PartyKey) -> None:
        """A party holds, or does no more."""


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


class TaskScript(Struct, frozen=True, forbid_unknown_fields=True):
    """What task_input_config may hold, as JSON: below the name `simulate`, or by itself. Default: succeed at once.

    `seconds` is how long each party runs, `parties` maps domain ids to what they do instead, `progress` lists values
    (0 to 1) reported at equal distances over the run, `start_error` makes the start itself fail with that text.
    A start takes `start_seconds`, and `waiting` is why: what the task is told meanwhile. `stdout` and `stderr` are
    what each party writes at its begin, and `endpoints` maps names of ports to addresses.
    """

    seconds: float = 0.0
    exit_code: int = 0
    message: str = ""
    parties: dict[str, PartyScript] = {}
    progress: tuple[float, ...] = ()
    start_error: str = ""
    start_seconds: float = 0.0
    waiting: str = ""
    stdout: str = ""
    stderr: str = ""
    endpoints: dict[str, str] = {}

    def of(self, party: PartySpec) -> Script:
        """The script of one party; the first one reports the task's progress."""
        domain = party.party.domain_id
        own = self.parties.get(domain) or PartyScript(self.exit_code, self.message)
        written = ((self.stdout, OutputStream.STDOUT), (self.stderr, OutputStream.STDERR))
        return Script(
            seconds=self.seconds if own.seconds is None else own.seconds,
            exit_code=own.exit_code,
            message=own.message,
            progress=self.progress if party.key.party == 0 else (),
            lines=tuple(Line(text, stream) for text, stream in written if text),
            endpoints=tuple(Endpoint(name, "Cluster", "HTTP", address) for name, address in self.endpoints.items()),
            start_seconds=self.start_seconds if own.start_seconds is None else own.start_seconds,
            waiting=own.waiting or self.waiting,
            start_error=self.start_error,
        )


_EMPTY = TaskScript()


_MEMBERS = TaskScript.__struct_fields__
_Bare = msgspec.defstruct("_Bare", [(name, Raw, Raw()) for name in _MEMBERS], forbid_unknown_fields=True)
"""A config all of whose members could be a script's, which are left as they are."""


class _Marked(Struct):
    """A config with a script; the rest of it is not looked at."""

    simulate: Raw = Raw()


def read_script(config: str) -> TaskScript:
    """The script in a task's input config; one that does nothing where there is none. Raises StartFailed for a bad one.

    A config of which some members are a script's and others no program's that is known here is somebody else's.
    """
    return _kept_script(config) if len(config) <= MAX_KEPT_CHARACTERS else _script_of(config)


def _script_of(config: str) -> TaskScript:
    if not config.lstrip().startswith("{"):
        return _EMPTY
    try:
        if marked := bytes(msgspec.json.decode(config, type=_Marked).simulate):
            return _convert(marked)
        try:
            bare = msgspec.json.decode(config, type=_Bare)
        except msgspec.ValidationError:
            _check_spelling(config)
            return _EMPTY
        given = {name for name in _MEMBERS if bytes(getattr(bare, name))}
        if given <= _ANYBODYS and not _is_script(bare):
            return _EMPTY
        return _convert(config.encode())
    except RecursionError:
        raise StartFailed(f"{_NO_SCRIPT}: nested too deeply") from None
    except msgspec.DecodeError:
        return _EMPTY


_kept_script = lru_cache(maxsize=KEPT_SCRIPTS)(_script_of)
"""The parties of a task have one config, looked at when the job is created, and when each is placed and started."""


def _is_script(bare: Struct) -> bool:
    """Whether the members have the kinds of values that a script's have."""
    kinds = {"parties": b"{", "progress": b"[", "message": b'"', "waiting": b'"'}
    return all(bytes(getattr(bare, name)).lstrip()[:1] in (b"", kind) for name, kind in kinds.items())


def _convert(text: bytes) -> TaskScript:
    try:
        bare = msgspec.json.decode(text, type=_Bare)
        for name in ("progress", "parties"):
            if (size := len(bytes(getattr(bare, name)))) > MAX_LIST_BYTES:
                raise StartFailed(f"{_NO_SCRIPT}: {name} has {size:,} bytes, at most {MAX_LIST_BYTES:,} are allowed")
        script = msgspec.json.decode(text, type=TaskScript)
    except msgspec.ValidationError as error:
        raise StartFailed(f"{_NO_SCRIPT}: {error}") from None
    for name, count, most in (
        ("progress", len(script.progress), MAX_STEPS),
        ("parties", len(script.parties), MAX_PARTIES),
    ):
        if count > most:
            raise StartFailed(f"{_NO_SCRIPT}: {name} has {count:,} values, at most {most:,} are allowed")
    return script


def _check_spelling(config: str) -> None:
    """StartFailed if every member has the name of a script's, or nearly so."""
    if len(config) > MAX_SPELLED_BYTES:
        return
    from difflib import get_close_matches  # noqa: PLC0415  # most servers never need it

    members: Mapping[str, Any] = msgspec.json.decode(config, type=dict[str, Raw])
    nearest = {name: get_close_matches(name, _MEMBERS, n=1, cutoff=0.8) for name in members if name not in _MEMBERS}
    if nearest and all(nearest.values()):
        told = ", ".join(f'"{name}" (is it "{near[0]}"?)' for name, near in nearest.items())
        raise StartFailed(
            f"{_NO_SCRIPT}: it knows no {told}; a config that is meant for another program can have any "
            f'member that no script has, and a script can be marked as one: {{"{MARK}": {{…}}}}'
        )


def script_in(party: PartySpec) -> Script:
    """The script in a party's input config. Raises StartFailed for a bad one."""
    config = party.task.task_input_config
    if not config:
        return NOTHING_SCRIPTED
    found = read_script(config)
    return NOTHING_SCRIPTED if found is _EMPTY else found.of(party)


def check_scripts(spec: JobSpec) -> None:
    """Raise InvalidJob if a task's input config is a bad script, so that nobody waits for what it does not do."""
    problems: list[Problem] = []
    for index, task in enumerate(spec.tasks):
        try:
            if task.task_input_config:
                read_script(task.task_input_config)
        except StartFailed as error:
            problems.append(Problem(f"tasks[{index}].task_input_config", f"tasks[{index}]: {error}"))
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems), problems=problems)
