"""Decides what a job needs next, from its present values alone. The scheduler carries it out."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.model.job import ScheduleMode
from kusciajob.model.status import (
    ACTIVE,
    Job,
    JobState,
    PartyStatus,
    StageKind,
    TaskState,
    TaskStatus,
    Unstarted,
)
from kusciajob.model.text import listed, shown

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
    """Start ready tasks within max_parallelism, stop programs no longer needed, give up tasks that waited too long."""
    states = _states(job)
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
        elif states[index] is TaskState.RUNNING or (due := deadline(job, index)) is None:
            continue
        elif due > now:
            wake_at = due if wake_at is None else min(wake_at, due)
        elif is_unplaced(task):
            expired.append(index)
        else:
            reason = expiry_text(job, index)
            stop += [Stop(index, position, reason) for position in _positions(task, {TaskState.STARTING})]
    free = job.spec.max_parallelism - len(active)
    return Plan(_start(job, states, free), tuple(stop), tuple(expired), wake_at)


def deadline(job: Job, index: int) -> float | None:
    """When an admitted task is given up (seconds since the epoch) unless all its parties have started; None = never."""
    schedule = job.spec.tasks[index].schedule_config
    phase = job.status.tasks[index].phase
    if schedule is None or not isinstance(phase, Unstarted) or phase.state is not TaskState.STARTING:
        return None
    return phase.since + schedule.task_timeout_seconds


def expiry_text(job: Job, index: int) -> str:
    """The error text of a task that waited too long for a slot or port."""
    if text := _strict_text(job, _states(job)):
        return text
    schedule = job.spec.tasks[index].schedule_config
    seconds = schedule.task_timeout_seconds if schedule else 0
    task = job.status.tasks[index]
    late = [_late_text(party) for party in task.parties if party.state in (TaskState.PENDING, TaskState.STARTING)]
    waited = f": {task.message}" if task.message and is_unplaced(task) else ""
    return (
        f"not scheduled within {seconds} s (schedule_config.task_timeout_seconds): not started: {listed(late)}{waited}"
    )


def starting_text(parties: Sequence[PartyStatus]) -> str:
    """The message of a placed task until all its parties have started."""
    late = dict.fromkeys(_late_text(party) for party in parties if party.state is TaskState.STARTING)
    return f"waiting for {listed(list(late))} to start"


def _late_text(party: PartyStatus) -> str:
    """The domain, and the runtime's reason why its party has not started."""
    return f"{party.domain_id} ({party.message})" if party.message else party.domain_id


def is_unplaced(task: TaskStatus) -> bool:
    """Whether the task is admitted and its parties have no addresses yet."""
    return task.state is TaskState.STARTING and all(party.state is TaskState.PENDING for party in task.parties)


def has_ready(job: Job) -> bool:
    """Whether a task could start now or later without anything else ending first."""
    return bool(_ready(job, _states(job)))


def is_active(job: Job) -> bool:
    """Whether any task is admitted and unfinished."""
    return not ACTIVE.isdisjoint(_states(job))


def explain_waiting(job: Job, *, succeeded: str | None = None) -> tuple[TaskStatus, ...]:
    """The tasks, each Pending one with the reason why it waits; the same tuple if nothing changes.

    `succeeded` makes this faster: its caller promises that nothing else happened than the success of that task.
    """
    status = job.status
    if succeeded and not any(succeeded in spec.dependencies for spec in job.spec.tasks):
        return status.tasks
    states: dict[str, TaskState] = {task.alias: task.state for task in status.tasks}
    never = _never_succeeding(job, states)
    idle = turn = ""
    if status.state is JobState.AWAITING_APPROVAL:
        idle = "waiting for approval"
    elif status.state is JobState.APPROVAL_REJECT:
        idle = "never started: the job was rejected"
    elif status.stage.kind is StageKind.SUSPEND:
        turn = "waiting for a restart: the job is suspended"
    elif failed := _strict_failure(job, _states(job)):
        idle = f"never started: task {shown(failed)} failed {_STRICT}"
    elif len(status.tasks) > job.spec.max_parallelism < _contenders(job):
        turn = f"waiting for its turn (max_parallelism is {job.spec.max_parallelism})"
    tasks = list(status.tasks)
    is_changed = False
    for index, (task, spec) in enumerate(zip(status.tasks, job.spec.tasks, strict=True)):
        if task.state is not TaskState.PENDING or (succeeded and succeeded not in spec.dependencies):
            continue
        message = idle
        if not idle and spec.dependencies:
            message = _waiting_text(dict.fromkeys(spec.dependencies), states, never)
        message = message or turn
        if task.message != message:
            tasks[index] = replace(task, message=message)
            is_changed = True
    return tuple(tasks) if is_changed else status.tasks


def _contenders(job: Job) -> int:
    """How many tasks run or could run now."""
    states = _states(job)
    return sum(state in ACTIVE for state in states) + len(_ready(job, states))


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


def _start(job: Job, states: list[TaskState], free: int) -> tuple[int, ...]:
    status = job.status
    if free <= 0 or status.stage.kind in ENDING_STAGES or status.state not in (JobState.PENDING, JobState.RUNNING):
        return ()
    # The sort is stable: ties keep the order of declaration.
    ready = sorted(_ready(job, states), key=lambda index: -job.spec.tasks[index].priority)
    return tuple(ready[:free])


def _states(job: Job) -> list[TaskState]:
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
