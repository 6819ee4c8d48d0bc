"""Decides what a job needs next, from its present values alone. The scheduler carries it out."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.model.job import Retry, ScheduleMode, Task
from kusciajob.model.status import (
    ACTIVE,
    SCHEDULED,
    Job,
    JobState,
    PartyStatus,
    StageKind,
    Started,
    TaskState,
    TaskStatus,
    Unstarted,
)
from kusciajob.model.text import listed, seconds_text, shown

ENDED_TEXT: dict[StageKind, str] = {
    StageKind.STOP: "Job was stopped",
    StageKind.CANCEL: "Job was cancelled",
    StageKind.SUSPEND: "Job was suspended",
}
"""What a task is told that was ended by a stage."""

ENDING_STAGES = frozenset(ENDED_TEXT)
"""Stages in which everything that runs is stopped."""

_STRICT = "(scheduleMode Strict)"


class Stop(Struct, frozen=True, gc=False):
    """A program to end, and the text that its party gets."""

    task: int
    party: int
    reason: str


class Plan(Struct, frozen=True, gc=False):
    """What to do next: indexes of tasks to start, highest priority first; programs to stop; tasks to give up.

    A task in `expired` has waited too long for a slot or port; nothing of it runs. `wake_at` is when to plan again
    even if nothing happens (seconds since the epoch).
    """

    start: tuple[int, ...] = ()
    stop: tuple[Stop, ...] = ()
    expired: tuple[int, ...] = ()
    wake_at: float | None = None


def plan(job: Job, now: float) -> Plan:
    """Start ready tasks within max_parallelism, stop programs that are not needed any more or run too long, give up
    tasks that waited too long.
    """
    states = states_of(job)
    ending = ENDED_TEXT.get(job.status.stage.kind, "") or _strict_text(job, states)
    active = [index for index, state in enumerate(states) if state in ACTIVE]
    stop: list[Stop] = []
    expired: list[int] = []
    wake_at: float | None = None
    tasks = job.status.tasks
    for index in active:
        task = tasks[index]
        if ending and is_unplaced(task):
            expired.append(index)
        elif reason := ending or _partner_failure(task):
            stop += [Stop(index, position, reason) for position in _positions(task, ACTIVE)]
        elif (due := deadline(job, index)) is None:
            continue
        elif due > now:
            wake_at = _earlier(wake_at, due)
        elif states[index] is TaskState.RUNNING:
            reason = _overrun_text(job.spec.tasks[index])
            stop += [Stop(index, position, reason) for position in _positions(task, ACTIVE)]
        elif is_unplaced(task):
            expired.append(index)
        else:
            reason = expiry_text(job, index)
            stop += [Stop(index, position, reason) for position in _positions(task, {TaskState.STARTING})]
    start, retry_at = _start(job, states, free=job.spec.max_parallelism - len(active), now=now)
    for due in (retry_at, job_deadline(job)):
        if due is not None and due > now:
            wake_at = _earlier(wake_at, due)
    return Plan(start, tuple(stop), tuple(expired), wake_at)


def deadline(job: Job, index: int) -> float | None:
    """When an admitted task is given up (seconds since the epoch); None = never.

    Until all its parties have started that is the time-out of its schedule_config, then its run_timeout.
    """
    spec = job.spec.tasks[index]
    if spec.run_timeout_seconds is None and spec.schedule_config is None:
        return None
    phase = job.status.tasks[index].phase
    if isinstance(phase, Started):
        return None if spec.run_timeout_seconds is None else phase.started_at + spec.run_timeout_seconds
    if spec.schedule_config is None or not isinstance(phase, Unstarted) or phase.state is not TaskState.STARTING:
        return None
    return phase.since + spec.schedule_config.task_timeout_seconds


def job_deadline(job: Job) -> float | None:
    """When the job is stopped by its own deadline (seconds since the epoch); None = never."""
    seconds = job.spec.deadline_seconds
    return None if seconds is None else job.status.began_at + seconds


def expiry_text(job: Job, index: int) -> str:
    """The error text of a task that waited too long for a slot or port."""
    if text := _strict_text(job, states_of(job)):
        return text
    schedule = job.spec.tasks[index].schedule_config
    seconds = schedule.task_timeout_seconds if schedule else 0
    task = job.status.tasks[index]
    late = [_late_text(party) for party in task.parties if party.state in (TaskState.PENDING, TaskState.STARTING)]
    waited = f": {task.message}" if task.message and is_unplaced(task) else ""
    return (
        f"not scheduled within {seconds} s (schedule_config.task_timeout_seconds): not started: {listed(late)}{waited}"
    )


def may_retry(job: Job, index: int) -> bool:
    """Whether a Failed task may run again by itself, as far as its own policy counts."""
    retry, task = job.spec.tasks[index].retry, job.status.tasks[index]
    if retry is None or task.state is not TaskState.FAILED or not 0 < task.tries < retry.max_attempts:
        return False
    return not retry.exit_codes or any(
        party.state is TaskState.FAILED and party.exit_code in retry.exit_codes for party in task.parties
    )


def retry_text(retry: Retry, task: TaskStatus) -> str:
    """Why a task is Pending whose attempt has just failed. Attempts are numbered as in its history, past restarts."""
    wait, limit = seconds_text(retry.backoff_seconds(task.tries)), f"of {retry.max_attempts}"
    if task.attempt > task.tries:
        following = f"attempt {task.attempt + 1} in {wait}, {task.tries + 1} {limit} since the restart"
    else:
        following = f"attempt {task.attempt + 1} {limit} in {wait}"
    return f"{following}; attempt {task.attempt}: {task.message}"


def starting_text(parties: Sequence[PartyStatus]) -> str:
    """The message of a placed task until all its parties have started."""
    late = dict.fromkeys(_late_text(party) for party in parties if party.state is TaskState.STARTING)
    return f"waiting for {listed(list(late))} to start"


def _overrun_text(task: Task) -> str:
    """The text of parties that are stopped because their attempt has run too long."""
    return f"not ended within {seconds_text(task.run_timeout_seconds or 0.0)} after its start (run_timeout)"


def _earlier(at: float | None, other: float) -> float:
    return other if at is None else min(at, other)


def _late_text(party: PartyStatus) -> str:
    """The domain, and the runtime's reason why its party has not started."""
    return f"{party.domain_id} ({party.message})" if party.message else party.domain_id


