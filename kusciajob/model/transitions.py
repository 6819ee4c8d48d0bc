"""What moves a party, a task and a job: tables of legal moves, and the states that follow from others.

A party moves by the events of its program. A task's state follows from its parties, a job's state from its tasks and
its stage (`settle`); no other code sets them. A move that is not in a table raises and changes nothing.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec.structs import replace

from kusciajob.model import planner
from kusciajob.model.errors import InvalidTransition
from kusciajob.model.job import JobSpec
from kusciajob.model.status import (
    ACTIVE,
    Approval,
    Ended,
    Endpoint,
    Job,
    JobState,
    JobStatus,
    PartyStatus,
    Stage,
    StageKind,
    Started,
    TaskState,
    TaskStatus,
    Unstarted,
)


class PartyEvent(StrEnum):
    """What happens to one party of a task."""

    PLACED = "placed"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


PARTY_TABLE: dict[tuple[TaskState, PartyEvent], TaskState] = {
    (TaskState.PENDING, PartyEvent.PLACED): TaskState.STARTING,
    (TaskState.PENDING, PartyEvent.FAILED): TaskState.FAILED,
    (TaskState.STARTING, PartyEvent.STARTED): TaskState.RUNNING,
    (TaskState.STARTING, PartyEvent.FAILED): TaskState.FAILED,
    (TaskState.RUNNING, PartyEvent.SUCCEEDED): TaskState.SUCCEEDED,
    (TaskState.RUNNING, PartyEvent.FAILED): TaskState.FAILED,
}


class Operation(StrEnum):
    """What a caller may ask of a job."""

    STOP = "Stop"
    CANCEL = "Cancel"
    SUSPEND = "Suspend"
    RESTART = "Restart"
    APPROVE = "Approve"


class Effect(StrEnum):
    """What an operation does in a state."""

    APPLY = "apply"
    NOTHING = "nothing"  # success, no effect
    REFUSE = "refuse"


def _row(*, apply: Sequence[JobState], nothing: Sequence[JobState] = ()) -> dict[JobState, Effect]:
    return {
        state: Effect.APPLY if state in apply else Effect.NOTHING if state in nothing else Effect.REFUSE
        for state in JobState
    }


_S = JobState
OPERATION_TABLE: dict[Operation, dict[JobState, Effect]] = {
    Operation.STOP: _row(
        apply=(_S.AWAITING_APPROVAL, _S.PENDING, _S.RUNNING, _S.SUSPENDED),
        nothing=(_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.APPROVAL_REJECT),
    ),
    Operation.CANCEL: _row(
        apply=(_S.AWAITING_APPROVAL, _S.PENDING, _S.RUNNING, _S.FAILED, _S.SUSPENDED),
        nothing=(_S.SUCCEEDED, _S.CANCELLED, _S.APPROVAL_REJECT),
    ),
    Operation.SUSPEND: _row(apply=(_S.RUNNING,)),
    Operation.RESTART: _row(apply=(_S.FAILED, _S.SUSPENDED)),
    Operation.APPROVE: _row(apply=(_S.AWAITING_APPROVAL,)),
}

_STAGES = {
    Operation.STOP: StageKind.STOP,
    Operation.CANCEL: StageKind.CANCEL,
    Operation.SUSPEND: StageKind.SUSPEND,
    Operation.RESTART: StageKind.RESTART,
}
# What the job is once nothing of it runs any more.
_ENDED_STATE: dict[StageKind, JobState] = {
    StageKind.STOP: JobState.FAILED,
    StageKind.CANCEL: JobState.CANCELLED,
    StageKind.SUSPEND: JobState.SUSPENDED,
}


def create(spec: JobSpec, *, task_ids: Sequence[str], now: float, awaited: tuple[str, ...] = ()) -> Job:
    """A new job: Pending, or AwaitingApproval while `awaited` names domains that must accept it."""
    tasks = tuple(
        TaskStatus(
            task_id=task_id,
            alias=task.alias,
            phase=Unstarted("Pending", now),
            parties=tuple(PartyStatus(party.domain_id, party.role) for party in task.parties),
            created_at=now,
        )
        for task, task_id in zip(spec.tasks, task_ids, strict=True)
    )
    status = JobStatus(
        phase=Unstarted("AwaitingApproval" if awaited else "Pending", now),
        created_at=now,
        tasks=tasks,
        stage=Stage(StageKind.CREATE),
        awaited=awaited,
    )
    return settle(Job(spec, status), now)


def request(job: Job, operation: Operation, *, by: str, reason: str, now: float) -> Job:
    """The job after an operation; the same object where it has no effect. InvalidTransition where it is refused."""
    row = OPERATION_TABLE[operation]
    state = job.status.state
    if row[state] is Effect.NOTHING:
        return job
    if row[state] is Effect.REFUSE:
        possible = " or ".join(state for state, effect in row.items() if effect is Effect.APPLY)
        raise InvalidTransition(f'job "{job.job_id}" is {state}: {operation} is possible only when it is {possible}')
    stage = Stage(_STAGES[operation], by, reason)
    status = replace(job.status, stage=stage, message=stage.text)
    started_at = status.phase.started_at
    if operation is Operation.RESTART:
        status = replace(
            status,
            phase=Started("Running", started_at or now),
            tasks=tuple(task if task.state is TaskState.SUCCEEDED else _reset(task, now) for task in status.tasks),
        )
    elif isinstance(status.phase, Ended):  # a Failed job that is cancelled ends a second time
        status = replace(status, phase=Started("Running", started_at) if started_at else Unstarted("Pending", now))
    return settle(replace(job, status=status), now)


def approve(job: Job, answers: Sequence[Approval], *, now: float) -> Job:
    """The job after domains accepted or rejected it. InvalidTransition unless it awaits approval."""
    if OPERATION_TABLE[Operation.APPROVE][job.status.state] is Effect.REFUSE:
        raise InvalidTransition(
            f'job "{job.job_id}" is {job.status.state}: it can be approved only when it is AwaitingApproval'
        )
    given = {approval.domain_id: approval for approval in (*job.status.approvals, *answers)}
    return settle(replace(job, status=replace(job.status, approvals=tuple(given.values()))), now)


def admit(job: Job, task: int, *, now: float) -> Job:
    """Begin a new attempt of a ready task: from here on it counts towards max_parallelism and its time-out."""
    status = job.status.tasks[task]
    if status.state is not TaskState.PENDING:
        raise InvalidTransition(f'task "{status.alias}" is {status.state}: only a Pending task can be started')
    return _with_task(job, task, replace(status, phase=Unstarted("Starting", now), attempt=status.attempt + 1))


def place(job: Job, task: int, endpoints: Sequence[tuple[Endpoint, ...]]) -> Job:
    """Give every party of an admitted task its addresses; its programs may be started once this is committed."""
    status = job.status.tasks[task]
    parties = tuple(
        replace(moved, endpoints=own)
        for moved, own in zip(
            (_move(status, party, PartyEvent.PLACED) for party in status.parties), endpoints, strict=True
        )
    )
    return _with_task(job, task, replace(status, parties=parties, message=""))


def move_party(job: Job, task: int, party: int, event: PartyEvent, *, message: str = "") -> Job:
    """Move one party; call `settle` after the last of a batch."""
    status = job.status.tasks[task]
    moved = replace(_move(status, status.parties[party], event), message=message)
    parties = (*status.parties[:party], moved, *status.parties[party + 1 :])
    return _with_task(job, task, replace(status, parties=parties))


def fail_waiting(job: Job, task: int, message: str) -> Job:
    """Fail an admitted task whose parties were never placed; call `settle` afterwards."""
    status = job.status.tasks[task]
    return _with_task(job, task, replace(status, parties=_fail_pending(status.parties, message)))


def explain(job: Job, task: int, message: str) -> Job:
    """Say why a task waits."""
    return _with_task(job, task, replace(job.status.tasks[task], message=message))


def report_progress(job: Job, task: int, progress: float) -> Job:
    """Record a running task's progress, 0 to 1; ignored when it is not running or would go back."""
    status = job.status.tasks[task]
    if status.state is not TaskState.RUNNING or progress <= status.progress:
        return job
    return _with_task(job, task, replace(status, progress=min(progress, 1.0)))


