"""Starts parties, ends them with all they started, and records how they ended."""

import contextlib
import functools
import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from kusciajob.runtime.process.shim import PROTOCOL_VERSION
from kusciajob.runtime.process.shim.cgroups import Cgroups, LeftGroups
from kusciajob.runtime.process.shim.descendants import Descendants
from kusciajob.runtime.process.shim.orphans import Orphans
from kusciajob.runtime.process.shim.outputs import OUTPUT_NAMES, Output, Outputs
from kusciajob.runtime.process.shim.processes import MARKER, marker_of, send_signal
from kusciajob.runtime.process.shim.records import (
    describe_exit,
    log,
    newer_version,
    read_record,
    write_exit,
    write_record,
)
from kusciajob.runtime.process.shim.restarts import Launch, Paused, Restart, spawn_again
from kusciajob.runtime.process.shim.spawning import RequestError, spawn

RETRY_SECONDS = 1.0
SWEEP_SECONDS = 0.005
"""What was killed is gone a moment later; nobody tells when."""


class Party:
    """One spawned party: its main process, and when the rest of its group is to be killed."""

    def __init__(self, key: str, directory: str, output_limit_bytes: int | None) -> None:
        self.key = key
        self.directory = directory
        self.output = Output(key, directory, output_limit_bytes)
        self.pid = 0
        self.code = 0
        self.started_at = time.time()
        self.started_boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.kill_at = math.inf
        self.is_group_over = False
        self.is_stopped = False
        self.launch: Launch | None = None
        self.restart: Restart | None = None
        """None: an end is the end."""
        self.restarts = 0

    def describe(self) -> dict[str, Any]:
        return {"state": "running", "pid": self.pid, "started_at": self.started_at}

    def describe_exit(self) -> dict[str, Any]:
        # Not by the wall clock: one that is set back must not end a party before it began.
        ended_at = self.started_at + time.clock_gettime(time.CLOCK_BOOTTIME) - self.started_boottime
        return describe_exit(
            self.key,
            code=self.code,
            started_at=self.started_at,
            ended_at=ended_at,
            stopped=self.is_stopped,
            restarts=self.restarts,
        )


def _create_outputs(directory: str, opened: list[int], user: tuple[int, int] | None) -> None:
    """Adds their descriptors to `opened`. Raises FileExistsError if the party was spawned before; OSError."""
    for name in OUTPUT_NAMES:
        # stdout.log is the claim: whoever finds it there must not spawn again.
        if opened:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        opened.append(os.open(f"{directory}/{name}", flags, 0o600))
        if user is not None:
            os.fchown(opened[-1], *user)  # the program may open what it writes to by /dev/stdout


def describe_ended(record: dict[str, Any]) -> dict[str, Any]:
    return {"state": "lost" if record.get("lost") else "exited", "exit": record}


