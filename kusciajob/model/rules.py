"""The rules for a job specification, each written once. They yield what is wrong, with its place.

The values of the model call them when they are built and raise the first problem. A dry run calls them for a request
and tells all problems: what they look at has the same names there.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from kusciajob.model import graph
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.text import CONTROL, shown

MAX_TASKS = 128
MAX_PARALLELISM = 128
MAX_NAME_CHARACTERS = 253
MAX_IDENTITY_CHARACTERS = 63
MAX_CUSTOM_KEY_CHARACTERS = 63
MAX_CUSTOM_VALUE_CHARACTERS = 63
MAX_ATTEMPTS = 100
MAX_BACKOFF_FACTOR = 10.0
MAX_EXIT_CODES = 64
MAX_EXIT_CODE = 255
MAX_SECONDS = 10 * 366 * 86_400

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME_RULE = (
    f"it must be a DNS subdomain name (RFC 1123) of 1 to {MAX_NAME_CHARACTERS} characters: lower-case letters, digits, "
    '"-" and ".", every dot-separated label beginning and ending with a letter or digit, e.g. "psi-2024.run1"'
)
# A Kubernetes quantity: a decimal number with a binary suffix, a decimal suffix or an exponent.
QUANTITY = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")


class ResourcesLike(Protocol):
    """What a party asks for."""

    @property
    def cpu(self) -> str: ...
    @property
    def memory(self) -> str: ...
    @property
    def bandwidth(self) -> str: ...


class BandwidthLimitLike(Protocol):
    """A limit of what a party may send."""

    @property
    def destination_id(self) -> str: ...
    @property
    def limit_kbps(self) -> int: ...


class PartyLike(Protocol):
    """A party, without what it contains."""

    @property
    def domain_id(self) -> str: ...
    @property
    def role(self) -> str: ...


class TaskLike(Protocol):
    """A task; of its parties only that equal ones are equal."""

    @property
    def alias(self) -> str: ...
    @property
    def app_image(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def parties(self) -> Sequence[PartyLike]: ...
    @property
    def dependencies(self) -> Sequence[str]: ...


class JobLike(Protocol):
    """A job, without what it contains."""

    @property
    def job_id(self) -> str: ...
    @property
    def initiator(self) -> str: ...
    @property
    def tasks(self) -> Sequence[TaskLike]: ...
    @property
    def custom_fields(self) -> Mapping[str, str]: ...


class RetryLike(Protocol):
    """When a task is to run again."""

    @property
    def max_attempts(self) -> int: ...
    @property
    def first_backoff_seconds(self) -> float: ...
    @property
    def max_backoff_seconds(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def exit_codes(self) -> Sequence[int]: ...


def require(problems: Iterable[Problem]) -> None:
    """Raise InvalidJob for the first problem, if there is one. The others are not looked for."""
    for problem in problems:
        raise InvalidJob(problem.text, problems=[problem])


def within(place: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """The problems of what is at that place of something larger."""
    for problem in problems:
        yield inside(place, problem)


def inside(place: str, problem: Problem) -> Problem:
    """The problem as one of something larger, in which that is at this place."""
    return Problem(f"{place}.{problem.field}" if problem.field else place, f"{place}: {problem.text}")


def in_map(field: str, key: str) -> str:
    """The place of an entry of a map."""
    return f"{field}[{shown(key)}]"


def of_name(field: str, value: str, *, label: str = "") -> Iterator[Problem]:
    """A value that is no DNS subdomain name (RFC 1123) of 1 to 253 characters."""
    if not value:
        yield Problem(field, f"{label or field} is required: {_NAME_RULE}")
    elif len(value) > MAX_NAME_CHARACTERS or not _SUBDOMAIN.fullmatch(value):
        yield Problem(field, f"{label or field} {shown(value)} is not valid: {_NAME_RULE}")


def of_seconds(field: str, seconds: float | None, *, label: str = "") -> Iterator[Problem]:
    """A time span that cannot be waited for."""
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        yield Problem(
            field,
            f"{label or field} of {seconds:g} s is out of range: above 0, at most {MAX_SECONDS} s (10 years)",
        )


def of_identity(field: str, value: str) -> Iterator[Problem]:
    """A domain id that is missing or unusable. How long that of a new job may be is in `limits`."""
    if not value:
        yield Problem(field, f'{field} is required, e.g. "alice"')
    elif len(value) > MAX_NAME_CHARACTERS or CONTROL.search(value):
        yield invalid_identity(field, value)


def invalid_identity(field: str, value: str, *, label: str = "") -> Problem:
    """A domain id that is too long or not printable."""
    return Problem(
        field,
        f"{label or field} {shown(value)} is not valid: at most {MAX_IDENTITY_CHARACTERS} printable characters, "
        "no control characters or direction marks",
    )


def of_resources(resources: ResourcesLike) -> Iterator[Problem]:
    for field in ("cpu", "memory", "bandwidth"):
        value: str = getattr(resources, field)
        if value and not QUANTITY.fullmatch(value):
            yield Problem(
                f"resources.{field}",
                f"resources.{field} {shown(value)} is not a Kubernetes quantity: "
                'a number with an optional suffix, e.g. "500m", "2" or "4Gi"',
            )


def of_bandwidth_limit(limit: BandwidthLimitLike) -> Iterator[Problem]:
    if not limit.destination_id:
        yield Problem("destination_id", 'destination_id is required, e.g. "bob"')
    if limit.limit_kbps <= 0:
        text = f"limit_kbps {limit.limit_kbps} for {shown(limit.destination_id)} must be above 0"
        yield Problem("limit_kbps", text)


def of_party(party: PartyLike) -> Iterator[Problem]:
    yield from of_identity("domain_id", party.domain_id)
    if len(party.role) > MAX_NAME_CHARACTERS or CONTROL.search(party.role):
        yield Problem(
            "role",
            f"role {shown(party.role)} is not valid: at most {MAX_NAME_CHARACTERS} characters, no control characters",
        )


def of_retry(retry: RetryLike) -> Iterator[Problem]:
    if not 2 <= retry.max_attempts <= MAX_ATTEMPTS:
        yield Problem(
            "retry.max_attempts",
            f"retry.max_attempts {retry.max_attempts} is out of range: 2 to {MAX_ATTEMPTS}, the first run included",
        )
    yield from of_seconds("retry.first_backoff", retry.first_backoff_seconds)
    yield from of_seconds("retry.max_backoff", retry.max_backoff_seconds)
    if not 1 <= retry.factor <= MAX_BACKOFF_FACTOR:
        text = f"retry.factor {retry.factor:g} is out of range: 1 to {MAX_BACKOFF_FACTOR:g}"
        yield Problem("retry.factor", text)
    if len(retry.exit_codes) > MAX_EXIT_CODES:
        text = f"retry.exit_codes has {len(retry.exit_codes)} entries: at most {MAX_EXIT_CODES}"
        yield Problem("retry.exit_codes", text)
        return
    for index, code in enumerate(retry.exit_codes):
        if not 1 <= code <= MAX_EXIT_CODE:
            yield Problem(
                f"retry.exit_codes[{index}]",
                f"retry.exit_codes has {code}: an exit code of a failure is 1 to {MAX_EXIT_CODE} "
                "(128 plus its number for a signal)",
            )


def of_task(task: TaskLike) -> Iterator[Problem]:
    """A task's own, without those of its parties, of its retries and of its time-out."""
    if not task.alias:
        yield Problem("alias", 'alias is required and must be unique in the job, e.g. "psi"')
    if not task.app_image:
        yield Problem("app_image", f"{_label(task)}: app_image is required: the name of a registered AppImage")
    if not task.parties:
        yield Problem("parties", f"{_label(task)}: parties is empty: at least one party is required")
    # Equal parties are one: clients do send repeated ones.
    seen: dict[tuple[str, str], PartyLike] = {}
    for index, party in enumerate(task.parties):
        earlier = seen.setdefault((party.domain_id, party.role), party)
        if earlier is not party and earlier != party:
            yield Problem(
                f"parties[{index}]",
                f"{_label(task)}: party {shown(party.domain_id)} with role {shown(party.role)} "
                "is listed twice with different values: domain_id and role together must be unique in a task",
            )
    if task.task_id:
        yield from of_name("task_id", task.task_id, label=f"{_label(task)}: task_id")


