"""The messages of kusciajob.testing.v1, read and checked."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2
from msgspec.structs import replace

from kusciajob._gen.kusciajob.testing.v1 import control_pb2 as pb
from kusciajob.config import Settings
from kusciajob.contracts import OutputStream
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.status import Endpoint
from kusciajob.model.text import listed, shown
from kusciajob.runtime.scripts import MAX_STEPS, Line, Script
from kusciajob.simulation.clock import Mode
from kusciajob.simulation.faults import Fault
from kusciajob.simulation.rules import Rule, Selector
from kusciajob.simulation.traffic import RecordedCall
from kusciajob.wire.v1.durations import of_duration, seconds_of
from kusciajob.wire.v1.summaries import timestamp

MAX_SECONDS = 366 * 86_400.0 * 100
MODES: Mapping[int, Mode] = {
    pb.CLOCK_MODE_STOPPED: Mode.STOPPED,
    pb.CLOCK_MODE_AUTO: Mode.AUTO,
    pb.CLOCK_MODE_MACHINE: Mode.MACHINE,
}
_STATUSES = frozenset(name for name, _ in code_pb2.Code.items())
SETTINGS = (
    "require_approval",
    "max_jobs",
    "max_jobs_per_domain",
    "max_running_parties",
    "max_running_parties_per_domain",
    "job_retention_days",
    "log_retention_events",
    "log_retention_mib",
    "log_retention_hours",
    "audit_days",
    "audit_entries",
)
"""Those that a reset can change."""


class _Problems(list[Problem]):
    def note(self, field: str, text: str) -> None:
        self.append(Problem(field, f"{field} {text}"))

    def check(self) -> None:
        """Raise InvalidJob for all of them."""
        if self:
            raise InvalidJob("; ".join(problem.text for problem in self), problems=self)

    def seconds(self, field: str, message: Duration) -> float:
        """From a Duration that is not negative."""
        self.extend(of_duration(field, message))
        seconds = seconds_of(message)
        if not 0 <= seconds <= MAX_SECONDS:
            self.note(field, f"is {seconds:g} s: it must be from 0 to {MAX_SECONDS:g} s")
        return seconds


def seconds_in(field: str, message: Duration) -> float:
    """The seconds of a field. Raises InvalidJob."""
    problems = _Problems()
    seconds = problems.seconds(field, message)
    problems.check()
    return seconds


def selector_of(message: pb.Selector) -> Selector:
    if message.attempt < 0:
        raise InvalidJob(f"attempt {message.attempt} is below 0: it counts from 1 on, and 0 matches all")
    return Selector(message.job_id, message.task, message.app_image, message.domain, message.role, message.attempt)


def rules_of(messages: Iterable[pb.Rule]) -> list[Rule]:
    """Raises InvalidJob, which tells all that is wrong."""
    problems = _Problems()
    rules = []
    for index, message in enumerate(messages):
        script = _script_of(f"rules[{index}].script", message.script, problems)
        rules.append(Rule(selector_of(message.where), script, message.is_optional))
    problems.check()
    return rules


def _script_of(field: str, message: pb.Script, problems: _Problems) -> Script:
    before = len(problems)
    if not 0 <= message.exit_code <= 255:
        problems.note(f"{field}.exit_code", f"{message.exit_code} is none of 0 to 255")
    if not 0 <= message.signal <= 64:
        problems.note(f"{field}.signal", f"{message.signal} is none of 1 to 64")
    if len(message.progress) > MAX_STEPS or not all(0 <= value <= 1 for value in message.progress):
        problems.note(f"{field}.progress", f"must be at most {MAX_STEPS:,} values from 0 to 1")
    if message.hold and message.hang:
        problems.note(field, "has both hold and hang: only what holds is released")
    ends = [name for name in ("exit_code", "signal", "crash") if getattr(message, name)]
    if len(ends) > 1:
        problems.note(field, f"has {' and '.join(ends)}: a program has one end")
    seconds = problems.seconds(f"{field}.after", message.after)
    start_seconds = problems.seconds(f"{field}.start_after", message.start_after)
    lines = []
    for index, line in enumerate(message.lines):
        place = f"{field}.lines[{index}]"
        stream = line.stream or OutputStream.STDOUT
        if stream not in list(OutputStream):
            problems.note(f"{place}.stream", f"{shown(stream)} is neither stdout nor stderr")
        lines.append((line.text, stream, problems.seconds(f"{place}.after", line.after)))
    if len(problems) > before:
        return Script()
    return Script(
        seconds=seconds,
        exit_code=message.exit_code,
        message=message.message,
        signal=message.signal,
        is_lost=message.crash,
        holds=message.hold,
        hangs=message.hang,
        progress=tuple(message.progress),
        lines=tuple(Line(text, OutputStream(stream), after) for text, stream, after in lines),
        endpoints=tuple(
            Endpoint(each.port_name, each.scope or "Cluster", "HTTP", each.endpoint) for each in message.endpoints
        ),
        start_seconds=start_seconds,
        waiting=message.waiting,
        never_scheduled=message.never_scheduled,
        start_error=message.start_error,
    )


def faults_of(messages: Iterable[pb.Fault], is_method: Callable[[str], bool]) -> list[Fault]:
    """`is_method`: whether a pattern matches an RPC. Raises InvalidJob, which tells all that is wrong."""
    problems = _Problems()
    faults = []
    for index, message in enumerate(messages):
        field = f"faults[{index}]"
        if not is_method(message.method):
            problems.note(f"{field}.method", f"{shown(message.method)} matches no RPC of this server")
        if message.grpc and (message.grpc not in _STATUSES or message.grpc == "OK"):
            problems.note(f"{field}.grpc", f"{shown(message.grpc)} is no error of gRPC, such as UNAVAILABLE")
        for name in ("skip", "times", "after_messages", "body_code"):
            if getattr(message, name) < 0:
                problems.note(f"{field}.{name}", f"{getattr(message, name)} is below 0")
        faults.append(
            Fault(
                method=message.method,
                domain=message.domain,
                skip=message.skip,
                times=message.times,
                grpc=message.grpc or ("UNAVAILABLE" if message.after_messages and not message.cut else ""),
                body_code=message.body_code,
                message=message.message,
                delay=problems.seconds(f"{field}.delay", message.delay),
                cut=message.cut,
                after_effect=message.after_effect,
                after_messages=message.after_messages,
                message_delay=problems.seconds(f"{field}.message_delay", message.message_delay),
            )
        )
        if not (faults[-1].ends_call or faults[-1].delay or faults[-1].message_delay):
            problems.note(field, "does nothing: it has neither grpc, body_code, cut nor a delay")
    problems.check()
    return faults


def settings_of(base: Settings, given: Mapping[str, str]) -> Settings:
    """The settings with those. Raises InvalidJob."""
    if not given:
        return base
    problems = _Problems()
    hints = get_type_hints(Settings, include_extras=True)
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in SETTINGS:
            problems.note(f"settings.{name}", f"cannot be set here, only {listed(SETTINGS)}")
            continue
        try:
            changes[name] = msgspec.convert(value, hints[name], strict=False)
        except msgspec.ValidationError as error:
            problems.note(f"settings.{name}", f"is {shown(value)}: {error}")
    problems.check()
    return replace(base, **changes)


def encode_call(call: RecordedCall) -> pb.RecordedCall:
    message = pb.RecordedCall(
        number=call.number,
        method=call.method,
        domain=call.domain,
        time=timestamp(call.at),
        outcome=call.outcome,
        fault=call.fault,
        rpc=call.rpc.full_name,
    )
    message.request.Pack(call.request)
    return message