class Parties:
    """The running parties. Each ends with exit.json written, then `on_exit`, and nothing it started left alive."""

    def __init__(
        self, on_exit: Callable[[dict[str, Any]], None], *, containment: Cgroups | Descendants, left: LeftGroups
    ) -> None:
        self._on_exit = on_exit
        self.containment = containment
        self._left = left
        self._orphans = Orphans()
        self.running: dict[str, Party] = {}
        self._leaders: dict[int, Party] = {}  # main process alive
        self._terminating: dict[str, Party] = {}  # to be killed when their grace period is over
        self._draining: dict[int, Party] = {}  # main process reaped, something of the party may be left
        self._sweep_at = math.inf
        self._paused = Paused[Party]()
        self._unwritten: dict[str, tuple[str, dict[str, Any]]] = {}  # exits the disk had no room for
        self._retry_at = 0.0
        self.outputs = Outputs()

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._unwritten

    def start(
        self,
        key: str,
        *,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        directory: str,
        output_limit_bytes: int | None,
        user: tuple[int, int] | None = None,
        restart: Restart | None = None,
        notice: str = "",
    ) -> dict[str, Any]:
        """Spawns the party unless it is or was already spawned; answers its state."""
        if key in self.running or key in self._unwritten or os.path.lexists(f"{directory}/exit.json"):
            return self.recover(key, directory)
        opened: list[int] = []
        try:
            _create_outputs(directory, opened, user)
            party = Party(key, directory, output_limit_bytes)
            if notice:
                with contextlib.suppress(OSError):
                    os.write(opened[1], notice.encode())
            env = {**env, MARKER: marker_of(key, directory)}
            launch = functools.partial(spawn, argv, env, cwd=cwd, user=user)
            self._spawn(party, launch, stdout=opened[0], stderr=opened[1])
            if restart is not None:
                party.launch, party.restart = launch, restart
        except FileExistsError:
            return self.recover(key, directory)
        except (OSError, ValueError, RequestError) as error:
            for _, name in zip(opened, OUTPUT_NAMES, strict=False):
                os.unlink(f"{directory}/{name}")
            if isinstance(error, OSError):
                text = f"output file {error.filename}: {error.strerror}"
                raise RequestError(error.errno or 0, text) from None
            raise
        finally:
            for fd in opened:
                os.close(fd)
        self.running[key] = party
        self.outputs.add(party.output)
        self._record_start(party, spawned_after=party.started_boottime)
        return party.describe()

    def _spawn(self, party: Party, launch: Launch, *, stdout: int, stderr: int) -> None:
        """Spawn one run of the party's program. If it raises OSError, RequestError or ValueError, nothing runs."""
        try:
            with self.containment.around(party.key):
                party.pid = launch(stdout=stdout, stderr=stderr)
        except BaseException:
            self.containment.sweep({party.key})
            raise
        self._leaders[party.pid] = party
        self.containment.add(party.key, party.pid)

    def _record_start(self, party: Party, *, spawned_after: float) -> None:
        # One write behind the spawn is enough: until then the marker in the environment finds the process.
        record = {
            "version": PROTOCOL_VERSION,
            "key": party.key,
            "pid": party.pid,
            "boot_id": self._orphans.boot_id,
            "spawned_between": [spawned_after, time.clock_gettime(time.CLOCK_BOOTTIME)],
            "started_at": party.started_at,
        }
        try:
            write_record(f"{party.directory}/party.json", record)
        except OSError as error:
            log(f"party {party.key}: party.json not written: {error}")

    def stop(self, key: str, grace_seconds: float) -> bool:
        """Ends the party's group in order, by force after the grace period. False when it is not running."""
        party = self.running.get(key)
        if party is None:
            return False
        party.restart = None
        if self._paused.hurry(party):
            return True  # nothing of it runs
        deadline = time.monotonic() + grace_seconds
        party.kill_at = min(party.kill_at, deadline)
        self._terminating[key] = party
        if party.pid in self._leaders:
            party.is_stopped = True
            send_signal(os.killpg, party.pid, signal.SIGTERM)
            # A stopped process would sleep through the grace period.
            send_signal(os.killpg, party.pid, signal.SIGCONT)
        return True

    # Ending: reap -> settle -> finish

    def reap(self) -> None:
        """Takes the exit codes of ended children and finishes the parties of which nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if party := self._leaders.pop(pid, None):
                party.code = os.waitstatus_to_exitcode(status)
                self._draining[pid] = party
                if not party.is_stopped:
                    party.kill_at = 0.0
        if self._draining:
            self._settle()

    def _settle(self) -> None:
        now = time.monotonic()
        ending = {party.key for party in self._draining.values() if self._is_over(party, now)}
        over = self.containment.sweep(ending) if ending else set()
        for party in list(self._draining.values()):
            if party.key in over:
                self._finish(party)
        self._sweep_at = math.inf if over == ending else now + SWEEP_SECONDS

    def _is_over(self, party: Party, now: float) -> bool:
        """Kills the party's group when that is due; True when it has no members from then on."""
        # A group that was killed or is empty gets no new members, and its number may go to another: ask it once.
        if not party.is_group_over:
            is_due = party.kill_at <= now
            has_members = send_signal(os.killpg, party.pid, signal.SIGKILL if is_due else 0)
            party.is_group_over = is_due or not has_members
        return party.is_group_over

    def _finish(self, party: Party) -> None:
        del self._draining[party.pid]
        self.containment.remove(party.key)
        if not self._paused.add(party):
            self._end(party)

    def _end(self, party: Party) -> None:
        del self.running[party.key]
        self._terminating.pop(party.key, None)
        self.outputs.remove(party.output)
        try:
            party.output.look()
        except OSError as error:
            log(f"party {party.key}: output not looked at: {error}")
        self._write_exit(party.directory, party.describe_exit())

    def _write_exit(self, directory: str, record: dict[str, Any]) -> None:
        try:
            write_exit(directory, record)
        except FileNotFoundError:
            log(f"party {record['key']}: directory {directory} is gone, its exit is not recorded")
        except OSError as error:
            # Kept and tried again: this process is now the only one that knows.
            log(f"party {record['key']}: exit.json not written: {error}")
            self._unwritten[record["key"]] = directory, record
        self._on_exit(record)

    # Time

    def next_deadline(self) -> float | None:
        """The monotonic time of the next `tick`; None when nothing is due."""
        due = [party.kill_at for party in self._terminating.values()] + self._paused.due_times()
        if self._sweep_at < math.inf:
            due.append(self._sweep_at)
        if (look_at := self.containment.next_look()) is not None:
            due.append(look_at)
        if self._unwritten:
            due.append(self._retry_at)
        if (check_at := self.outputs.next_check()) is not None:
            due.append(check_at)
        return min(due, default=None)

    def tick(self) -> None:
        """Kills what outlived its grace period, starts what has paused, looks at outputs, retries unwritten exits."""
        now = time.monotonic()
        for party in list(self._terminating.values()):
            if party.kill_at <= now:
                del self._terminating[party.key]
                self._is_over(party, now)
                self.containment.sweep({party.key})
        for party in self._paused.take_due(now):
            self._start_again(party)
        if (look_at := self.containment.next_look()) is not None and look_at <= now:
            self.containment.look()
        if self._draining:
            self._settle()
        if (check_at := self.outputs.next_check()) is not None and check_at <= now:
            self.outputs.check()
        if now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            for key, (directory, record) in list(self._unwritten.items()):
                with contextlib.suppress(OSError):
                    if os.path.isdir(directory):
                        write_exit(directory, record)
                    del self._unwritten[key]

    def _start_again(self, party: Party) -> None:
        """Start the next run; nothing of the earlier one is left. A party that was stopped meanwhile ends instead."""
        if party.restart is None or party.launch is None:
            party.is_stopped = True
            self._end(party)
            return
        spawned_after = time.clock_gettime(time.CLOCK_BOOTTIME)
        party.kill_at = math.inf
        party.is_group_over = False
        try:
            spawn_again(party.directory, functools.partial(self._spawn, party, party.launch))
        except (OSError, RequestError) as error:
            log(f"party {party.key}: not started again: {error}")
            if not self._paused.add(party):
                self._end(party)
            return
        self._record_start(party, spawned_after=spawned_after)

    # After a killed shim

    def recover(self, key: str, directory: str) -> dict[str, Any]:
        """The party's state. One that a killed shim left behind is killed and recorded as lost."""
        if party := self.running.get(key):
            return party.describe()
        if key in self._unwritten:
            return describe_ended(self._unwritten[key][1])
        # A party that has ended has no group: what says so beside one is not ours.
        had_group = self._left.end(key)
        if not had_group:
            if record := read_record(f"{directory}/exit.json"):
                return describe_ended(_as_known(key, record))
            if not os.path.lexists(f"{directory}/stdout.log"):
                return {"state": "unknown"}
        spawned = read_record(f"{directory}/party.json") or {}
        if newer_version(spawned):
            spawned = {}  # the marker in the environment finds the process all the same
        self._orphans.kill(marker_of(key, directory), spawned)
        now = time.time()
        started_at = _as_time(spawned.get("started_at"), now)
        record = describe_exit(key, code=None, started_at=started_at, ended_at=now, lost=True)
        self._write_exit(directory, record)
        return describe_ended(record)


def _as_known(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record of an end. In place of a later shim's: lost; the file stays, for the program that can read it."""
    version = newer_version(record)
    if version is None:
        return record
    cause = (
        f"lost: its exit.json has version {version}, this program knows versions up to {PROTOCOL_VERSION}: "
        "a newer program has written it and can read it"
    )
    log(f"party {key}: {cause}")
    now = time.time()
    return describe_exit(key, code=None, started_at=now, ended_at=now, lost=True) | {"cause": cause}


def _as_time(value: object, now: float) -> float:
    """A time from a record; a program can have written the record, so it may hold anything."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= now else now
