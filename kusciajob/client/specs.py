"""A job as an application writes it: typed, a mapping, a file, or the message."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from msgspec import Struct, field

from kusciajob.api import kuscia, v1
from kusciajob.client.errors import InvalidJob

INVALID_REQUEST = 11100


class Party(Struct, frozen=True):
    """A domain that takes part in a task. Limits are Kubernetes quantities, such as "500m" and "2Gi"."""

    domain: str
    role: str = ""
    cpu: str = ""
    memory: str = ""
    bandwidth: str = ""
    """Mbit/s."""
    bandwidth_limits: Mapping[str, int] = field(default_factory=dict)
    """KiB/s, by the domain that the traffic goes to."""


class Schedule(Struct, frozen=True):
    """How long the parties of a task wait for each other. Seconds; 0: the server's default."""

    timeout: int = 0
    """Until all have started."""
    reserved: int = 0
    """One keeps its place."""
    retry: int = 0
    """From a failed attempt to the next."""


class Retry(Struct, frozen=True):
    """How often a task is tried; the first run counts. Seconds; None: the server's default."""

    max_attempts: int
    first_backoff: float | None = None
    max_backoff: float | None = None
    exit_codes: tuple[int, ...] = ()


class Task(Struct, frozen=True):
    """A task. `parties` are domains or Party, `after` aliases it depends on; `input` is text, or becomes JSON."""

    alias: str
    image: str
    parties: Sequence[str | Party]
    after: Sequence[str] = ()
    input: Any = ""
    task_id: str = ""
    priority: int = 0
    tolerable: bool = False
    retry: Retry | None = None
    run_timeout: float | None = None
    schedule: Schedule | None = None


class JobSpec(Struct, frozen=True):
    """A job. `deadline` and `ttl` are seconds; they, labels, `retry` and `run_timeout` need kusciajob.v1."""

    job_id: str
    initiator: str
    tasks: Sequence[Task]
    max_parallelism: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    deadline: float | None = None
    ttl: float | None = None
    is_strict: bool = False
    """A task that fails ends the job at once; else what does not depend on it still runs."""


AnyJob: TypeAlias = (
    "JobSpec | Mapping[str, Any] | str | os.PathLike[str] | kuscia.CreateJobRequest | v1.SubmitJobRequest"
)
"""A text is the path of a file."""


def request_of(job: AnyJob) -> v1.SubmitJobRequest:
    """The request for a job. Raises InvalidJob for what cannot be read as one; TypeError for other values."""
    match job:
        case v1.SubmitJobRequest():
            return job
        case kuscia.CreateJobRequest():
            return v1.SubmitJobRequest(job=job)
        case JobSpec():
            return _of_spec(job)
        case Mapping():
            return _parsed(json.dumps(dict(job)), source="the job")
        case str() | os.PathLike():
            return _read(Path(job))
    raise TypeError(f"a job is a JobSpec, a mapping, a file's path or a message, not {type(job).__name__}")


def needs_v1(request: v1.SubmitJobRequest) -> list[str]:
    """What CreateJob cannot say, by name."""
    return [found.name for found, _ in request.ListFields() if found.name != "job"]


def is_same(wanted: kuscia.CreateJobRequest, found: kuscia.QueryJobResponseData) -> bool:
    """Whether a job is the one of a request, by what QueryJob tells: defaults count, an own task id only if given.

    What QueryJob does not tell (`tolerable`, the schedule mode) and what it tells as it is in force
    (`schedule_config`) is not compared.
    """
    return (
        wanted.initiator == found.initiator
        and max(wanted.max_parallelism, 1) == max(found.max_parallelism, 1)
        and dict(wanted.custom_fields) == dict(found.custom_fields)
        and len(wanted.tasks) == len(found.tasks)
        and all(map(_is_same_task, wanted.tasks, found.tasks))
    )


def _is_same_task(wanted: kuscia.Task, found: kuscia.TaskConfig) -> bool:
    return (
        (wanted.alias, wanted.app_image, wanted.task_input_config, wanted.priority)
        == (found.alias, found.app_image, found.task_input_config, found.priority)
        and wanted.task_id in ("", found.task_id)
        and list(dict.fromkeys(wanted.dependencies)) == list(dict.fromkeys(found.dependencies))
        and _parties(wanted) == _parties(found)
    )


