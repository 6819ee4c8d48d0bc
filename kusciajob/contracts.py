"""The contracts between the parts, on one page. Implementations live in store/, events/ and runtime/."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from kusciajob.model.appimage import AppImage
from kusciajob.model.job import JobSpec
from kusciajob.model.status import Endpoint, Job, JobEvent, JobSummary


class Clock(Protocol):
    """Time, so that tests can set it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back on the event loop after that long."""


class StoreHealth(Struct, frozen=True):
    """What a store knows of itself without asking its medium: changes that wait, damaged rows met since it was opened,
    and how often, ever, acknowledged changes were missing when it was opened."""

    queue_length: int = 0
    damaged_rows: int = 0
    losses: int = 0


class Census(Struct, frozen=True):
    """How many jobs have each state, and how many parties of unfinished jobs; every state is there.

    Jobs that cannot be read are counted under a state of their own, where there are any.
    """

    jobs: Mapping[str, int]
    parties: Mapping[str, int]


class JobStore(Protocol):
    """Jobs and the gap-free log of their changes, always committed together: committing is publishing.

    Every method raises StoreFailed when the medium fails; nothing of the change is kept then. A damaged record is named
    in the log, and where it is met; it keeps nobody from the others.
    """

    @property
    def id(self) -> str:
        """Names this store among all others: random, made with it; a copy has the same."""

    @property
    def failing(self) -> asyncio.Event:
        """Set from a commit that failed to the next that did not."""

    @property
    def health(self) -> StoreHealth:
        """What is to be watched. It raises nothing and costs nothing."""

    async def probe(self) -> None:
        """Commit something that changes nothing; returns once a commit is possible."""

    async def census(self) -> Census:
        """Count the jobs and parties, all of one moment, off the event loop: it looks at every job."""

    async def create(self, job: Job) -> Job:
        """Store a new job and return it with its number and revision. JobExists, TaskExists: an id is taken."""

    async def get(self, job_id: str) -> Job:
        """The whole job. JobNotFound, JobDamaged."""

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        """The jobs asked for, in that order, from one read. JobNotFound names all that are missing, JobDamaged."""

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        """Up to `limit` jobs with a number above `after`, oldest first; fewer where they are big, one at least.

        The status of a damaged one says so.
        """

    async def unfinished(self) -> list[Job]:
        """All jobs that are not finished, oldest first; a damaged one is left out."""

    async def missing(self, numbers: Collection[int]) -> set[int]:
        """Those of the numbers that no stored job has; a job that was lost, not deleted, is not among them."""

    async def replace(self, job: Job, *, fault: str = "") -> Job:
        """Commit a change and return the job with its new revision. A fault is logged as ERROR after the MODIFIED.

        StaleJob when the stored revision is not `job.revision`; JobNotFound.
        """

    async def delete(self, job: Job | JobSummary) -> int:
        """Remove the job and return the revision of its DELETED. StaleJob (a damaged job is never), JobNotFound."""

    async def size(self) -> int:
        """How many jobs are stored."""

    async def initiated_by(self, domain: str) -> int:
        """How many of the stored jobs have that initiator; answered without looking at them."""

    async def job_of_task(self, task_id: str) -> str:
        """The id of the job that has this task. TaskNotFound."""

    async def head(self) -> int:
        """The newest revision, never older than what any earlier read showed; 0 in an empty log."""

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        """Up to `limit` events with a revision above `after`, in order; fewer where they are big, one at least.

        LogTruncated.
        """

    async def log_excess(self, max_bytes: int) -> int:
        """The last revision to forget so that the log takes no more than that; 0 where it does not."""

    async def wait_log(self, after: int) -> None:
        """Return once a revision above `after` may exist; a hint that can come early, never late."""

    async def truncate_log(self, through: int) -> None:
        """Forget events up to and including that revision; the newest one is always kept."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of the medium."""


Form = Callable[[JobEvent], bytes]
"""What makes the wire form of an event; the same function each time."""


class Published(Protocol):
    """An event in the hub, shared by all its watchers."""

    @property
    def event(self) -> JobEvent: ...

    def encoded(self, encode: Form) -> bytes:
        """The event in a wire form, produced once per form for all watchers."""

    def seen_by(self, domain: str) -> "Published":
        """The event without what is not for that domain; mostly itself."""


class WatchStream(Protocol):
    """One watcher's place in the log."""

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """The next events, at least one; empty after `timeout` seconds without any.

        LogTruncated: the stream cannot go on without a hole. HubClosed: the server is stopping.
        """


class EventHub(Protocol):
    """Tails the log once and fans out in memory. There is no publish()."""

    def subscribe(self, *, after: int | None = None) -> AbstractAsyncContextManager[WatchStream]:
        """Watch from a revision on; None: every existing job as ADDED first, then what follows."""


class HubClosed(Exception):
    """The hub has been closed; its streams end."""


