"""What SubmitJob and ValidateJob are asked, and a stored job as it was asked for."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model import limits, rules
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.job import (
    DEFAULT_BACKOFF_FACTOR,
    DEFAULT_FIRST_BACKOFF_SECONDS,
    DEFAULT_MAX_BACKOFF_SECONDS,
    SCHEDULE_MODE_HEADER,
    JobSpec,
    Retry,
    ScheduleMode,
    Task,
)
from kusciajob.model.rules import MAX_TASKS
from kusciajob.model.text import bare, first
from kusciajob.wire import codec
from kusciajob.wire.v1.durations import of_duration, seconds_of, set_duration

MAX_PROBLEMS = 1000
"""So many are told of one request."""
_LISTED_ALIASES = 10


class _RetryValues(NamedTuple):
    """A Retry that has not been checked."""

    max_attempts: int
    first_backoff_seconds: float
    max_backoff_seconds: float
    factor: float
    exit_codes: tuple[int, ...]


def decode_submission(request: pb.SubmitJobRequest) -> JobSpec:
    """The job of a request. Raises InvalidJob with all problems; its text is that of the first."""
    has_more = request.task_policies or request.labels or request.HasField("deadline") or request.HasField("ttl")
    if has_more and (found := problems(request)):
        raise InvalidJob(found[0].text, problems=found)
    try:
        spec = codec.decode_spec(request.job)
    except InvalidJob as error:
        raise InvalidJob(str(error), problems=problems(request)) from None
    return replace(
        spec,
        tasks=tuple([_with_policy(task, request) for task in spec.tasks]),
        deadline_seconds=_optional(request.HasField("deadline"), request.deadline),
        ttl_seconds=_optional(request.HasField("ttl"), request.ttl),
        labels=dict(request.labels),
    )


def problems(request: pb.SubmitJobRequest) -> list[Problem]:
    """All that is wrong with a request by itself, those of its CreateJobRequest first; at most MAX_PROBLEMS."""
    found = list(islice(chain(codec.problems(request.job), _of_submission(request)), MAX_PROBLEMS + 1))
    if len(found) > MAX_PROBLEMS:
        found[MAX_PROBLEMS:] = [Problem("", f"there are more problems: the first {MAX_PROBLEMS:,} are told")]
    return found


def encode_submission(spec: JobSpec, task_ids: Sequence[str]) -> pb.SubmitJobRequest:
    """The request that asks for the job, with the ids of its tasks."""
    message = pb.SubmitJobRequest(labels=spec.labels)
    codec.fill_request(message.job, spec, task_ids)
    if spec.schedule_mode is not ScheduleMode.BEST_EFFORT:
        message.job.header.custom_headers[SCHEDULE_MODE_HEADER] = spec.schedule_mode
    for task in spec.tasks:
        if task.retry is not None:
            _fill_retry(message.task_policies[task.alias].retry, task.retry)
        if task.run_timeout_seconds is not None:
            set_duration(message.task_policies[task.alias].run_timeout, task.run_timeout_seconds)
    set_duration(message.deadline, spec.deadline_seconds)
    set_duration(message.ttl, spec.ttl_seconds)
    return message


def _of_submission(request: pb.SubmitJobRequest) -> Iterator[Problem]:
    """What is wrong with that part of a request which CreateJob does not have."""
    aliases = [task.alias for task in request.job.tasks[:MAX_TASKS]]
    yield from limits.of_count("task_policies", len(request.task_policies), MAX_TASKS)
    for alias in islice(sorted(request.task_policies), MAX_TASKS):
        place = rules.in_map("task_policies", alias)
        if alias not in aliases:
            known = first(aliases, _LISTED_ALIASES, show=bare) or "none"
            yield Problem(place, f"{place}: no task of this job has that alias; there are: {known}")
        yield from rules.within(place, _of_policy(request.task_policies[alias]))
    for field in ("deadline", "ttl"):
        if request.HasField(field):
            yield from _of_span(field, getattr(request, field))
    yield from limits.of_labels(request.labels)


def _of_policy(policy: pb.TaskPolicy) -> Iterator[Problem]:
    if policy.HasField("retry"):
        spans = [
            problem
            for field in ("first_backoff", "max_backoff")
            for problem in of_duration(f"retry.{field}", getattr(policy.retry, field))
        ]
        yield from spans
        refused = {problem.field for problem in spans}
        for problem in rules.of_retry(_retry_values(policy.retry)):
            if problem.field not in refused:
                yield problem
    if policy.HasField("run_timeout"):
        yield from _of_span("run_timeout", policy.run_timeout)


def _of_span(field: str, message: Duration) -> Iterator[Problem]:
    bad = list(of_duration(field, message))
    yield from bad or rules.of_seconds(field, seconds_of(message))


def _retry_values(retry: pb.Retry) -> _RetryValues:
    return _RetryValues(
        max_attempts=retry.max_attempts,
        first_backoff_seconds=seconds_of(retry.first_backoff)
        if retry.HasField("first_backoff")
        else DEFAULT_FIRST_BACKOFF_SECONDS,
        max_backoff_seconds=seconds_of(retry.max_backoff)
        if retry.HasField("max_backoff")
        else DEFAULT_MAX_BACKOFF_SECONDS,
        factor=retry.factor or DEFAULT_BACKOFF_FACTOR,
        exit_codes=tuple(retry.exit_codes),
    )


def _with_policy(task: Task, request: pb.SubmitJobRequest) -> Task:
    if task.alias not in request.task_policies:
        return task
    policy = request.task_policies[task.alias]
    return replace(
        task,
        retry=Retry(*_retry_values(policy.retry)) if policy.HasField("retry") else None,
        run_timeout_seconds=_optional(policy.HasField("run_timeout"), policy.run_timeout),
    )


def _optional(is_given: bool, message: Duration) -> float | None:  # read with its value
    return seconds_of(message) if is_given else None


def _fill_retry(message: pb.Retry, retry: Retry) -> None:
    message.max_attempts = retry.max_attempts
    message.factor = retry.factor
    message.exit_codes.extend(retry.exit_codes)
    set_duration(message.first_backoff, retry.first_backoff_seconds)
    set_duration(message.max_backoff, retry.max_backoff_seconds)
