"""The state machines of parties, tasks and jobs: moves by the tables, and states that follow from others.

Events of its program move a party. A task's state follows from its parties, in the same move. A job's state follows
from its tasks and its stage (`settle`). No other code sets a state. A move that is in no table raises an error and
changes nothing.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from kusciajob.model import failures, planner
from kusciajob.model.errors import InvalidTransition
from kusciajob.model.job import JobSpec, Party, ScheduleMode
from kusciajob.model.moves import ENDED_STATE, OPERATION_TABLE, PARTY_TABLE, STAGES, Effect, Operation, PartyEvent
from kusciajob.model.status import (
    ACTIVE,
    UNFINISHED,
    Approval,
    Ended,
    Endpoint,
    Job,
    JobPhase,
    JobState,
    JobStatus,
    PartyStatus,
    Stage,
    StageKind,
    Started,
    State,
    TaskState,
    TaskStatus,
    Unstarted,
)
from kusciajob.model.text import seconds_text

SERVER_NAME = "kusciajob"
"""Who gave a command that the server gave itself."""


def create(
    spec: JobSpec, *, task_ids: Sequence[str], now: float, awaited: tuple[str, ...] = (), traceparent: str = ""
) -> Job:
    """A new job: Pending, or AwaitingApproval while `awaited` names domains that must accept it."""
    tasks = tuple(
        TaskStatus(
            task_id=task_id,
            alias=task.alias,
            phase=Unstarted(TaskState.PENDING, now),
            parties=_waiting_parties(task.parties),
            created_at=now,
            tolerable=task.tolerable,
        )
        for task, task_id in zip(spec.tasks, task_ids, strict=True)
    )
    status = JobStatus(
        phase=Unstarted(JobState.AWAITING_APPROVAL if awaited else JobState.PENDING, now),
        created_at=now,
        tasks=tasks,
        stage=Stage(StageKind.CREATE),
        awaited=awaited,
        traceparent=traceparent,
    )
    return _explain_waiting(Job(spec, status))


def request(job: Job, operation: Operation, *, by: str, reason: str, now: float) -> Job:
    """The job after an operation; the same object if it has no effect. Raises InvalidTransition if it is refused.

    A restarted job is Running or awaits approval, whatever its tasks say; commit that, then `settle` it.
    For the answer of a domain to a job that needs approval use `approve`.
    """
    if not _applies(job, operation):
        return job
    stage = Stage(STAGES[operation], by, reason)
    status = replace(job.status, stage=stage, message=stage.text)
    if operation is Operation.RESTART:
        tasks = (task if task.state is TaskState.SUCCEEDED else _reset(task, now) for task in status.tasks)
        status = replace(status, phase=_restarted(status, now), tasks=tuple(tasks), restarted_at=now)
        # Not settled: if every task has succeeded already, watchers must see the restart before they see the end.
        return _explain_waiting(replace(job, status=status))
    message = planner.ENDED_TEXT[stage.kind]
    tasks = (_without_retry(_fail_unplaced(task, stage.kind, now, message)) for task in status.tasks)
    job = _explain_waiting(replace(job, status=replace(status, tasks=tuple(tasks))))
    # A Failed job has an end already. Cancel gives it a new one.
    return _end_stage(job, now) if isinstance(status.phase, Ended) else settle(job, now)


def possible_operations(status: JobStatus) -> tuple[Operation, ...]:
    """The operations that would change a job in that state: no others have an effect, or are not refused."""
    return () if status.is_damaged else _possible(status.state, status.stage.kind)


def stop_overdue(job: Job, now: float) -> Job:
    """The job after the server's own Stop where its deadline is over; else, and if it ends anyway, the same object."""
    end = planner.job_deadline(job)
    if end is None or end > now:
        return job
    reason = f"its deadline of {seconds_text(job.spec.deadline_seconds or 0.0)} is over"
    return request(job, Operation.STOP, by=SERVER_NAME, reason=reason, now=now)


