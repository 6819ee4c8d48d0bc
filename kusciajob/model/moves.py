"""What may happen to parties, tasks and jobs: the tables of legal moves. `transitions` makes the moves, and no others.

The diagrams in the documents are written from here.
"""

from collections.abc import Sequence
from enum import StrEnum

from kusciajob.model.status import JobState, StageKind, TaskState


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
    ACCEPT = "Accept"
    REJECT = "Reject"


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
    # A client repeats its acceptance when it missed the answer.
    Operation.ACCEPT: _row(
        apply=(_S.AWAITING_APPROVAL,),
        nothing=tuple(state for state in JobState if state is not _S.AWAITING_APPROVAL),
    ),
    Operation.REJECT: _row(apply=(_S.AWAITING_APPROVAL,)),
}

STAGES = {
    Operation.STOP: StageKind.STOP,
    Operation.CANCEL: StageKind.CANCEL,
    Operation.SUSPEND: StageKind.SUSPEND,
    Operation.RESTART: StageKind.RESTART,
}
ENDED_STATE: dict[StageKind, JobState] = {
    StageKind.STOP: JobState.FAILED,
    StageKind.CANCEL: JobState.CANCELLED,
    StageKind.SUSPEND: JobState.SUSPENDED,
}
"""The state of a job once nothing of it runs any more."""

# The moves that a job makes without a command; `settle` derives them.
SELF_MOVES: dict[tuple[JobState, JobState], str] = {
    (_S.PENDING, _S.PENDING): "task awaits a retry",
    (_S.PENDING, _S.RUNNING): "first task started",
    (_S.PENDING, _S.FAILED): "nothing could be started",
    (_S.PENDING, _S.SUCCEEDED): "all tasks tolerable, none could be started",
    (_S.RUNNING, _S.RUNNING): "task awaits a retry",
    (_S.RUNNING, _S.SUCCEEDED): "every non-tolerable task succeeded",
    (_S.RUNNING, _S.FAILED): "nothing left to run and a task failed",
}
# The moves of a task: most are made by its parties (`move_parties`), or with its job.
TASK_MOVES: dict[tuple[TaskState, TaskState], str] = {
    (TaskState.PENDING, TaskState.STARTING): "ready, back-off over",
    (TaskState.PENDING, TaskState.FAILED): "job ended by Stop, Cancel or deadline",
    (TaskState.STARTING, TaskState.RUNNING): "all parties started",
    (TaskState.STARTING, TaskState.PENDING): "party failed or task_timeout, retry left",
    (TaskState.STARTING, TaskState.FAILED): "party failed or task_timeout",
    (TaskState.RUNNING, TaskState.SUCCEEDED): "all parties succeeded",
    (TaskState.RUNNING, TaskState.PENDING): "party failed or run_timeout, retry left",
    (TaskState.RUNNING, TaskState.FAILED): "party failed or run_timeout",
    (TaskState.FAILED, TaskState.PENDING): "Restart",
}
# The state after a domain's answer, and whether all or one must have given it.
APPROVAL_MOVES = {
    Operation.ACCEPT: (_S.PENDING, "Accept by all"),
    Operation.REJECT: (_S.APPROVAL_REJECT, "Reject by one"),
}


def job_moves() -> dict[tuple[JobState, JobState], list[str]]:
    """Every change of state that a job can make, with its causes; also where it keeps its state for a retry."""
    moves = {pair: [cause] for pair, cause in SELF_MOVES.items()}
    for operation, row in OPERATION_TABLE.items():
        for state in (state for state, effect in row.items() if effect is Effect.APPLY):
            if operation in APPROVAL_MOVES:
                target, cause = APPROVAL_MOVES[operation]
            elif operation is Operation.RESTART:
                target, cause = _S.RUNNING, "Restart"
            else:
                target, cause = ENDED_STATE[STAGES[operation]], operation.value
            # When its deadline is over, the server itself asks for Stop.
            causes = [cause, "deadline"] if operation is Operation.STOP else [cause]
            moves.setdefault((state, target), []).extend(causes)
    # It was stopped before all had accepted it. A restart does not replace their acceptance.
    moves[_S.FAILED, _S.AWAITING_APPROVAL] = ["Restart, approval pending"]
    return moves