def settle(job: Job, now: float) -> Job:
    """Derive the states of tasks and job from parties and stage. Repeated, it changes nothing."""
    if isinstance(job.status.phase, Ended):
        return job
    job = _note_start(_settle_tasks(job, now), now)
    status = job.status
    stage = status.stage.kind
    if any(not approval.accepted for approval in status.approvals):
        return _end(job, JobState.APPROVAL_REJECT, now)
    if any(task.state in ACTIVE for task in status.tasks):
        return job
    if stage in planner.ENDING_STAGES:
        return _end(_stop_waiting(job, now), _ENDED_STATE[stage], now)
    if status.state is JobState.AWAITING_APPROVAL:
        accepted = {approval.domain_id for approval in status.approvals}
        if accepted.issuperset(status.awaited):
            job = replace(job, status=replace(status, phase=Unstarted("Pending", now)))
            return replace(job, status=replace(job.status, tasks=planner.explain_waiting(job)))
        return job
    if planner.has_ready(job):
        return job
    failed = any(
        not spec.tolerable and task.state is not TaskState.SUCCEEDED
        for spec, task in zip(job.spec.tasks, status.tasks, strict=True)
    )
    return _end(job, JobState.FAILED if failed else JobState.SUCCEEDED, now)


def _settle_tasks(job: Job, now: float) -> Job:
    stage = job.status.stage.kind
    tasks = tuple(_settle_task(task, stage, now) for task in job.status.tasks)
    job = replace(job, status=replace(job.status, tasks=tasks))
    return replace(job, status=replace(job.status, tasks=planner.explain_waiting(job)))