def approve(job: Job, domains: Sequence[str], *, accepted: bool, reason: str = "", now: float) -> Job:
    """The job after domains accepted or rejected it; the same object if that has no effect.

    To accept a job that awaits no approval changes nothing. To reject it raises InvalidTransition.
    """
    if not _applies(job, Operation.ACCEPT if accepted else Operation.REJECT):
        return job
    given = {approval.domain_id: approval for approval in job.status.approvals}
    given |= {domain: Approval(domain, accepted, reason) for domain in domains}
    approvals = tuple(given.values())
    if approvals == job.status.approvals:
        return job
    return settle(replace(job, status=replace(job.status, approvals=approvals)), now)


def admit(job: Job, task: int, *, now: float) -> Job:
    """Begin a new attempt of a ready task. From now on it counts for max_parallelism, and its time-out runs."""
    status = job.status.tasks[task]
    if status.state is not TaskState.PENDING:
        raise InvalidTransition(f'task "{status.alias}" is {status.state}: only a Pending task can be started')
    attempt, tries = status.attempt + 1, status.tries + 1
    begun = replace(status, attempt=attempt, tries=tries, retry_at=None, message="", waited_from=status.since)
    return _with_task(job, task, replace(begun, phase=Unstarted(TaskState.STARTING, now), placed_at=None))


def place(job: Job, task: int, endpoints: Sequence[tuple[Endpoint, ...]], *, now: float) -> Job:
    """Give every party of an admitted task its addresses. Once this is committed, its programs may be started."""
    status = job.status.tasks[task]
    if status.state is not TaskState.STARTING:
        raise InvalidTransition(f'task "{status.alias}" is {status.state}: only an admitted task can be placed')
    parties = tuple(
        replace(party, state=_moved(status, party, PartyEvent.PLACED), endpoints=own)
        for party, own in zip(status.parties, endpoints, strict=True)
    )
    message = planner.starting_text(parties)
    return _with_task(job, task, replace(status, parties=parties, message=message, placed_at=now))


class PartyMove(NamedTuple):
    """What happened to one party of a task, and the texts that the party gets.

    `at` is when it happened, in seconds since the epoch; None means now.
    """

    party: int
    event: PartyEvent
    message: str = ""
    detail: str = ""
    exit_code: int | None = None
    at: float | None = None
    was_stopped: bool = False


def move_parties(job: Job, task: int, moves: Iterable[PartyMove], *, now: float) -> Job:
    """Move parties one by one, and their task with them. Call `settle` after the last move of a batch."""
    status = job.status.tasks[task]
    parties = list(status.parties)
    for move in moves:
        before = parties[move.party]
        message, detail = failures.bounded(move.message, move.detail)
        state = _moved(status, before, move.event)
        at = now if move.at is None else move.at
        started_at, ended_at = (at, None) if state is TaskState.RUNNING else (before.started_at, at)
        if ended_at is not None and started_at is not None and ended_at < started_at:
            ended_at = started_at  # clocks differ, or one was set back
        parties[move.party] = replace(
            before,
            state=state,
            message=message,
            detail=detail,
            started_at=started_at,
            ended_at=ended_at,
            exit_code=move.exit_code,
            was_stopped=move.was_stopped,
        )
    return _with_parties(job, task, tuple(parties), now)


def fail_waiting(job: Job, task: int, message: str, *, now: float) -> Job:
    """Fail an admitted task whose parties have no addresses yet. Call `settle` afterwards."""
    status = job.status.tasks[task]
    if not planner.is_unplaced(status):
        raise InvalidTransition(
            f'task "{status.alias}" is not waiting for room: its parties must be stopped one by one'
        )
    return _with_parties(job, task, _failed(status, message), now)


def explain(job: Job, task: int, message: str) -> Job:
    """Note why a task waits; the same object if that is noted already."""
    status = job.status.tasks[task]
    message, _ = failures.bounded(message, "")
    return job if status.message == message else _with_task(job, task, replace(status, message=message))


