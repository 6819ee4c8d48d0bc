"""Converts job specifications from protobuf to the model, and whole jobs back. For statuses see job_status."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model import limits, rules
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.job import (
    SCHEDULE_MODE_HEADER,
    BandwidthLimit,
    JobSpec,
    Party,
    Resources,
    ScheduleConfig,
    ScheduleMode,
    Task,
)
from kusciajob.model.rules import MAX_TASKS
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


def fill_request(request: pb.CreateJobRequest, spec: JobSpec, task_ids: Sequence[str]) -> None:
    """Write a specification into an empty request, but its schedule mode, with these ids of its tasks."""
    request.job_id = spec.job_id
    request.initiator = spec.initiator
    request.max_parallelism = spec.max_parallelism
    request.custom_fields.update(spec.custom_fields)
    for task, task_id in zip(spec.tasks, task_ids, strict=True):
        message = request.tasks.add(tolerable=task.tolerable)
        _fill_task(message, task, task_id)


def _decode_schedule_mode(request: pb.CreateJobRequest) -> ScheduleMode:
    if not request.HasField("header"):
        return ScheduleMode.BEST_EFFORT
    rules.require(_of_schedule_mode(request))
    return ScheduleMode(_schedule_mode(request))


def _schedule_mode(request: pb.CreateJobRequest) -> str:
    if not request.HasField("header"):
        return ScheduleMode.BEST_EFFORT
    return request.header.custom_headers.get(SCHEDULE_MODE_HEADER, ScheduleMode.BEST_EFFORT)


def _of_schedule_mode(request: pb.CreateJobRequest) -> Iterator[Problem]:
    mode = _schedule_mode(request)
    if mode not in list(ScheduleMode):
        place = rules.in_map("header.custom_headers", SCHEDULE_MODE_HEADER)
        yield Problem(place, f"{place} {shown(mode)} is not one of {', '.join(ScheduleMode)}")


def problems(request: pb.CreateJobRequest) -> Iterator[Problem]:
    """All that is wrong with a request, by the rules by which `decode_spec` refuses it, the first of these first.

    Of a list that is too long the entries are not looked at.
    """
    has_too_many = len(request.tasks) > MAX_TASKS
    yield from limits.of_count("tasks", len(request.tasks), MAX_TASKS)
    for index, task in enumerate(() if has_too_many else request.tasks):
        yield from rules.within(f"tasks[{index}]", _of_task(task))
    yield from _of_schedule_mode(request)
    for problem in rules.of_job(request, max_parallelism=max(request.max_parallelism, 1)):
        if not (has_too_many and problem.field == "tasks"):
            yield problem
    if not has_too_many:
        yield from limits.of_job(request)


def _of_task(task: pb.Task) -> Iterator[Problem]:
    yield from limits.of_count("parties", len(task.parties), limits.MAX_PARTIES)
    if len(task.parties) > limits.MAX_PARTIES:
        return
    for index, party in enumerate(task.parties):
        yield from rules.within(f"parties[{index}]", _of_party(party))
    yield from rules.of_task(task)


def _of_party(party: pb.Party) -> Iterator[Problem]:
    yield from rules.of_resources(party.resources)
    yield from limits.of_count("bandwidth_limits", len(party.bandwidth_limits), limits.MAX_BANDWIDTH_LIMITS)
    for index, limit in enumerate(party.bandwidth_limits[: limits.MAX_BANDWIDTH_LIMITS]):
        yield from rules.within(f"bandwidth_limits[{index}]", rules.of_bandwidth_limit(limit))
    yield from rules.of_party(party)


def _each(
    field: str, messages: Sequence[_Message], decode: Callable[[_Message], _Value], *, most: int
) -> tuple[_Value, ...]:
    if len(messages) > most:
        rules.require(limits.of_count(field, len(messages), most))
    try:
        return tuple(map(decode, messages))
    except InvalidJob:
        for index, message in enumerate(messages):  # once more, to find the place
            try:
                decode(message)
            except InvalidJob as error:
                rules.require(rules.within(f"{field}[{index}]", error.problems))
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


def _fill_task(message: pb.TaskConfig | pb.Task, task: Task, task_id: str) -> None:
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
