"""The specification of a job. Values are frozen and check themselves: one that breaks a rule cannot be built.

The rules are those of Kuscia's `JobService`; names follow RFC 1123 as Kubernetes applies it. Limits of length and
number are in `limits`, because jobs stored by earlier versions may exceed them.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import force_setattr

from kusciajob.model import rules
from kusciajob.model.rules import MAX_NAME_CHARACTERS

DEFAULT_TASK_TIMEOUT_SECONDS = 300
DEFAULT_RESERVED_SECONDS = 30
DEFAULT_REALLOCATION_SECONDS = 30
DEFAULT_FIRST_BACKOFF_SECONDS = 10.0
DEFAULT_MAX_BACKOFF_SECONDS = 300.0
DEFAULT_BACKOFF_FACTOR = 2.0

SCHEDULE_MODE_HEADER = "schedule_mode"
"""The custom header of a CreateJobRequest that asks for a ScheduleMode: Kuscia's API has no field for it."""

REASON_HEADER = "reason"
"""The custom header of a DeleteJobRequest that says why: Kuscia's API has no field for it either."""


class Resources(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a party asks for, each a Kubernetes quantity such as "500m", "2" or "4Gi"; empty = unlimited."""

    cpu: str = ""
    memory: str = ""
    bandwidth: str = ""

    def __post_init__(self) -> None:
        rules.require(rules.of_resources(self))


class BandwidthLimit(Struct, frozen=True, gc=False):
    """The most that a party may send to another domain, in kilobit per second."""

    destination_id: str
    limit_kbps: int

    def __post_init__(self) -> None:
        rules.require(rules.of_bandwidth_limit(self))


class Party(Struct, frozen=True, gc=False, omit_defaults=True):
    """One participant of a task: a domain in a role."""

    domain_id: str
    role: str = ""
    resources: Resources | None = None
    bandwidth_limits: tuple[BandwidthLimit, ...] = ()

    def __post_init__(self) -> None:
        rules.require(rules.of_party(self))


class ScheduleConfig(Struct, frozen=True, gc=False, omit_defaults=True):
    """How long a task may wait to be scheduled, in seconds. 0 or less means the default."""

    task_timeout_seconds: int = DEFAULT_TASK_TIMEOUT_SECONDS
    resource_reserved_seconds: int = DEFAULT_RESERVED_SECONDS
    resource_reallocation_interval_seconds: int = DEFAULT_REALLOCATION_SECONDS

    def __post_init__(self) -> None:
        for field, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if getattr(self, field) <= 0:
                force_setattr(self, field, default)


class Retry(Struct, frozen=True, gc=False, omit_defaults=True):
    """When a failed task runs again by itself. `max_attempts` counts the first run; back-offs are in seconds.

    `exit_codes`: only where a party ended with one of them; empty means whatever the failure.
    """

    max_attempts: int
    first_backoff_seconds: float = DEFAULT_FIRST_BACKOFF_SECONDS
    max_backoff_seconds: float = DEFAULT_MAX_BACKOFF_SECONDS
    factor: float = DEFAULT_BACKOFF_FACTOR
    exit_codes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rules.require(rules.of_retry(self))

    def backoff_seconds(self, tries: int) -> float:
        """How long to wait after so many tries, at least 1."""
        return min(self.first_backoff_seconds * self.factor ** (tries - 1), self.max_backoff_seconds)


class Task(Struct, frozen=True, gc=False, omit_defaults=True):
    """One program, run by every party at the same time."""

    alias: str
    app_image: str
    parties: tuple[Party, ...]
    task_id: str = ""
    dependencies: tuple[str, ...] = ()
    task_input_config: str = ""
    priority: int = 0
    schedule_config: ScheduleConfig | None = None
    tolerable: bool = False
    retry: Retry | None = None
    run_timeout_seconds: float | None = None
    """How long one attempt may run."""

    def __post_init__(self) -> None:
        rules.require(rules.of_task(self))
        if self.run_timeout_seconds is not None:
            rules.require(rules.of_run_timeout(self.alias, self.run_timeout_seconds))
        # The first of equal parties or dependencies is kept: clients do send repeated ones.
        if len(self.parties) > 1:
            force_setattr(self, "parties", tuple({(each.domain_id, each.role): each for each in self.parties}.values()))
        if len(self.dependencies) > 1:
            force_setattr(self, "dependencies", tuple(dict.fromkeys(self.dependencies)))


class ScheduleMode(StrEnum):
    """KusciaJob's scheduleMode: what the rest of a job does after a task that is not tolerable failed."""

    BEST_EFFORT = "BestEffort"
    """Tasks that do not depend on it still run."""
    STRICT = "Strict"
    """Everything that runs is stopped and nothing more is started."""


class Traits(Struct, frozen=True, gc=False, omit_defaults=True):
    """What never changes of a job and lists and filters want to know of its specification."""

    app_images: tuple[str, ...] = ()
    """Of its tasks, in order of first appearance."""
    custom_fields: dict[str, str] = {}
    labels: dict[str, str] = {}


NO_TRAITS = Traits()


class JobSpec(Struct, frozen=True, omit_defaults=True, weakref=True):
    """A whole job: a graph of tasks. Equal specs are the same request."""

    job_id: str
    initiator: str
    tasks: tuple[Task, ...]
    max_parallelism: int = 1
    custom_fields: dict[str, str] = {}
    schedule_mode: ScheduleMode = ScheduleMode.BEST_EFFORT
    deadline_seconds: float | None = None
    """The job is stopped so long after its creation, or after its last restart."""
    ttl_seconds: float | None = None
    """The job is deleted so long after its end."""
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        rules.require(rules.of_job(self, max_parallelism=self.max_parallelism))
        for field, seconds in (("deadline", self.deadline_seconds), ("ttl", self.ttl_seconds)):
            if seconds is not None:
                rules.require(rules.of_seconds(field, seconds))

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of all parties, in order of first appearance."""
        return tuple(dict.fromkeys(party.domain_id for task in self.tasks for party in task.parties))

    @property
    def traits(self) -> Traits:
        """See Traits; it shares the specification's dictionaries."""
        images = tuple(dict.fromkeys([task.app_image for task in self.tasks]))
        return Traits(images, self.custom_fields, self.labels)


def task_ids(spec: JobSpec, suffixes: Sequence[str]) -> tuple[str, ...]:
    """Every task's id: the one in the request, else `<job_id>-<suffix>`.

    The suffixes, one for each task, have one length. The job id is cut so that an id has at most 253 characters.
    """
    prefix = spec.job_id[: MAX_NAME_CHARACTERS - len(suffixes[0]) - 1].rstrip("-.")
    return tuple([task.task_id or f"{prefix}-{suffix}" for task, suffix in zip(spec.tasks, suffixes, strict=True)])