def is_unplaced(task: TaskStatus) -> bool:
    """Whether the task is admitted and its parties have no addresses yet."""
    return task.state is TaskState.STARTING and all(party.state is TaskState.PENDING for party in task.parties)


def has_ready(job: Job) -> bool:
    """Whether a task could start now or later without anything else ending first. One that awaits a retry can."""
    return bool(_ready(job, states_of(job)))


def has_strict_failure(job: Job) -> bool:
    """Whether a failed task ends the job, which is of scheduleMode Strict."""
    return bool(_strict_failure(job, states_of(job)))


def explain_waiting(job: Job, *, succeeded: str | None = None) -> tuple[TaskStatus, ...]:
    """The tasks, each Pending one with the reason why it waits; the same tuple if nothing changes.

    `succeeded` makes this faster: its caller promises that nothing else happened than the success of that task.
    """
    status = job.status
    if succeeded and not any(succeeded in spec.dependencies for spec in job.spec.tasks):
        return status.tasks
    states: dict[str, TaskState] = {task.alias: task.state for task in status.tasks}
    never = _never_succeeding(job, states)
    idle = turn = strict = ""
    if status.state is JobState.AWAITING_APPROVAL:
        idle = "waiting for approval"
    elif status.state is JobState.APPROVAL_REJECT:
        idle = "never started: the job was rejected"
    elif status.stage.kind is StageKind.SUSPEND:
        turn = "waiting for a restart: the job is suspended"
    elif failed := _strict_failure(job, states_of(job)):
        strict = f"task {shown(failed)} failed {_STRICT}"
    elif len(status.tasks) > job.spec.max_parallelism < _contenders(job):
        turn = f"waiting for its turn (max_parallelism is {job.spec.max_parallelism})"
    tasks = list(status.tasks)
    is_changed = False
    for index, (task, spec) in enumerate(zip(status.tasks, job.spec.tasks, strict=True)):
        if task.state is not TaskState.PENDING or (succeeded and succeeded not in spec.dependencies):
            continue
        if task.retry_at is not None:
            continue  # its text tells of the attempt that failed
        message = idle or (f"{'not started again' if task.tries else 'never started'}: {strict}" if strict else "")
        if not message and spec.dependencies:
            message = _waiting_text(dict.fromkeys(spec.dependencies), states, never)
        message = message or turn
        if task.message != message:
            tasks[index] = replace(task, message=message)
            is_changed = True
    return tuple(tasks) if is_changed else status.tasks