def explain_start(job: Job, task: int, party: int, message: str) -> Job:
    """Note why a placed party has not started; the same object if that is noted already, or it no longer matters."""
    status = job.status.tasks[task]
    own = status.parties[party]
    message, _ = failures.bounded(message, "")
    is_awaited = own.state is TaskState.STARTING and all(each.state is not TaskState.FAILED for each in status.parties)
    if not is_awaited or own.message == message:
        return job
    parties = (*status.parties[:party], replace(own, message=message), *status.parties[party + 1 :])
    return _with_task(job, task, replace(status, parties=parties, message=planner.starting_text(parties)))


def report_progress(job: Job, task: int, progress: float) -> Job:
    """Record a running task's progress, 0 to 1; the same job if the task is not running or the value is no higher."""
    status = job.status.tasks[task]
    # In this form, the comparison also ignores a NaN.
    if status.state is not TaskState.RUNNING or not progress > status.progress:
        return job
    return _with_task(job, task, replace(status, progress=min(progress, 1.0)))


def settle(job: Job, now: float) -> Job:
    """Derive the job's state from its tasks, stage and approvals; the same object if nothing changes.

    A task whose attempt failed is Pending again where its policy allows another attempt.
    """
    if isinstance(job.status.phase, Ended):
        return job
    job = _note_start(job, now)
    states = planner.states_of(job)
    if TaskState.FAILED in states:
        job = _retry(job, now)
        states = planner.states_of(job)
    if not ACTIVE.isdisjoint(states):
        return job
    status = job.status
    if status.stage.kind in planner.ENDING_STAGES:
        return _end_stage(job, now)
    if status.state is JobState.AWAITING_APPROVAL:
        return _settle_approval(job, now)
    if planner.has_ready(job):
        return job
    failed = any(
        not spec.tolerable and task.state is not TaskState.SUCCEEDED
        for spec, task in zip(job.spec.tasks, status.tasks, strict=True)
    )
    if failed:
        return _end(job, JobState.FAILED, now, failures.job_text(status.tasks))
    return _end(job, JobState.SUCCEEDED, now, "")


@cache
def _possible(state: JobState, stage: StageKind) -> tuple[Operation, ...]:
    return tuple(operation for operation in Operation if _effect(operation, state, stage) is Effect.APPLY)


def _effect(operation: Operation, state: JobState, stage: StageKind) -> Effect:
    """What the operation does. Once a job is about to end, it counts as having the state in which it ends."""
    if not _is_ending(state, stage):
        return OPERATION_TABLE[operation][state]
    # The first command was acknowledged: it holds, however long the programs take to end.
    return Effect.REFUSE if operation is Operation.RESTART else OPERATION_TABLE[operation][ENDED_STATE[stage]]


def _is_ending(state: JobState, stage: StageKind) -> bool:
    return stage in planner.ENDING_STAGES and state in UNFINISHED


def _applies(job: Job, operation: Operation) -> bool:
    """Whether the operation changes the job. Raises InvalidTransition if it is refused."""
    state, stage = job.status.state, job.status.stage.kind
    effect = _effect(operation, state, stage)
    if effect is Effect.REFUSE:
        text = f"is about to be {ENDED_STATE[stage]}" if _is_ending(state, stage) else f"is {state}"
        row = OPERATION_TABLE[operation]
        possible = " or ".join(state for state in JobState if row[state] is Effect.APPLY)
        raise InvalidTransition(f'job "{job.job_id}" {text}: {operation} is possible only when it is {possible}')
    return effect is Effect.APPLY


def _restarted(status: JobStatus, now: float) -> JobPhase:
    if _is_approved(status):
        return Started(JobState.RUNNING, status.phase.started_at or now)
    # It was stopped before all had accepted it. A restart must not replace their acceptance.
    return Unstarted(JobState.AWAITING_APPROVAL, now)


