"""What an engine that hosts containers or pods does for HostedRuntime, which does all that is the same for each."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from kusciajob.contracts import Node, OutputStream, PartyKey
from kusciajob.runtime.domains import DomainSettings

DOMAIN_DIRECTORY = "/kuscia/domain"
"""Where a program finds the domain's own data."""
PIECES_AHEAD = 256
"""Where a workload has several outputs, so many pieces of all of them may wait for who reads them."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class EngineUnavailable(Exception):
    """The engine cannot be reached, or cannot answer now; the text says why. Whoever asked may ask again."""


class OutputIncomplete(Exception):
    """What was told of a workload's output may lack pieces. All of it is told again from where the call began."""


class Limits(Struct, frozen=True):
    """Kubernetes quantities, such as "500m" and "4Gi"; "" is no limit."""

    cpu: str = ""
    memory: str = ""


class WorkloadPort(Struct, frozen=True):
    """A port on which a program listens. Each workload has an address of its own, so that numbers never collide."""

    name: str
    number: int
    protocol: str
    is_shared: bool


class Program(Struct, frozen=True):
    """One container of a workload. An empty command or empty args are the image's own, as in Kubernetes.

    Files are keyed by their absolute path. They are read-only for the program; the secret ones are for its user only.
    `probes` are as the AppImage has them, by their names, such as livenessProbe.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}
    secret_files: Mapping[str, bytes] = {}
    ports: tuple[WorkloadPort, ...] = ()
    requests: Limits = Limits()
    limits: Limits = Limits()
    probes: Mapping[str, Any] = {}
    is_privileged: bool = False


class Ref(Struct, frozen=True):
    """Names a workload on the engine. `uid` tells it from another one of that name; "" before it is created.

    `name` is a DNS label that no other workload of any server has. `task` names what the workloads of one attempt of a
    task share, such as a network.
    """

    name: str
    task: str
    key: PartyKey
    replica: int
    domain_id: str
    uid: str = ""


class Workload(Struct, frozen=True):
    """All that an engine needs to run one replica of a party. `max_restarts`: None if it is not to be restarted."""

    ref: Ref
    owner: str
    """The id of the store whose party it is."""
    task_id: str
    domain: DomainSettings
    programs: tuple[Program, ...]
    max_restarts: int | None = None
    restart_pause_seconds: float = 10.0


class Phase(StrEnum):
    """How far a workload is."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
    """It does not exist any more, or nobody will ever learn how it ended."""


class Sighting(Struct, frozen=True):
    """What an engine sees of a workload.

    `text`: while WAITING why it does not run yet; when ENDED how it ended if the exit code does not say it, such as
    "killed: memory limit 512Mi"; when GONE what has become of it. `is_fault`: the engine or a machine ended it, not the
    program. `exit_code` is 128 plus the signal's number if a signal killed it. `ended_at`: seconds since the epoch.
    """

    ref: Ref
    phase: Phase
    text: str = ""
    node: Node | None = None
    exit_code: int | None = None
    ended_at: float | None = None
    restarts: int = 0
    is_fault: bool = False


class LogPiece(Struct, frozen=True):
    """A line of output, or a part of a long one. `time` is the engine's text, RFC 3339 with nanoseconds."""

    stream: OutputStream
    time: str
    data: bytes


def nanoseconds(time: str) -> int:
    """An RFC 3339 time as nanoseconds since the epoch; 0 for what is none."""
    if not (found := _TIME.fullmatch(time)):
        return 0
    try:
        seconds = int(datetime.fromisoformat(found[1] + found[3]).timestamp())
    except ValueError:
        return 0
    return seconds * 10**9 + int((found[2] or "").ljust(9, "0"))


class Engine(Protocol):
    """Hosts workloads. Every call may be repeated, and raises EngineUnavailable if the engine cannot be asked now."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while the engine cannot be reached."""

    async def open(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        """Watch all workloads of that store from now on, whatever becomes of the connection.

        `sight` is told of each that exists, then of each change. It returns at once; see `seen_all`.
        """

    async def seen_all(self) -> None:
        """Return once all workloads have been told that existed when the engine was opened.

        Raises EngineUnavailable if that cannot be told now.
        """

    def host_of(self, name: str, domain: DomainSettings) -> str:
        """The host name under which the other parties of its task reach a workload; known before it is created."""

    async def create(self, workload: Workload) -> str:
        """Make the workload so that it does not run before `release`; return its uid. It may be there already.

        Why this takes long, such as an image that is pulled, is told as a sighting. Raises StartFailed.
        """

    async def release(self, ref: Ref) -> None:
        """Let it run; nothing happens if it was released before. Raises StartFailed if it is gone."""

    async def end(self, ref: Ref, grace_seconds: float) -> None:
        """Ask it to end, and end it by force after that long. Return when nothing of it runs; gone is success.

        It stays there, with its output, and is seen as ENDED; but what was never released is removed.
        """

    async def remove(self, ref: Ref) -> None:
        """Remove it and, after the last of its task's attempt, what these share. Gone is success."""

    def logs(
        self, ref: Ref, since: Mapping[OutputStream, str], *, is_continued: bool = False
    ) -> AsyncIterator[LogPiece]:
        """Its output until it ends; where the engine does not tell the streams apart, all is stdout.

        `since` has for each stream the time of the last piece that is known: what is older is left out, what has just
        that time is told again. It ends silently if the workload is gone. Raises EngineUnavailable.

        `is_continued`: what is known was told by a call that did not come to its end. Raises OutputIncomplete when what
        a call has told may lack pieces, this one or the one that it continues: what that was called with is asked anew.
        """

    async def owned(self) -> Collection[int]:
        """The numbers of the jobs of which the engine has anything."""

    async def remove_job(self, job: int, grace_seconds: float) -> None:
        """End and remove everything of a job. Return when nothing is left."""

    async def close(self) -> None:
        """Stop watching; workloads go on."""
