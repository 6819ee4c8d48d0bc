"""What is run, for whom, and how it ends."""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from kusciajob.model.appimage import AppImage
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.status import Endpoint, TaskState


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


class ImageSource(Protocol):
    """Where AppImages come from."""

    def get(self, name: str) -> AppImage | None:
        """The AppImage of that name; None if the runtime needs none. Raises UnknownAppImage."""