def _reset(task: TaskStatus, now: float, *, tries: int = 0, retry_at: float | None = None) -> TaskStatus:
    return replace(
        task,
        phase=Unstarted(TaskState.PENDING, now),
        message="",
        progress=0.0,
        parties=_waiting_parties(task.parties),
        tries=tries,
        retry_at=retry_at,
    )


def _retry(job: Job, now: float) -> Job:
    """Let tasks run again whose policy wants it; none while the job is about to end."""
    failed = [index for index in range(len(job.spec.tasks)) if planner.may_retry(job, index)]
    if not failed or job.status.stage.kind in planner.ENDING_STAGES:
        return job
    tasks = list(job.status.tasks)
    for index in failed:
        task, retry = tasks[index], job.spec.tasks[index].retry
        if retry is not None:
            again = _reset(task, now, tries=task.tries, retry_at=now + retry.backoff_seconds(task.tries))
            tasks[index] = replace(again, message=planner.retry_text(retry, task))
    retried = replace(job, status=replace(job.status, tasks=tuple(tasks)))
    # Not before it is known which tasks have failed for good: one of these may end a job of scheduleMode Strict.
    return job if planner.has_strict_failure(retried) else _explain_waiting(retried)


def _without_retry(task: TaskStatus) -> TaskStatus:
    return task if task.retry_at is None else replace(task, retry_at=None)


def _waiting_parties(parties: Sequence[Party | PartyStatus]) -> tuple[PartyStatus, ...]:
    return tuple([_waiting_party(party.domain_id, party.role) for party in parties])


@lru_cache(maxsize=1024)
def _waiting_party(domain_id: str, role: str) -> PartyStatus:
    """All tasks in which a domain has that role share one value: few domains take part in many tasks."""
    return PartyStatus(domain_id, role)


def _is_approved(status: JobStatus) -> bool:
    accepted = {approval.domain_id for approval in status.approvals if approval.accepted}
    return accepted.issuperset(status.awaited)


def _settle_approval(job: Job, now: float) -> Job:
    rejection = next((approval for approval in job.status.approvals if not approval.accepted), None)
    if rejection is not None:
        message = f"Party: {rejection.domain_id} rejected the job. Reason: {rejection.reason}"
        return _explain_waiting(_end(job, JobState.APPROVAL_REJECT, now, message))
    if not _is_approved(job.status):
        return job
    return _explain_waiting(replace(job, status=replace(job.status, phase=Unstarted(JobState.PENDING, now))))


def _moved(task: TaskStatus, party: PartyStatus, event: PartyEvent) -> TaskState:
    state = PARTY_TABLE.get((party.state, event))
    if state is None:
        raise InvalidTransition(
            f'party "{party.domain_id}" of task "{task.alias}" is {party.state}: it cannot be {event}'
        )
    return state


def _with_task(job: Job, index: int, task: TaskStatus) -> Job:
    tasks = job.status.tasks
    return replace(job, status=replace(job.status, tasks=(*tasks[:index], task, *tasks[index + 1 :])))


def _with_parties(job: Job, index: int, parties: tuple[PartyStatus, ...], now: float) -> Job:
    before, stage = job.status.tasks[index].phase.started_at, job.status.stage.kind
    task = _derive(replace(job.status.tasks[index], parties=parties), stage, now)
    job = _with_task(job, index, task)
    if stage is StageKind.RESTART and before is None and task.phase.started_at is not None:
        # Not in `settle`: the first task may have ended by then, and would look like one of an earlier run.
        job = replace(job, status=replace(job.status, stage=Stage(StageKind.START)))
    if not isinstance(task.phase, Ended):
        return job
    return _explain_waiting(job, succeeded=task.alias if task.state is TaskState.SUCCEEDED else None)