def _label(task: TaskLike) -> str:
    return f"task {shown(task.alias)}"


def of_run_timeout(alias: str, seconds: float | None) -> Iterator[Problem]:
    yield from of_seconds("run_timeout", seconds, label=f"task {shown(alias)}: run_timeout")


def of_max_parallelism(value: int) -> Iterator[Problem]:
    if not 1 <= value <= MAX_PARALLELISM:
        yield Problem(
            "max_parallelism",
            f"max_parallelism {value} is out of range: 1 to {MAX_PARALLELISM} (0 or less in a request means 1)",
        )


def of_job(job: JobLike, *, max_parallelism: int) -> Iterator[Problem]:
    """A job's own, without those of its tasks, of its deadline and of its time to live."""
    yield from of_name("job_id", job.job_id)
    yield from of_identity("initiator", job.initiator)
    yield from of_max_parallelism(max_parallelism)
    if 1 <= len(job.tasks) <= MAX_TASKS:
        yield from _of_task_names(job.tasks)
        yield from graph.problems([(task.alias, task.dependencies) for task in job.tasks])
    else:
        yield Problem("tasks", f"tasks has {len(job.tasks)} entries: 1 to {MAX_TASKS} are possible")
    for key, value in job.custom_fields.items():
        if len(key) > MAX_CUSTOM_KEY_CHARACTERS:
            yield Problem(
                in_map("custom_fields", key),
                f"custom_fields key {shown(key)} has {len(key)} characters: "
                f"at most {MAX_CUSTOM_KEY_CHARACTERS} are possible",
            )
        if len(value) > MAX_CUSTOM_VALUE_CHARACTERS:
            yield Problem(
                in_map("custom_fields", key),
                f"custom_fields[{shown(key)}] has {len(value)} characters: "
                f"at most {MAX_CUSTOM_VALUE_CHARACTERS} are possible",
            )


def _of_task_names(tasks: Sequence[TaskLike]) -> Iterator[Problem]:
    aliases: set[Hashable] = set()
    task_ids: set[Hashable] = set()
    for index, task in enumerate(tasks):
        if task.alias in aliases:
            text = f"alias {shown(task.alias)} is used twice: an alias must be unique in the job"
            yield Problem(f"tasks[{index}].alias", text)
        aliases.add(task.alias)
        if task.task_id:
            if task.task_id in task_ids:
                text = f"task_id {shown(task.task_id)} is used twice: it must be unique in the job"
                yield Problem(f"tasks[{index}].task_id", text)
            task_ids.add(task.task_id)
