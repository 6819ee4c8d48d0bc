"""The limits of a new job: lengths, counts and sizes. They are checked once, when the job comes in.

The values of the model do not check them, because jobs stored by earlier versions may be larger and must stay readable.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from kusciajob.model import rules
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.job import JobSpec, Task
from kusciajob.model.rules import (
    MAX_IDENTITY_CHARACTERS,
    MAX_NAME_CHARACTERS,
    BandwidthLimitLike,
    JobLike,
    PartyLike,
    ResourcesLike,
    TaskLike,
)
from kusciajob.model.text import CONTROL, shown

MAX_PARTIES = 128
MAX_BANDWIDTH_LIMITS = 128
MAX_CUSTOM_FIELDS = 128
MAX_LABELS = 128
MAX_LABEL_KEY_CHARACTERS = 253
MAX_LABEL_VALUE_CHARACTERS = 4096
MAX_LABELS_CHARACTERS = 16 << 10
"""Of all keys and values: they are told with every row of a list."""
MAX_STATUS_BYTES = 1 << 20
"""The most that the status of a job takes on the wire."""
MAX_NAMES_BYTES = 768 << 10
"""The most that names and addresses take of it; the rest is left for texts."""
MAX_SPEC_BYTES = 8 << 20
"""The most that a job takes beside its tasks' task_input_config, roughly."""

# Bytes on the wire beside the name. Of a task or party: state, times, tags, lengths; of an endpoint: scope, address.
_TASK_BYTES, _PARTY_BYTES, _DOMAIN_BYTES, _ENDPOINT_BYTES = 120, 20, 64, 48
_FEW_PARTIES = 128
"""So many can take what they will: they stay within the limits."""


class LimitedParty(PartyLike, Protocol):
    """A party with all that it contains."""

    @property
    def resources(self) -> ResourcesLike | None: ...
    @property
    def bandwidth_limits(self) -> Sequence[BandwidthLimitLike]: ...


class LimitedTask(TaskLike, Protocol):
    """A task with all that it contains."""

    @property
    def parties(self) -> Sequence[LimitedParty]: ...


class LimitedJob(JobLike, Protocol):
    """A job with all that it contains."""

    @property
    def tasks(self) -> Sequence[LimitedTask]: ...


def of_count(field: str, count: int, most: int) -> Iterator[Problem]:
    """A list with too many entries. It is asked for before anything looks at the entries."""
    if count > most:
        yield Problem(field, f"{field} has {count} entries: at most {most} are possible")


def check(spec: JobSpec) -> None:
    """Raise InvalidJob, which names the place, when a name is too long or not printable, or a list is too long."""
    rules.require(of_job(spec))
    if spec.labels:
        rules.require(of_labels(spec.labels))


def of_job(job: LimitedJob) -> Iterator[Problem]:
    """Names that are too long or not printable, and lists that are too long, of a job without too many tasks."""
    yield from _of_identity("initiator", "initiator", job.initiator)
    yield from of_count("custom_fields", len(job.custom_fields), MAX_CUSTOM_FIELDS)
    size = 0
    for index, task in enumerate(job.tasks):
        if len(task.alias) > MAX_NAME_CHARACTERS or len(task.app_image) > MAX_NAME_CHARACTERS:
            for field in ("alias", "app_image"):
                yield from _of_length(f"tasks[{index}].{field}", f"tasks[{index}]: {field}", getattr(task, field))
        for position, party in enumerate(task.parties):
            if not (len(party.domain_id) <= MAX_IDENTITY_CHARACTERS and party.domain_id.isprintable()):
                label = f"tasks[{index}]: parties[{position}]: domain_id"
                yield from _of_identity(f"tasks[{index}].parties[{position}].domain_id", label, party.domain_id)
            if party.resources is not None or party.bandwidth_limits:
                yield from _of_party(f"tasks[{index}].parties[{position}]", party)
                size += sum(len(limit.destination_id) + _ENDPOINT_BYTES for limit in party.bandwidth_limits)
        size += sum(map(len, task.dependencies))
    if size > MAX_SPEC_BYTES:
        yield Problem(
            "tasks",
            f"dependencies and bandwidth_limits of all tasks take {size:,} bytes: at most {MAX_SPEC_BYTES:,} are "
            "possible; only task_input_config may be large",
        )


