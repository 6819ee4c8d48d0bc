"""The contracts between the parts, on one page. Implementations live in store/, events/ and runtime/."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from kusciajob.model.appimage import AppImage
from kusciajob.model.history import NO_NOTES, Attempt, AuditEntry, HistoryEntry, Notes
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Endpoint, Job, JobEvent, JobStatus, JobSummary, TaskState


class Clock(Protocol):
    """Time, so that tests can set it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that nobody sets, from any start."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back on the event loop after that long."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """As asyncio.timeout: it ends what takes longer with TimeoutError."""


class StoreHealth(Struct, frozen=True):
    """The state of a store, known without reading its medium.

    `queue_length`: changes that wait for a commit. `damaged_rows`: those met since the store was opened. `losses`: how
    often, in its whole life, acknowledged changes were missing when it was opened.
    """

    queue_length: int = 0
    damaged_rows: int = 0
    losses: int = 0


class Census(Struct, frozen=True):
    """How many jobs have each state, and how many parties of unfinished jobs. Every state is a key.

    If there are jobs that cannot be read, they are counted under a state of their own.
    """

    jobs: Mapping[str, int]
    parties: Mapping[str, int]


class JobPage(Struct, frozen=True):
    """Part of a list of jobs. `through` is the number up to which the list has been looked through, in its direction.

    `is_last`: nothing follows. The page shows its jobs, and that no others are among them, at one moment: that of
    `revision`.
    """

    jobs: tuple[JobSummary, ...]
    through: int
    revision: int
    is_last: bool


class JobStore(Protocol):
    """Jobs and the gap-free log of their changes, always committed together: committing is publishing.

    Every method raises StoreFailed when the medium fails; nothing of the change is kept then. A damaged record
    is reported in the server's log and to its reader; all others stay usable.
    """

    @property
    def id(self) -> str:
        """A random id, made with the store, that no other store has; a copy of the store keeps it."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while the last commit failed."""

    @property
    def health(self) -> StoreHealth:
        """The state of the store, for metrics. It raises nothing and costs nothing."""

    @property
    def phases_told_after(self) -> int:
        """Events above this revision tell the phase before the change.

        Earlier ones were written by an earlier version, and a filtered watch cannot resume among them.
        """

    async def probe(self) -> None:
        """Commit without a change. Returns once a commit is possible."""

    async def census(self) -> Census:
        """Count jobs and parties, all at one moment. It reads every job, off the event loop."""

    async def create(self, job: Job, *, notes: Notes = NO_NOTES) -> Job:
        """Store a new job and return it with its number and revision. Raises JobExists, TaskExists."""

    async def get(self, job_id: str) -> Job:
        """The whole job. Raises JobNotFound, JobDamaged."""

    async def summaries(self, job_ids: Sequence[str]) -> list[JobSummary]:
        """The jobs in that order, from one read. Raises JobNotFound, which names all missing ones, and JobDamaged."""

    async def page(self, after: int, limit: int) -> list[JobSummary]:
        """Up to `limit` jobs with a number above `after`, oldest first; fewer if they are big, but at least one.

        A damaged job has a status that says so.
        """

    async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False) -> JobPage:
        """Up to `limit` jobs that pass, with a number above `after` (newest first: below it; 0 is the newest).

        The work for a page is bounded, whatever the filter and however many jobs there are: a page can be short, or
        empty, and yet not the last. A damaged job passes a filter that wants nothing of its status.
        """

    async def history(self, number: int, *, after: int, limit: int) -> Sequence[tuple[int, HistoryEntry]]:
        """What happened to the job of that number, oldest first: each entry with its position, all above `after`."""

    async def attempts(self, number: int) -> Sequence[Attempt]:
        """The attempts of the job's tasks that are over and kept, in the order of their ends."""

    async def note(self, entry: AuditEntry) -> None:
        """Commit what a call that changes no job wants to be known of."""

    async def audit(
        self,
        *,
        limit: int,
        before: int = 0,
        caller: str = "",
        subject: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> Sequence[AuditEntry]:
        """Entries with an id below `before` (0: from the newest on), newest first; of times from `since` to `until`."""

    async def forget_audit(self, *, before: float, keep: int) -> None:
        """Drop audit entries of earlier times, and the oldest beyond so many; 0 means no limit of that kind."""

    async def expired(self, now: float, limit: int) -> list[JobSummary]:
        """Jobs whose time to live is over."""

    async def overdue(self, now: float, limit: int) -> list[JobSummary]:
        """Jobs beyond their deadline that are not ended, and on which the scheduler does not work."""

    async def app_images(self) -> Mapping[str, bytes]:
        """The stored AppImages by name, each as it was given to `put_app_image`."""

    async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = NO_NOTES) -> None:
        """Store an AppImage, in place of an earlier one; None removes it."""

    async def unfinished(self) -> list[Job]:
        """All jobs that are not finished, oldest first; a damaged one is left out."""

    async def missing(self, numbers: Collection[int]) -> set[int]:
        """The numbers that no stored job has. The number of a job that was lost, not deleted, is not returned."""

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        """Commit a change and return the job with its new revision. A `fault` adds an ERROR event after it.

        `passed` are the statuses on the way to it, oldest first: each is told by a MODIFIED of its own, all of which
        are committed together.
        Raises StaleJob if the stored revision is not `job.revision`, and JobNotFound.
        """

    async def delete(self, job: Job | JobSummary, *, notes: Notes = NO_NOTES) -> int:
        """Remove the job and return the revision of its DELETED event. Raises JobNotFound, StaleJob.

        Its history and attempts go with it; the notes' audit entry stays.
        """

    async def size(self) -> int:
        """How many jobs are stored."""

    async def initiated_by(self, domain: str) -> int:
        """How many stored jobs have that initiator. It does not read the jobs."""

    async def job_of_task(self, task_id: str) -> str:
        """The id of the job that has this task. Raises TaskNotFound."""

    async def head(self) -> int:
        """The newest revision, at least as new as what any earlier read showed; 0 if the log is empty."""

    async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
        """Up to `limit` events with a revision above `after`, in order; fewer if they are big, but at least one.

        Raises LogTruncated.
        """

    async def log_excess(self, max_bytes: int) -> int:
        """The last revision to truncate so that the log takes no more bytes than that; 0 if there is none."""

    async def wait_log(self, after: int) -> None:
        """Return once a revision above `after` may exist. It is a hint: it can come early, never late."""

    async def truncate_log(self, through: int) -> None:
        """Drop events up to and including that revision. The newest event is always kept."""

    async def close(self) -> None:
        """Commit what was accepted, then close the medium."""