def _parties(task: kuscia.Task | kuscia.TaskConfig) -> list[bytes]:
    """One that is listed twice counts once."""
    return list(dict.fromkeys(party.SerializeToString(deterministic=True) for party in task.parties))


def _of_spec(spec: JobSpec) -> v1.SubmitJobRequest:
    request = v1.SubmitJobRequest(
        job=kuscia.CreateJobRequest(
            job_id=spec.job_id,
            initiator=spec.initiator,
            max_parallelism=spec.max_parallelism,
            tasks=[_task(task) for task in spec.tasks],
            custom_fields=spec.fields,
            header=kuscia.RequestHeader(custom_headers={"schedule_mode": "Strict"}) if spec.is_strict else None,
        ),
        deadline=_seconds(spec.deadline),
        ttl=_seconds(spec.ttl),
        labels=spec.labels,
    )
    for task in spec.tasks:
        if task.retry is None and task.run_timeout is None:
            continue
        policy = request.task_policies[task.alias]
        if task.run_timeout is not None:
            policy.run_timeout.CopyFrom(duration(task.run_timeout))
        if task.retry is not None:
            policy.retry.CopyFrom(
                v1.Retry(
                    max_attempts=task.retry.max_attempts,
                    first_backoff=_seconds(task.retry.first_backoff),
                    max_backoff=_seconds(task.retry.max_backoff),
                    exit_codes=task.retry.exit_codes,
                )
            )
    return request


def _task(task: Task) -> kuscia.Task:
    return kuscia.Task(
        app_image=task.image,
        alias=task.alias,
        task_id=task.task_id,
        parties=[_party(Party(each) if isinstance(each, str) else each) for each in task.parties],
        dependencies=task.after,
        task_input_config=task.input if isinstance(task.input, str) else json.dumps(task.input),
        priority=task.priority,
        tolerable=task.tolerable,
        schedule_config=_schedule(task.schedule),
    )


def _schedule(schedule: Schedule | None) -> kuscia.ScheduleConfig | None:
    if schedule is None:
        return None
    return kuscia.ScheduleConfig(
        task_timeout_seconds=schedule.timeout,
        resource_reserved_seconds=schedule.reserved,
        resource_reallocation_interval_seconds=schedule.retry,
    )


def _party(party: Party) -> kuscia.Party:
    resources = kuscia.JobResource(cpu=party.cpu, memory=party.memory, bandwidth=party.bandwidth)
    return kuscia.Party(
        domain_id=party.domain,
        role=party.role,
        resources=resources if resources.ListFields() else None,
        bandwidth_limits=[
            kuscia.BandwidthLimit(destination_id=domain, limit_kbps=limit)
            for domain, limit in party.bandwidth_limits.items()
        ],
    )


def _read(path: Path) -> v1.SubmitJobRequest:
    # Only who reads files needs the reader of YAML and what it checks names with.
    from kusciajob.wire import jobfile  # noqa: PLC0415

    try:
        return _filled(jobfile.read_job_file(path).request)
    except jobfile.JobFileError as error:
        raise InvalidJob(INVALID_REQUEST, str(error)) from None


def _parsed(text: str, *, source: str) -> v1.SubmitJobRequest:
    from kusciajob.wire import jobfile  # noqa: PLC0415

    try:
        return _filled(jobfile.parse_job(text, source=source).request)
    except jobfile.JobFileError as error:
        raise InvalidJob(INVALID_REQUEST, str(error)) from None


def _filled(request: dict[str, Any]) -> v1.SubmitJobRequest:
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415

    return v1.SubmitJobRequest(job=ParseDict(request, kuscia.CreateJobRequest()))


def _seconds(value: float | None) -> Duration | None:
    return None if value is None else duration(value)


def duration(seconds: float) -> Duration:
    """The message."""
    told = Duration()
    told.FromNanoseconds(round(seconds * 1e9))
    return told