def _move(task: TaskStatus, party: PartyStatus, event: PartyEvent) -> PartyStatus:
    state = PARTY_TABLE.get((party.state, event))
    if state is None:
        raise InvalidTransition(
            f'party "{party.domain_id}" of task "{task.alias}" is {party.state}: it cannot be {event}'
        )
    return replace(party, state=state)


def _with_task(job: Job, index: int, task: TaskStatus) -> Job:
    tasks = job.status.tasks
    return replace(job, status=replace(job.status, tasks=(*tasks[:index], task, *tasks[index + 1 :])))


def _fail_pending(parties: tuple[PartyStatus, ...], message: str) -> tuple[PartyStatus, ...]:
    return tuple(
        replace(party, state=TaskState.FAILED, message=message) if party.state is TaskState.PENDING else party
        for party in parties
    )


def _reset(task: TaskStatus, now: float) -> TaskStatus:
    return replace(
        task,
        phase=Unstarted("Pending", now),
        message="",
        progress=0.0,
        parties=tuple(PartyStatus(party.domain_id, party.role) for party in task.parties),
    )


def _settle_task(task: TaskStatus, stage: StageKind, now: float) -> TaskStatus:
    """Running once all parties are; ended once all are, or once one failed and the others are gone."""
    if task.state not in ACTIVE:
        return task
    if stage in planner.ENDING_STAGES:
        task = replace(task, parties=_fail_pending(task.parties, planner.ENDED_TEXT[stage]))
    states = {party.state for party in task.parties}
    started_at = task.phase.started_at
    if states == {TaskState.SUCCEEDED}:
        return replace(task, phase=Ended("Succeeded", started_at or now, now), message="", progress=1.0)
    if started_at is None and states <= {TaskState.RUNNING, TaskState.SUCCEEDED}:
        return replace(task, phase=Started("Running", now), message="")
    if states & {*ACTIVE, TaskState.PENDING}:
        return task
    if stage in planner.ENDING_STAGES:
        message = planner.ENDED_TEXT[stage]
    else:
        message = "; ".join(
            f"Party[{party.domain_id}]: {party.message}" for party in task.parties if party.state is TaskState.FAILED
        )
    return replace(task, phase=Ended("Failed", started_at, now), message=message)


def _stop_waiting(job: Job, now: float) -> Job:
    """After Stop or Cancel no task stays unfinished; after Suspend the waiting ones wait for the restart."""
    stage = job.status.stage.kind
    if stage is StageKind.SUSPEND:
        return job
    message = planner.ENDED_TEXT[stage]
    tasks = tuple(
        replace(
            task,
            phase=Ended("Failed", None, now),
            message=message,
            parties=_fail_pending(task.parties, message),
        )
        if task.state is TaskState.PENDING
        else task
        for task in job.status.tasks
    )
    return replace(job, status=replace(job.status, tasks=tasks))


def _note_start(job: Job, now: float) -> Job:
    """A job is Running as soon as its first task is."""
    status = job.status
    if status.state is not JobState.PENDING or all(task.phase.started_at is None for task in status.tasks):
        return job
    stage = Stage(StageKind.START) if status.stage.kind is StageKind.CREATE else status.stage
    return replace(job, status=replace(status, phase=Started("Running", now), stage=stage))


def _end(job: Job, state: JobState, now: float) -> Job:
    status = job.status
    started_at = status.phase.started_at
    if state is JobState.SUSPENDED:
        return replace(job, status=replace(status, phase=Started("Suspended", started_at or now)))
    message = ""
    if status.stage.kind in planner.ENDING_STAGES:
        message = status.stage.text
    elif state is JobState.FAILED:
        message = _failure_text(job)
    elif state is JobState.APPROVAL_REJECT:
        rejection = next(approval for approval in status.approvals if not approval.accepted)
        message = f"Party: {rejection.domain_id} rejected the job. Reason: {rejection.reason}"
    return replace(
        job,
        status=replace(status, phase=Ended(state.value, started_at, now), message=message),  # type: ignore[arg-type]
    )


def _failure_text(job: Job) -> str:
    return "; ".join(
        f"Task[{task.alias}]-Party[{party.domain_id}]: {party.message}"
        for task, spec in zip(job.status.tasks, job.spec.tasks, strict=True)
        if not spec.tolerable
        for party in task.parties
        if party.state is TaskState.FAILED
    )