class LeaseLost(Exception):
    """Another server has taken over: nothing that is decided under the lease can be done any more."""


class Lease(Protocol):
    """The right to schedule. One server at a time has it."""

    @property
    def store(self) -> JobStore:
        """The store. Its changes raise LeaseLost, and are not kept, once another server has taken over."""

    async def held(self) -> None:
        """Return once no other server can have taken over yet: at once, unless the lease could not be renewed."""

    async def keep(self) -> None:
        """Renew the lease, for ever. Raises LeaseLost."""

    async def release(self) -> None:
        """Let another server take over at once. It raises nothing."""


class Leases(Protocol):
    """Where leases come from."""

    async def take(self) -> Lease | None:
        """The lease, if nobody has it. Raises StoreFailed."""

    async def wait(self) -> None:
        """Return when it is time to try again."""

    async def close(self) -> None:
        """Leave nothing open; leases that were taken go on."""


Form = Callable[[JobEvent], bytes]
"""What makes the wire form of an event; the same function each time."""


class Published(Protocol):
    """An event in the hub, shared by all its watchers."""

    @property
    def event(self) -> JobEvent: ...

    def encoded(self, encode: Form) -> bytes:
        """The encoded event; each form is produced once for all watchers."""

    def seen_by(self, domain: str) -> "Published":
        """The event without what that domain may not see; mostly the event itself."""


class WatchStream(Protocol):
    """One watcher's place in the log."""

    @property
    def position(self) -> int | None:
        """Where a stream can be resumed: what was read is all until that revision, and nothing after it.

        None before the existing jobs are told, and as long as events follow that they make superfluous.
        """

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """The next events, at least one; empty after `timeout` seconds without any.

        A filtered stream returns empty earlier where `position` is worth telling: when the existing jobs are told, and
        after 1,000 events that it does not want.

        Raises LogTruncated if the stream cannot go on without a hole, HubClosed if the server is stopping.
        """


