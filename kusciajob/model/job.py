"""The specification of a job. Values are frozen and check themselves: one that breaks a rule cannot be built.

The rules are those of Kuscia's `JobService`; names follow RFC 1123 as Kubernetes applies it. Limits of length and
number are in `limits`, because jobs stored by earlier versions may exceed them.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import force_setattr

from kusciajob.model import graph
from kusciajob.model.errors import InvalidJob
from kusciajob.model.text import CONTROL, shown

MAX_TASKS = 128
MAX_PARALLELISM = 128
MAX_NAME_CHARACTERS = 253
MAX_IDENTITY_CHARACTERS = 63
MAX_CUSTOM_KEY_CHARACTERS = 63
MAX_CUSTOM_VALUE_CHARACTERS = 63
DEFAULT_TASK_TIMEOUT_SECONDS = 300
DEFAULT_RESERVED_SECONDS = 30
DEFAULT_REALLOCATION_SECONDS = 30
MAX_ATTEMPTS = 100
DEFAULT_FIRST_BACKOFF_SECONDS = 10.0
DEFAULT_MAX_BACKOFF_SECONDS = 300.0
DEFAULT_BACKOFF_FACTOR = 2.0
MAX_BACKOFF_FACTOR = 10.0
MAX_EXIT_CODES = 64
MAX_EXIT_CODE = 255
MAX_SECONDS = 10 * 366 * 86_400

SCHEDULE_MODE_HEADER = "schedule_mode"
"""The custom header of a CreateJobRequest that asks for a ScheduleMode: Kuscia's API has no field for it."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# A Kubernetes quantity: a decimal number with a binary suffix, a decimal suffix or an exponent.
QUANTITY = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")


def check_name(field: str, value: str) -> None:
    """Raise InvalidJob unless the value is a DNS subdomain name (RFC 1123) of 1 to 253 characters."""
    if not value:
        raise InvalidJob(f"{field} is required: {_NAME_RULE}")
    if len(value) > MAX_NAME_CHARACTERS or not _SUBDOMAIN.fullmatch(value):
        raise InvalidJob(f"{field} {shown(value)} is not valid: {_NAME_RULE}")


_NAME_RULE = (
    f"it must be a DNS subdomain name (RFC 1123) of 1 to {MAX_NAME_CHARACTERS} characters: lower-case letters, digits, "
    '"-" and ".", every dot-separated label beginning and ending with a letter or digit, e.g. "psi-2024.run1"'
)


def check_seconds(field: str, seconds: float) -> None:
    """Raise InvalidJob unless that is a time span that can be waited for."""
    if not 0 < seconds <= MAX_SECONDS:
        raise InvalidJob(f"{field} of {seconds:g} s is out of range: above 0, at most {MAX_SECONDS} s (10 years)")


def invalid_identity(field: str, value: str) -> InvalidJob:
    """The error for a domain id that is too long or not printable."""
    return InvalidJob(
        f"{field} {shown(value)} is not valid: at most {MAX_IDENTITY_CHARACTERS} printable characters, "
        "no control characters or direction marks"
    )


def _check_identity(field: str, value: str) -> None:
    if not value:
        raise InvalidJob(f'{field} is required, e.g. "alice"')
    if len(value) > MAX_NAME_CHARACTERS or CONTROL.search(value):
        raise invalid_identity(field, value)


