"""Between protobuf and the model, both ways."""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model.errors import InvalidJob
from kusciajob.model.job import BandwidthLimit, JobSpec, Party, Resources, ScheduleConfig, Task
from kusciajob.model.status import Job, JobEvent, JobState, JobStatus, JobSummary, TaskState, TaskStatus

_Message = TypeVar("_Message")
_Value = TypeVar("_Value")


def decode_spec(request: pb.CreateJobRequest) -> JobSpec:
    """The job asked for. InvalidJob names the place of what is wrong."""
    return JobSpec(
        job_id=request.job_id,
        initiator=request.initiator,
        max_parallelism=max(request.max_parallelism, 1),
        tasks=_each("tasks", request.tasks, _decode_task),
        custom_fields=dict(request.custom_fields),
    )


def encode_job(job: Job, data: pb.QueryJobResponseData) -> None:
    """Fill in the answer to QueryJob."""
    spec = job.spec
    data.job_id = spec.job_id
    data.initiator = spec.initiator
    data.max_parallelism = spec.max_parallelism
    data.custom_fields.update(spec.custom_fields)
    for task, status in zip(spec.tasks, job.status.tasks, strict=True):
        data.tasks.append(_encode_task(task, status.task_id))
    encode_status(job.status, data.status)


def encode_summary(job: JobSummary, message: pb.JobStatus) -> None:
    """Fill in a job's status."""
    message.job_id = job.job_id
    encode_status(job.status, message.status)


def encode_event(event: JobEvent) -> bytes:
    """A serialised WatchJobEventResponse."""
    message = pb.WatchJobEventResponse(type=event.type.value)
    encode_summary(event.job, message.object)
    return message.SerializeToString()


def encode_status(status: JobStatus, detail: pb.JobStatusDetail) -> None:
    """Fill in the detail of a job's status."""
    phase = status.phase
    detail.state = phase.state
    detail.err_msg = status.message
    detail.create_time = format_time(status.created_at)
    detail.start_time = format_time(phase.started_at)
    detail.end_time = format_time(phase.ended_at)
    detail.tasks.extend(map(_encode_task_status, status.tasks))
    stage = f"Job{status.stage.kind}StageSucceeded"
    for domain in status.domains:
        detail.stage_status_list.add(domain_id=domain, state=stage)
    for approval in status.approvals:
        detail.approve_status_list.add(
            domain_id=approval.domain_id, state="JobAccepted" if approval.accepted else "JobRejected"
        )


def format_time(seconds: float | None) -> str:
    """RFC 3339, UTC, whole seconds; empty for None."""
    return "" if seconds is None else _format_second(int(seconds))


@lru_cache(maxsize=1024)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def wire_state(state: TaskState) -> str:
    """A task's or party's state as clients know it."""
    return JobState.PENDING if state is TaskState.STARTING else state.value


def _each(field: str, messages: Iterable[_Message], decode: Callable[[_Message], _Value]) -> tuple[_Value, ...]:
    values = []
    for index, message in enumerate(messages):
        try:
            values.append(decode(message))
        except InvalidJob as error:
            raise InvalidJob(f"{field}[{index}]: {error}") from None
    return tuple(values)


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
        parties=_each("parties", task.parties, _decode_party),
        task_id=task.task_id,
        dependencies=tuple(task.dependencies),
        task_input_config=task.task_input_config,
        priority=task.priority,
        schedule_config=schedule,
        tolerable=task.tolerable,
    )


def _decode_party(party: pb.Party) -> Party:
    resources = None
    if party.HasField("resources"):
        resources = Resources(party.resources.cpu, party.resources.memory, party.resources.bandwidth)
    limits = _each("bandwidth_limits", party.bandwidth_limits, _decode_limit)
    return Party(party.domain_id, party.role, resources, limits)


def _decode_limit(limit: pb.BandwidthLimit) -> BandwidthLimit:
    return BandwidthLimit(limit.destination_id, limit.limit_kbps)


def _encode_task(task: Task, task_id: str) -> pb.TaskConfig:
    message = pb.TaskConfig(
        app_image=task.app_image,
        parties=map(_encode_party, task.parties),
        alias=task.alias,
        task_id=task_id,
        dependencies=task.dependencies,
        task_input_config=task.task_input_config,
        priority=task.priority,
    )
    if task.schedule_config is not None:
        config = task.schedule_config
        message.schedule_config.SetInParent()
        message.schedule_config.task_timeout_seconds = config.task_timeout_seconds
        message.schedule_config.resource_reserved_seconds = config.resource_reserved_seconds
        message.schedule_config.resource_reallocation_interval_seconds = config.resource_reallocation_interval_seconds
    return message


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


def _encode_task_status(task: TaskStatus) -> pb.TaskStatus:
    phase = task.phase
    message = pb.TaskStatus(
        task_id=task.task_id,
        alias=task.alias,
        state=wire_state(task.state),
        err_msg=task.message,
        create_time=format_time(task.created_at),
        start_time=format_time(phase.started_at),
        end_time=format_time(phase.ended_at),
        progress=task.progress,
    )
    for party in task.parties:
        status = message.parties.add(domain_id=party.domain_id, state=wire_state(party.state), err_msg=party.message)
        for endpoint in party.endpoints:
            status.endpoints.add(port_name=endpoint.port_name, scope=endpoint.scope, endpoint=endpoint.address)
    return message
