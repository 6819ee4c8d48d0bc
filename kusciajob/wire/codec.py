"""Converts job specifications from protobuf to the model, and whole jobs back. For statuses see job_status."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model import limits
from kusciajob.model.errors import InvalidJob
from kusciajob.model.job import (
    MAX_TASKS,
    SCHEDULE_MODE_HEADER,
    BandwidthLimit,
    JobSpec,
    Party,
    Resources,
    ScheduleConfig,
    ScheduleMode,
    Task,
)
from kusciajob.model.status import Job
from kusciajob.model.text import shown
from kusciajob.wire.job_status import encode_status

_Message = TypeVar("_Message")
_Value = TypeVar("_Value")


def decode_spec(request: pb.CreateJobRequest) -> JobSpec:
    """The job of a request. Raises InvalidJob, which names the wrong place."""
    spec = JobSpec(
        job_id=request.job_id,
        initiator=request.initiator,
        max_parallelism=max(request.max_parallelism, 1),
        tasks=_each("tasks", request.tasks, _decode_task, most=MAX_TASKS),
        custom_fields=dict(request.custom_fields),
        schedule_mode=_decode_schedule_mode(request),
    )
    limits.check(spec)
    return spec


def fill_job(data: pb.QueryJobResponseData, job: Job) -> None:
    """Write the whole job into an empty message."""
    spec = job.spec
    data.job_id = spec.job_id
    data.initiator = spec.initiator
    data.max_parallelism = spec.max_parallelism
    data.custom_fields.update(spec.custom_fields)
    for task, status in zip(spec.tasks, job.status.tasks, strict=True):
        _fill_task(data.tasks.add(), task, status.task_id)
    data.status.MergeFromString(encode_status(job.status))


def _decode_schedule_mode(request: pb.CreateJobRequest) -> ScheduleMode:
    if not request.HasField("header"):
        return ScheduleMode.BEST_EFFORT
    mode = request.header.custom_headers.get(SCHEDULE_MODE_HEADER, ScheduleMode.BEST_EFFORT)
    try:
        return ScheduleMode(mode)
    except ValueError:
        place = f"header.custom_headers[{shown(SCHEDULE_MODE_HEADER)}]"
        raise InvalidJob(f"{place} {shown(mode)} is not one of {', '.join(ScheduleMode)}") from None


def _each(
    field: str, messages: Sequence[_Message], decode: Callable[[_Message], _Value], *, most: int
) -> tuple[_Value, ...]:
    limits.check_count(field, len(messages), most)
    try:
        return tuple(map(decode, messages))
    except InvalidJob:
        for index, message in enumerate(messages):  # once more, to find the place
            try:
                decode(message)
            except InvalidJob as error:
                raise InvalidJob(f"{field}[{index}]: {error}") from None
        raise


def _decode_task(task: pb.Task) -> Task:
    schedule = None
    if task.HasField("schedule_config"):
        config = task.schedule_config
        schedule = ScheduleConfig(
            config.task_timeout_seconds,
            config.resource_reserved_seconds,
            config.resource_reallocation_interval_seconds,
        )
    return Task(
        alias=task.alias,
        app_image=task.app_image,
        parties=_each("parties", task.parties, _decode_party, most=limits.MAX_PARTIES),
        task_id=task.task_id,
        dependencies=tuple(task.dependencies),
        task_input_config=task.task_input_config,
        priority=task.priority,
        schedule_config=schedule,
        tolerable=task.tolerable,
    )


def _decode_party(party: pb.Party) -> Party:
    has_resources, bandwidth = party.HasField("resources"), party.bandwidth_limits
    if not has_resources and not bandwidth:
        return _plain_party(party.domain_id, party.role)
    resources = party.resources
    return Party(
        party.domain_id,
        party.role,
        Resources(resources.cpu, resources.memory, resources.bandwidth) if has_resources else None,
        _each("bandwidth_limits", bandwidth, _decode_limit, most=limits.MAX_BANDWIDTH_LIMITS),
    )


@lru_cache(maxsize=1024)
def _plain_party(domain_id: str, role: str) -> Party:
    """All tasks in which a domain has that role share one value: few domains take part in many tasks."""
    return Party(domain_id, role)


def _decode_limit(limit: pb.BandwidthLimit) -> BandwidthLimit:
    return BandwidthLimit(limit.destination_id, limit.limit_kbps)


def _fill_task(message: pb.TaskConfig, task: Task, task_id: str) -> None:
    message.app_image = task.app_image
    message.parties.extend(map(_encode_party, task.parties))
    message.alias = task.alias
    message.task_id = task_id
    message.dependencies.extend(task.dependencies)
    message.task_input_config = task.task_input_config
    message.priority = task.priority
    if task.schedule_config is not None:
        config = task.schedule_config
        message.schedule_config.SetInParent()
        message.schedule_config.task_timeout_seconds = config.task_timeout_seconds
        message.schedule_config.resource_reserved_seconds = config.resource_reserved_seconds
        message.schedule_config.resource_reallocation_interval_seconds = config.resource_reallocation_interval_seconds


def _encode_party(party: Party) -> pb.Party:
    message = pb.Party(domain_id=party.domain_id, role=party.role)
    if party.resources is not None:
        resources = party.resources
        message.resources.SetInParent()
        message.resources.cpu = resources.cpu
        message.resources.memory = resources.memory
        message.resources.bandwidth = resources.bandwidth
    for limit in party.bandwidth_limits:
        message.bandwidth_limits.add(destination_id=limit.destination_id, limit_kbps=limit.limit_kbps)
    return message