def _explain_waiting(job: Job, *, succeeded: str | None = None) -> Job:
    if job.spec.schedule_mode is ScheduleMode.STRICT and planner.has_strict_failure(job):
        job = replace(job, status=replace(job.status, tasks=tuple(map(_without_retry, job.status.tasks))))
    tasks = planner.explain_waiting(job, succeeded=succeeded)
    return job if tasks is job.status.tasks else replace(job, status=replace(job.status, tasks=tasks))


def _derive(task: TaskStatus, stage: StageKind, now: float) -> TaskStatus:
    """The task's state: Running once all parties run; ended once all ended, or one failed and the rest is gone."""
    states = {party.state for party in task.parties}
    started_at = task.phase.started_at
    if states == {TaskState.SUCCEEDED}:
        return replace(task, phase=_ended(TaskState.SUCCEEDED, started_at or now, now), message="", progress=1.0)
    if started_at is None and states <= {TaskState.RUNNING, TaskState.SUCCEEDED}:
        return replace(task, phase=Started(TaskState.RUNNING, now), message="")
    if not states <= {TaskState.SUCCEEDED, TaskState.FAILED}:
        is_late = started_at is None and TaskState.FAILED not in states
        return replace(task, message=planner.starting_text(task.parties)) if is_late else task
    message = planner.ENDED_TEXT.get(stage) or failures.task_text(task.parties)
    return replace(task, phase=_ended(TaskState.FAILED, started_at, now), message=message)


def _failed(task: TaskStatus, message: str) -> tuple[PartyStatus, ...]:
    message, _ = failures.bounded(message, "")
    return tuple(replace(party, state=TaskState.FAILED, message=message, was_stopped=True) for party in task.parties)


def _fail_unplaced(task: TaskStatus, stage: StageKind, now: float, message: str) -> TaskStatus:
    if not planner.is_unplaced(task):
        return task
    return _derive(replace(task, parties=_failed(task, message)), stage, now)


def _note_start(job: Job, now: float) -> Job:
    """A job is Running as soon as its first task is."""
    status = job.status
    if status.state is not JobState.PENDING or all(task.phase.started_at is None for task in status.tasks):
        return job
    stage = Stage(StageKind.START) if status.stage.kind is StageKind.CREATE else status.stage
    return replace(job, status=replace(status, phase=Started(JobState.RUNNING, now), stage=stage))


def _end_stage(job: Job, now: float) -> Job:
    """End a stopped, cancelled or suspended job of which nothing runs. When suspended, waiting tasks keep waiting."""
    status = job.status
    stage = status.stage.kind
    if status.state is JobState.SUSPENDED and stage is StageKind.SUSPEND:
        return job
    if stage is StageKind.SUSPEND:
        return replace(job, status=replace(status, phase=Started(JobState.SUSPENDED, status.phase.started_at or now)))
    message = planner.ENDED_TEXT[stage]
    tasks = tuple(
        replace(task, phase=Ended(TaskState.FAILED, None, now), message=message, parties=_failed(task, message))
        if task.state is TaskState.PENDING
        else _retold(task, message)
        for task in status.tasks
    )
    return _end(replace(job, status=replace(status, tasks=tasks)), ENDED_STATE[stage], now, status.stage.text)


def _retold(task: TaskStatus, message: str) -> TaskStatus:
    """The task with its text changed: not the suspension ended it but the command that followed."""
    suspended = planner.ENDED_TEXT[StageKind.SUSPEND]
    if task.message != suspended:
        return task
    parties = tuple(replace(party, message=message) if party.message == suspended else party for party in task.parties)
    return replace(task, message=message, parties=parties)


def _end(job: Job, state: JobState, now: float, message: str) -> Job:
    phase = _ended(state, job.status.phase.started_at, now)
    return replace(job, status=replace(job.status, phase=phase, message=message))


def _ended(state: State, started_at: float | None, now: float) -> Ended[State]:
    # The clock may have been set back. Nothing may end before it began.
    return Ended(state, started_at, max(now, started_at or now))
