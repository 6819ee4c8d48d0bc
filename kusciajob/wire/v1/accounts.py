"""All of one job: its request, its status, and the attempts of its tasks."""

import signal
from collections.abc import Iterable, Sequence

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model import failures, waiting
from kusciajob.model.history import Attempt
from kusciajob.model.status import Job, PartyStatus, TaskState, TaskStatus, Unstarted
from kusciajob.wire.job_status import encode_status, wire_state
from kusciajob.wire.v1.submissions import encode_submission
from kusciajob.wire.v1.summaries import encode_job, timestamp

_SIGNALLED = 128
_LAST_NAMED = 31
"""Signals above are the real-time ones, of which the first has the number 34 for a program."""
_FIRST_REAL_TIME = 34


def encode_account(job: Job, earlier: Sequence[Attempt]) -> pb.Job:
    """The message, with all details that the values have. `earlier`: the attempts that are over and kept."""
    status = failures.told(job.status) if job.status.has_details else job.status
    message = pb.Job(
        summary=encode_job(job.summary),
        request=encode_submission(job.spec, [task.task_id for task in status.tasks]),
        waiting=waiting.reason(status),
        stage=status.stage.kind,
        stage_caller=status.stage.by,
        stage_reason=status.stage.reason,
        awaited_domains=waiting.awaited_domains(status),
    )
    message.status.MergeFromString(encode_status(job.status))
    for index, (spec, task) in enumerate(zip(job.spec.tasks, status.tasks, strict=True)):
        own = message.tasks.add(
            alias=spec.alias,
            task_id=task.task_id,
            app_image=spec.app_image,
            dependencies=spec.dependencies,
            state=wire_state(task.state),
            err_msg=task.message,
            progress=task.progress,
            attempt=task.attempt,
            retry_time=timestamp(task.retry_at),
            wait_time=timestamp(task.phase.since if isinstance(task.phase, Unstarted) else task.waited_from),
        )
        own.attempts.extend(_attempts(task, [attempt for attempt in earlier if attempt.task == index]))
    return message


def _attempts(task: TaskStatus, over: Sequence[Attempt]) -> Iterable[pb.Attempt]:
    """Those that are over, then the present one: the task's status is that of its last attempt until it starts anew."""
    for attempt in over:
        yield pb.Attempt(
            number=attempt.number,
            state=wire_state(attempt.state),
            start_time=timestamp(attempt.started_at),
            end_time=timestamp(attempt.ended_at),
            err_msg=attempt.message,
            parties=map(_party, attempt.parties),
            wait_time=timestamp(attempt.waited_from),
            place_time=timestamp(attempt.placed_at),
        )
    is_told = any(attempt.number == task.attempt for attempt in over)
    if task.attempt and not is_told and task.state is not TaskState.PENDING:
        yield pb.Attempt(
            number=task.attempt,
            state=wire_state(task.state),
            start_time=timestamp(task.phase.started_at),
            end_time=timestamp(task.phase.ended_at),
            err_msg=task.message,
            parties=map(_party, task.parties),
            wait_time=timestamp(task.waited_from),
            place_time=timestamp(task.placed_at),
        )


def _party(party: PartyStatus) -> pb.PartyAttempt:
    message = pb.PartyAttempt(
        domain_id=party.domain_id,
        role=party.role,
        state=wire_state(party.state),
        start_time=timestamp(party.started_at),
        end_time=timestamp(party.ended_at),
        exit_code=party.exit_code,
        signal=signal_name(party.exit_code),
        err_msg=party.message,
        was_stopped=party.was_stopped,
    )
    for endpoint in party.endpoints:
        if endpoint.scope != "Local":
            message.endpoints.add(port_name=endpoint.port_name, scope=endpoint.scope, endpoint=endpoint.address)
    return message


def signal_name(exit_code: int | None) -> str:
    """Such as SIGKILL; empty where no signal has ended the program."""
    number = (exit_code or 0) - _SIGNALLED
    if not 0 < number < signal.NSIG:
        return ""
    if number > _LAST_NAMED:
        return f"SIGRTMIN+{number - _FIRST_REAL_TIME}" if number >= _FIRST_REAL_TIME else ""
    return signal.Signals(number).name