def _contenders(job: Job) -> int:
    """How many tasks run or could run now. One that awaits a retry keeps nobody from running."""
    states, tasks = states_of(job), job.status.tasks
    return sum(state in ACTIVE for state in states) + sum(tasks[at].retry_at is None for at in _ready(job, states))


def _waiting_text(dependencies: dict[str, None], states: dict[str, TaskState], never: set[str]) -> str:
    broken = [alias for alias in dependencies if alias in never] if never else ()
    if broken:
        causes = [
            f'dependency "{alias}" ' + ("failed" if states[alias] is TaskState.FAILED else "can never run")
            for alias in broken
        ]
        return f"never started: {listed(causes, '; ')}"
    missing = [f'"{alias}"' for alias in dependencies if states[alias] is not TaskState.SUCCEEDED]
    return f"waiting for {listed(missing)}" if missing else ""


def _never_succeeding(job: Job, states: dict[str, TaskState]) -> set[str]:
    """Aliases of failed tasks and of all that depend on them, directly or not; none in a suspended job."""
    if TaskState.FAILED not in states.values() or job.status.stage.kind is StageKind.SUSPEND:
        return set()
    never = {alias for alias, state in states.items() if state is TaskState.FAILED}
    before = 0
    while before != len(never):
        before = len(never)
        for task in job.spec.tasks:
            if states[task.alias] is TaskState.PENDING and not never.isdisjoint(task.dependencies):
                never.add(task.alias)
    return never


def _strict_text(job: Job, states: list[TaskState]) -> str:
    """Why a job of scheduleMode Strict stops its running tasks; empty while nothing has failed."""
    alias = _strict_failure(job, states)
    return f"stopped because task {shown(alias)} failed {_STRICT}" if alias else ""


def _strict_failure(job: Job, states: list[TaskState]) -> str:
    """The alias of the task whose failure ends a job of scheduleMode Strict; empty while there is none."""
    if (
        job.spec.schedule_mode is not ScheduleMode.STRICT
        or TaskState.FAILED not in states
        or job.status.stage.kind in ENDING_STAGES
    ):
        return ""
    for spec, task in zip(job.spec.tasks, job.status.tasks, strict=True):
        # The tasks that were stopped because of it have failed as well.
        if task.state is TaskState.FAILED and not spec.tolerable and _STRICT not in task.message:
            return spec.alias
    return ""


def _start(job: Job, states: list[TaskState], *, free: int, now: float) -> tuple[tuple[int, ...], float | None]:
    """The tasks to start, and when the first of those that could start now but await a retry may."""
    status = job.status
    if free <= 0 or status.stage.kind in ENDING_STAGES or status.state not in SCHEDULED:
        return (), None
    # The sort is stable: ties keep the order of declaration.
    ready = sorted(_ready(job, states), key=lambda index: -job.spec.tasks[index].priority)
    start: list[int] = []
    first: float | None = None
    for index in ready:
        retry_at = status.tasks[index].retry_at
        if retry_at is not None and retry_at > now:
            first = _earlier(first, retry_at)
        else:
            start.append(index)
            if len(start) == free:
                break
    return tuple(start), first


def states_of(job: Job) -> list[TaskState]:
    """The states of all its tasks."""
    return [task.phase.state for task in job.status.tasks]


def _ready(job: Job, states: list[TaskState]) -> list[int]:
    if TaskState.PENDING not in states or _strict_failure(job, states):
        return []
    specs = job.spec.tasks
    missing = {spec.alias for spec, state in zip(specs, states, strict=True) if state is not TaskState.SUCCEEDED}
    pending = [index for index, state in enumerate(states) if state is TaskState.PENDING]
    return [index for index in pending if missing.isdisjoint(specs[index].dependencies)]


def _partner_failure(task: TaskStatus) -> str:
    for party in task.parties:
        if party.state is TaskState.FAILED:
            return f"stopped because party {party.domain_id} failed"
    return ""


def _positions(task: TaskStatus, states: frozenset[TaskState] | set[TaskState]) -> list[int]:
    return [position for position, party in enumerate(task.parties) if party.state in states]