class EventHub(Protocol):
    """Tails the log once, for all watchers. There is no publish(): a commit publishes."""

    @property
    def head(self) -> int:
        """The newest revision that streams can read."""

    def subscribe(
        self, *, after: int | None = None, chosen: JobFilter | None = None
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Watch what follows a revision. With None: first every existing job as ADDED, then what follows.

        With a filter the stream has only events of jobs that pass it before or after the change, and of those whose
        record is so damaged that nobody can know.
        """


class HubClosed(Exception):
    """The hub has been closed; its streams end."""


class PartyKey(Struct, frozen=True, gc=False, order=True):
    """Names one run of one party in one store. A key is never used again.

    Two stores can give equal keys. A runtime that serves several stores, as on a cluster, gets `JobStore.id` and puts
    it before each key.
    """

    job: int
    task: int
    attempt: int
    party: int

    def __str__(self) -> str:
        return f"{self.job}/{self.task}.{self.attempt}/{self.party}"


class PartySpec(Struct, frozen=True, gc=False):
    """All that a runtime needs to run one party of one task.

    `endpoints` has one entry per party of the task, in the order of `spec.tasks[key.task].parties`; it is empty while
    the addresses are yet to be allocated. A party's endpoints are in the order of its replicas. `image` is None only if
    the runtime needs none.
    """

    key: PartyKey
    task_id: str
    spec: JobSpec
    image: AppImage | None
    endpoints: tuple[tuple[Endpoint, ...], ...] = ()
    traceparent: str = ""
    """What spans of the party's programs belong to, as W3C Trace Context has it; empty where nobody makes spans."""

    @property
    def task(self) -> Task:
        """Its task, as it was asked for."""
        return self.spec.tasks[self.key.task]

    @property
    def party(self) -> Party:
        """The party itself, as it was asked for."""
        return self.task.parties[self.key.party]


class DomainFacts(Struct, frozen=True):
    """What the programs of one domain get, and no other's. All of it is secret.

    `values`: the domain's own values for config templates. `names`: the values that Kuscia supplies. `certificates`:
    PEM texts by file name: ca.crt, client.crt, client.key, server.crt, server.key.
    """

    values: Mapping[str, str] = {}
    names: Mapping[str, str] = {}
    certificates: Mapping[str, bytes] = {}


CERTIFICATE_VARIABLES = {
    "TRUSTED_CA_FILE": "ca.crt",
    "CLIENT_CERT_FILE": "client.crt",
    "CLIENT_PRIVATE_KEY_FILE": "client.key",
    "SERVER_CERT_FILE": "server.crt",
    "SERVER_PRIVATE_KEY_FILE": "server.key",
}
"""Where the domain's certificates are, by the names that Kuscia gives them, with their file names."""
SECRET_NAMES = ("KUSCIA_API_TOKEN", "KUSCIA_DOMAIN_KEY_DATA")
"""Those of Kuscia's names whose values no text may show."""


DomainSource = Callable[[str], DomainFacts]
"""The facts of a domain in force. Raises StartFailed."""


class ExitResult(Struct, frozen=True, gc=False):
    """How a party's program ended. `is_fault`: the server or its machine ended it, not the program itself.

    `message` is for everybody. `detail` is for the master and the party's domain: what the program wrote, or a path.
    `exit_code` is 128 plus the signal's number if a signal killed it, as in Kubernetes; None if it is not known.
    `ended_at` is in seconds since the epoch; None means just now.
    """

    succeeded: bool
    message: str = ""
    is_fault: bool = False
    detail: str = ""
    exit_code: int | None = None
    ended_at: float | None = None

    @property
    def state(self) -> TaskState:
        """What the party has come to."""
        return TaskState.SUCCEEDED if self.succeeded else TaskState.FAILED


class StartFailed(Exception):
    """The runtime could not start a party; the text names the cause. For `detail` see ExitResult."""

    def __init__(self, text: str, *, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


class NoCapacity(Exception):
    """A slot, a port or other capacity is not free now; the text says which. It is no failure: the task waits.

    Each new text is an event for all who watch the job: while the same is awaited it must not change.
    """


class Node(Struct, frozen=True):
    """A machine that runs parties."""

    name: str
    ip: str


class NodeSource(Protocol):
    """Where parties run, have run or are going to run."""

    async def node(self, key: "PartyKey", *, replica: int = 0) -> Node:
        """See Runtime."""


class Runtime(Protocol):
    """Runs the parties of tasks. Every call may be repeated; `start` of a known key attaches to its run."""

    @property
    def failing(self) -> asyncio.Event:
        """Set while nothing can be started or stopped."""

    async def open(self) -> None:
        """Get ready. Comes before any other call."""

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        """How many of the runtime's ports each party of a task needs. Raises StartFailed."""

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        """Reserve the addresses of a task's parties, all or none. Raises NoCapacity, StartFailed."""

    async def attach(self, party: PartySpec) -> None:
        """After a restart of the server: reserve again what a running party has, before anything else is allocated."""

    async def start(self, party: PartySpec) -> None:
        """Start the party, or attach to its run. Raises StartFailed.

        Whatever it raises, the party may run: its reservations stay until `stop` has returned.
        """

    async def wait(self, key: PartyKey) -> ExitResult:
        """Wait for the party's end. Cancelling this stops nothing. After an error the end is unknown: `stop` it."""

    async def stop(self, key: PartyKey) -> None:
        """End the party, by force after the grace period, and free its reservations. A party that is gone is success.

        It returns only when nothing of the party runs and nothing can still be started.
        """

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        """The machine where one replica of the party runs, has run or is going to run."""

    async def owned(self) -> Collection[int]:
        """The numbers of the jobs for which the runtime has anything: programs, reservations or files."""

    async def stop_job(self, job: int) -> None:
        """Stop all programs of the job, also those that an earlier server started, and free its reservations."""

    async def remove(self, job: int) -> None:
        """Delete all files of a job. None of its programs may run."""

    async def close(self) -> None:
        """Release everything but the programs: they go on running."""


class ProgramPreview(Struct, frozen=True):
    """What one container of a party would execute.

    Of the environment and of config files only names and paths: their values can be secret. A reference to a variable
    stands in the command line as it is, `$(NAME)`.
    """

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    environment_names: tuple[str, ...]
    config_paths: tuple[str, ...]
    cpu_limit: str
    memory_limit: str


class PartyPreview(Struct, frozen=True):
    """What a party would execute; no programs where the runtime needs no AppImage."""

    deploy_template: str = ""
    replicas: int = 1
    programs: tuple[ProgramPreview, ...] = ()


class ConfigFile(Struct, frozen=True):
    """A config file of a party's program, by its path in the AppImage, without secrets."""

    container: str
    path: str
    text: str


class Previewer(Protocol):
    """A runtime, asked what it would start."""

    def preview(self, party: PartySpec) -> PartyPreview:
        """What would be executed for a party, which has no endpoints yet. Nothing is started, reserved or written.

        Raises StartFailed where the start would. It reads files and may take long: not for the event loop.
        """

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """The config files of the party's first replica, with likely addresses where it has none yet; see `preview`."""


class OutputStream(StrEnum):
    """What a program writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class OutputPiece(Struct, frozen=True):
    """Part of a program's output: its byte offset, and up to 64 KiB of data."""

    offset: int
    data: bytes


class Arrival(Struct, frozen=True, gc=False):
    """At `at` (seconds since the epoch) a program had written so many bytes to its streams."""

    at: float
    stdout: int
    stderr: int


class OutputSource(Protocol):
    """The output of programs. It is kept until their job is deleted."""

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """When output arrived, as far as it is known, in order; it may be coarse. Empty where it is not known.

        What was written by then may have arrived at any time since the arrival before.
        """

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """The output from a byte offset on; without data if there is none (yet).

        If the oldest output was dropped to keep the limit, it begins at the first byte that is left.
        """

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """How many bytes were written, with those that were dropped; 0 if there are none (yet)."""

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
        """The AppImage of that name; None if the runtime needs none. Raises UnknownAppImage."""