def check_status_size(spec: JobSpec, endpoints: Sequence[int]) -> None:
    """Raise InvalidJob when the job's status might not fit into MAX_STATUS_BYTES.

    `endpoints` is how many addresses each party of a task may get.
    """
    if sum(len(task.parties) * (1 + ports) for task, ports in zip(spec.tasks, endpoints, strict=True)) <= _FEW_PARTIES:
        return
    tasks = sum(map(_task_bytes, spec.tasks, endpoints))
    domains = sum(_bytes(domain) * 2 + _DOMAIN_BYTES for domain in spec.domains)
    if tasks + domains > MAX_NAMES_BYTES:
        count = sum(len(task.parties) for task in spec.tasks)
        raise InvalidJob(
            f"the status of a job of {len(spec.tasks)} tasks with {count:,} parties of {len(spec.domains):,} domains, "
            f"with their names and up to {max(endpoints)} addresses each, takes {tasks + domains:,} bytes: "
            f"at most {MAX_NAMES_BYTES:,} are possible; use fewer parties or shorter names"
        )


def _task_bytes(task: Task, endpoints: int) -> int:
    names = _bytes(task.alias) + (len(task.task_id) or MAX_NAME_CHARACTERS) + _TASK_BYTES
    parties = sum([_bytes(party.domain_id) + _bytes(party.role) for party in task.parties])
    return names + parties + len(task.parties) * (_PARTY_BYTES + endpoints * _ENDPOINT_BYTES)


def _bytes(text: str) -> int:
    return len(text.encode())


def _of_identity(field: str, label: str, value: str) -> Iterator[Problem]:
    if len(value) > MAX_IDENTITY_CHARACTERS or not value.isprintable():
        yield rules.invalid_identity(field, value, label=label)


def of_labels(labels: Mapping[str, str]) -> Iterator[Problem]:
    """Labels that are too many or too long."""
    if len(labels) > MAX_LABELS:
        yield from of_count("labels", len(labels), MAX_LABELS)
        return
    for key, value in labels.items():
        if not 0 < len(key) <= MAX_LABEL_KEY_CHARACTERS or CONTROL.search(key):
            yield Problem(
                rules.in_map("labels", key),
                f"labels key {shown(key)} is not valid: 1 to {MAX_LABEL_KEY_CHARACTERS} characters, "
                "no control characters",
            )
        if len(value) > MAX_LABEL_VALUE_CHARACTERS:
            yield Problem(
                rules.in_map("labels", key),
                f"labels[{shown(key)}] has {len(value)} characters: at most {MAX_LABEL_VALUE_CHARACTERS} are possible",
            )
    total = sum(len(key) + len(value) for key, value in labels.items())
    if total > MAX_LABELS_CHARACTERS:
        yield Problem("labels", f"labels have {total:,} characters: at most {MAX_LABELS_CHARACTERS:,} are possible")


def _of_length(field: str, label: str, value: str) -> Iterator[Problem]:
    if len(value) > MAX_NAME_CHARACTERS:
        text = f"{label} {shown(value)} is too long: at most {MAX_NAME_CHARACTERS} characters are possible"
        yield Problem(field, text)


def _of_party(place: str, party: LimitedParty) -> Iterator[Problem]:
    label = place.replace(".", ": ")
    if party.resources is not None:
        for field in ("cpu", "memory", "bandwidth"):
            value = getattr(party.resources, field)
            yield from _of_length(f"{place}.resources.{field}", f"{label}: resources.{field}", value)
    for index, limit in enumerate(party.bandwidth_limits):
        where, value = f"bandwidth_limits[{index}]", limit.destination_id
        yield from _of_length(f"{place}.{where}.destination_id", f"{label}: {where}: destination_id", value)
