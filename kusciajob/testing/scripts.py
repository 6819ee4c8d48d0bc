"""What simulated programs do, as a test says it: `kuscia.task("train", party="bob").fails(code=3, after="40min")`."""

from __future__ import annotations

from typing import Self

from kusciajob.api import testing as pb
from kusciajob.testing.control import Control
from kusciajob.testing.durations import Span, duration

REACH_SECONDS = 10.0


class Rules:
    """The rules that a server has from this test, in order: for each party the first that matches counts."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._rules: list[pb.Rule] = []

    def put(self, rule: pb.Rule) -> None:
        """Add a rule, or send it again; one for exactly the same parties goes."""
        if not any(each is rule for each in self._rules):
            self._rules = [each for each in self._rules if each.where != rule.where]
            self._rules.append(rule)
        self.send()

    def send(self) -> None:
        self.control.call("SetScripts", pb.SetScriptsRequest(rules=self._rules))

    def forget(self) -> None:
        """The server has forgotten them."""
        self._rules.clear()


class Gate:
    """Parties that run until they are released."""

    def __init__(self, control: Control, where: pb.Selector) -> None:
        self._control = control
        self._where = where

    def reached(self, timeout: Span = REACH_SECONDS) -> None:
        """Return once such a party runs, and everybody has been told. Raises KitError after so long."""
        self._control.call("AwaitIdle", pb.AwaitIdleRequest(held=self._where, patience=duration(timeout)))

    def release(self) -> None:
        """Let them end, now. Raises KitError if none has been reached."""
        self._control.call("Release", pb.ReleaseRequest(where=self._where))


class Tasks:
    """The parties of tasks that patterns select, and what their programs do: each method says more of it.

    Without any word a program succeeds at once. Time spans are seconds, texts such as "40min", or timedeltas.
    """

    def __init__(self, rules: Rules, where: pb.Selector, *, attempt: int = 1) -> None:
        self._rules = rules
        self._attempt = where.attempt or attempt
        self._rule = pb.Rule(where=where)
        self._script = self._rule.script

    def succeeds(self, after: Span = 0, *, message: str = "") -> Self:
        """It ends with exit code 0 so long after its begin."""
        return self._ends(after, message)

    def fails(self, code: int = 1, *, message: str = "", after: Span = 0) -> Self:
        """It ends with that exit code; the message is the last that it writes, on stderr."""
        return self._ends(after, message, exit_code=code)

    def killed(self, signal: int = 9, *, after: Span = 0) -> Self:
        """That signal kills it."""
        return self._ends(after, "", signal=signal)

    def crashes(self, after: Span = 0, *, message: str = "") -> Self:
        """Its machine is lost: watchers are sent an ERROR, too."""
        return self._ends(after, message, crash=True)

    def hangs(self) -> Self:
        """It runs until it is stopped."""
        self._script.hang = True
        return self._send()

    def waits(self) -> Gate:
        """It runs until the gate releases it; then it ends as said otherwise, at once."""
        self._script.hold = True
        self._send()
        return Gate(self._rules.control, self._rule.where)

    def prints(self, text: str, *, stream: str = "stdout", after: Span = 0) -> Self:
        """It writes a line, or several."""
        self._script.lines.add(text=text, stream=stream, after=duration(after))
        return self._send()

    def listens(self, scope: str = "Cluster", **endpoints: str) -> Self:
        """It has these endpoints: `peer="10.0.0.1:5000"` for the port named peer."""
        for name, endpoint in endpoints.items():
            self._script.endpoints.add(port_name=name, scope=scope, endpoint=endpoint)
        return self._send()

    def progresses(self, *values: float) -> Self:
        """It reports these, from 0 to 1, at equal distances until its end."""
        self._script.progress[:] = values
        return self._send()

    def starts(self, after: Span, *, waiting: str = "") -> Self:
        """Its start takes so long, and why: what the task is told meanwhile."""
        self._script.start_after.CopyFrom(duration(after))
        self._script.waiting = waiting
        return self._send()

    def start_fails(self, text: str) -> Self:
        """It cannot be started."""
        self._script.start_error = text
        return self._send()

    def never_scheduled(self, reason: str) -> Self:
        """There is never room for it."""
        self._script.never_scheduled = reason
        return self._send()

    def optional(self) -> Self:
        """Nobody minds if there is no such party."""
        self._rule.is_optional = True
        return self._send()

    @property
    def then(self) -> Tasks:
        """The next attempt, and all after it: `.fails().then.succeeds()`."""
        self._rule.where.attempt = self._attempt
        self._send()
        where = pb.Selector()
        where.CopyFrom(self._rule.where)
        where.attempt = 0
        return Tasks(self._rules, where, attempt=self._attempt + 1)

    def _ends(self, after: Span, message: str, *, exit_code: int = 0, signal: int = 0, crash: bool = False) -> Self:
        script = self._script
        script.after.CopyFrom(duration(after))
        script.message, script.exit_code, script.signal, script.crash = message, exit_code, signal, crash
        return self._send()

    def _send(self) -> Self:
        self._rules.put(self._rule)
        return self