class PartyKey(Struct, frozen=True, gc=False, order=True):
    """Names one run of one party of one store: never used for anything else.

    Two stores give the same names. A runtime that works for more than one, as on a cluster, is built with `JobStore.id`
    and puts it before them.
    """

    job: int
    task: int
    attempt: int
    party: int

    def __str__(self) -> str:
        return f"{self.job}/{self.task}.{self.attempt}/{self.party}"


class PartySpec(Struct, frozen=True, gc=False):
    """All that a runtime must know to run one party of one task.

    `endpoints` has one entry per party of the task, in the order of `spec.tasks[key.task].parties`; it is empty
    while the addresses are yet to be allocated. Those of a party stand replica by replica. `image` is None only where
    the runtime needs none.
    """

    key: PartyKey
    task_id: str
    spec: JobSpec
    image: AppImage | None
    endpoints: tuple[tuple[Endpoint, ...], ...] = ()
    traceparent: str = ""
    """What spans of the party's programs belong to, as W3C Trace Context has it; empty where nobody makes spans."""


class DomainFacts(Struct, frozen=True):
    """What a runtime may tell the programs of one domain, and no other's. Its texts are secrets.

    `values` are the domain's own, for config templates; `names` is what Kuscia supplies beside them, `certificates` has
    PEM texts by file name: ca.crt, client.crt, client.key, server.crt, server.key.
    """

    values: Mapping[str, str] = {}
    names: Mapping[str, str] = {}
    certificates: Mapping[str, bytes] = {}


DomainSource = Callable[[str], DomainFacts]
"""The facts of a domain in force. StartFailed."""


class ExitResult(Struct, frozen=True, gc=False):
    """How a party's program ended. `is_fault`: not by itself, the server or its machine is to blame.

    `message` is for everybody, `detail` for the master and the party's domain: what a program wrote, or where it lies.
    `exit_code` is 128 and the signal's number where a signal has killed it, as Kubernetes has it; None: not known.
    `ended_at` is in seconds since the epoch; None: just now.
    """

    succeeded: bool
    message: str = ""
    is_fault: bool = False
    detail: str = ""
    exit_code: int | None = None
    ended_at: float | None = None


class StartFailed(Exception):
    """The runtime could not start a party; the text names the cause. `detail`: see ExitResult."""

    def __init__(self, text: str, *, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


class NoCapacity(Exception):
    """Nothing is wrong, there is no room just now; the text says what is awaited.

    Each new text is an event for all who watch the job: while the same is awaited it must not change.
    """


class Node(Struct, frozen=True):
    """A machine that runs parties."""

    name: str
    ip: str


class Runtime(Protocol):
    """Runs the parties of tasks. Every call may be repeated; a key that is known already is attached to."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while nothing can be started or stopped."""

    async def open(self) -> None:
        """Get ready to serve, before any other call."""

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        """How many of the runtime's ports each party of a task needs. StartFailed."""

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        """Reserve the addresses of a task's parties: all or none. NoCapacity, StartFailed."""

    async def attach(self, party: PartySpec) -> None:
        """After a restart of the server: take back a party's reservations before anything else is allocated."""

    async def start(self, party: PartySpec) -> None:
        """Start the party, or attach to its run. StartFailed.

        Whatever this raises, the party may have been started: its reservations stay until `stop` has returned.
        """

    async def wait(self, key: PartyKey) -> ExitResult:
        """Its end. Cancelling the waiter stops nothing. An error says that its end cannot be known: `stop` it then."""

    async def stop(self, key: PartyKey) -> None:
        """End it, by force after the grace period, and free its reservations; already gone is success.

        Returns only when it is known that nothing of the party runs or can still be started.
        """

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        """Where one replica of the party runs, has run or is going to run."""

    async def owned(self) -> Collection[int]:
        """The job numbers of which the runtime keeps anything: programs, reservations or files."""

    async def stop_job(self, job: int) -> None:
        """Stop whatever runs of the job, also what a server before this one started, and free its reservations."""

    async def remove(self, job: int) -> None:
        """Delete what is kept of a job of which nothing runs."""

    async def close(self) -> None:
        """Let go of everything; programs go on running."""


class OutputStream(StrEnum):
    """What a program writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class OutputPiece(Struct, frozen=True):
    """Part of what a program has written: where it begins, in bytes from the start, and up to 64 KiB of it."""

    offset: int
    data: bytes


class OutputSource(Protocol):
    """What programs have written; it outlives them, until their job is deleted."""

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """The first that is left from a byte offset on; without data where there is nothing (yet).

        It begins elsewhere where the oldest output was dropped to keep within the limit.
        """

    async def replicas(self, key: PartyKey) -> int:
        """How many instances of the party's program were started, at least 1."""


WaitReport = Callable[[PartyKey, str], None]
"""Where a runtime tells why a party has not started yet, such as an image that is being pulled; "" takes that back.

Each new text is an event for all who watch the job: while the same is awaited it must not change.
"""

ProgressReport = Callable[[PartyKey, float], None]
"""Where a runtime tells how far a task is, 0 to 1."""


class ImageSource(Protocol):
    """Where AppImages come from."""

    def get(self, name: str) -> AppImage | None:
        """The AppImage of that name; None where the runtime needs none. UnknownAppImage."""