class Resources(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a party asks for, each a Kubernetes quantity such as "500m", "2" or "4Gi"; empty = unlimited."""

    cpu: str = ""
    memory: str = ""
    bandwidth: str = ""

    def __post_init__(self) -> None:
        for field in ("cpu", "memory", "bandwidth"):
            value: str = getattr(self, field)
            if value and not QUANTITY.fullmatch(value):
                raise InvalidJob(
                    f"resources.{field} {shown(value)} is not a Kubernetes quantity: "
                    'a number with an optional suffix, e.g. "500m", "2" or "4Gi"'
                )


class BandwidthLimit(Struct, frozen=True, gc=False):
    """The most that a party may send to another domain, in kilobit per second."""

    destination_id: str
    limit_kbps: int

    def __post_init__(self) -> None:
        if not self.destination_id:
            raise InvalidJob('destination_id is required, e.g. "bob"')
        if self.limit_kbps <= 0:
            raise InvalidJob(f"limit_kbps {self.limit_kbps} for {shown(self.destination_id)} must be above 0")


class Party(Struct, frozen=True, gc=False, omit_defaults=True):
    """One participant of a task: a domain in a role."""

    domain_id: str
    role: str = ""
    resources: Resources | None = None
    bandwidth_limits: tuple[BandwidthLimit, ...] = ()

    def __post_init__(self) -> None:
        _check_identity("domain_id", self.domain_id)
        if len(self.role) > MAX_NAME_CHARACTERS or CONTROL.search(self.role):
            raise InvalidJob(
                f"role {shown(self.role)} is not valid: at most {MAX_NAME_CHARACTERS} characters, no control characters"
            )


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
        if not 2 <= self.max_attempts <= MAX_ATTEMPTS:
            raise InvalidJob(
                f"retry.max_attempts {self.max_attempts} is out of range: 2 to {MAX_ATTEMPTS}, the first run included"
            )
        check_seconds("retry.first_backoff", self.first_backoff_seconds)
        check_seconds("retry.max_backoff", self.max_backoff_seconds)
        if not 1 <= self.factor <= MAX_BACKOFF_FACTOR:
            raise InvalidJob(f"retry.factor {self.factor:g} is out of range: 1 to {MAX_BACKOFF_FACTOR:g}")
        if len(self.exit_codes) > MAX_EXIT_CODES:
            raise InvalidJob(f"retry.exit_codes has {len(self.exit_codes)} entries: at most {MAX_EXIT_CODES}")
        for code in self.exit_codes:
            if not 1 <= code <= MAX_EXIT_CODE:
                raise InvalidJob(
                    f"retry.exit_codes has {code}: an exit code of a failure is 1 to {MAX_EXIT_CODE} "
                    "(128 plus its number for a signal)"
                )

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
        if not self.alias:
            raise InvalidJob('alias is required and must be unique in the job, e.g. "psi"')
        if not self.app_image:
            raise InvalidJob(f"task {shown(self.alias)}: app_image is required: the name of a registered AppImage")
        if not self.parties:
            raise InvalidJob(f"task {shown(self.alias)}: parties is empty: at least one party is required")
        self._drop_repeats()
        if self.task_id:
            check_name(f"task {shown(self.alias)}: task_id", self.task_id)
        if self.run_timeout_seconds is not None:
            check_seconds(f"task {shown(self.alias)}: run_timeout", self.run_timeout_seconds)

    def _drop_repeats(self) -> None:
        """Keep the first of equal parties or dependencies: clients do send repeated ones."""
        seen: dict[tuple[str, str], Party] = {}
        for party in self.parties:
            earlier = seen.setdefault((party.domain_id, party.role), party)
            if earlier is not party and earlier != party:
                raise InvalidJob(
                    f"task {shown(self.alias)}: party {shown(party.domain_id)} with role {shown(party.role)} "
                    "is listed twice with different values: domain_id and role together must be unique in a task"
                )
        if len(seen) < len(self.parties):
            force_setattr(self, "parties", tuple(seen.values()))
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
        check_name("job_id", self.job_id)
        _check_identity("initiator", self.initiator)
        if not 1 <= self.max_parallelism <= MAX_PARALLELISM:
            raise InvalidJob(
                f"max_parallelism {self.max_parallelism} is out of range: "
                f"1 to {MAX_PARALLELISM} (0 or less in a request means 1)"
            )
        if not 1 <= len(self.tasks) <= MAX_TASKS:
            raise InvalidJob(f"tasks has {len(self.tasks)} entries: 1 to {MAX_TASKS} are possible")
        self._check_task_names()
        graph.check([(task.alias, task.dependencies) for task in self.tasks])
        self._check_custom_fields()
        for field, seconds in (("deadline", self.deadline_seconds), ("ttl", self.ttl_seconds)):
            if seconds is not None:
                check_seconds(field, seconds)

    def _check_task_names(self) -> None:
        aliases: set[str] = set()
        task_ids: set[str] = set()
        for task in self.tasks:
            if task.alias in aliases:
                raise InvalidJob(f"alias {shown(task.alias)} is used twice: an alias must be unique in the job")
            aliases.add(task.alias)
            if task.task_id:
                if task.task_id in task_ids:
                    raise InvalidJob(f"task_id {shown(task.task_id)} is used twice: it must be unique in the job")
                task_ids.add(task.task_id)

    def _check_custom_fields(self) -> None:
        for key, value in self.custom_fields.items():
            if len(key) > MAX_CUSTOM_KEY_CHARACTERS:
                raise InvalidJob(
                    f"custom_fields key {shown(key)} has {len(key)} characters: "
                    f"at most {MAX_CUSTOM_KEY_CHARACTERS} are possible"
                )
            if len(value) > MAX_CUSTOM_VALUE_CHARACTERS:
                raise InvalidJob(
                    f"custom_fields[{shown(key)}] has {len(value)} characters: "
                    f"at most {MAX_CUSTOM_VALUE_CHARACTERS} are possible"
                )

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
