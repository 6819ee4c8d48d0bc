"""Why nothing of an unfinished job runs."""

from kusciajob.model.planner import ENDING_STAGES
from kusciajob.model.status import Ended, JobState, JobStatus, TaskState
from kusciajob.model.text import listed, shown


def awaited_domains(status: JobStatus) -> tuple[str, ...]:
    """The domains that have yet to accept the job."""
    answered = {approval.domain_id for approval in status.approvals}
    return tuple(domain for domain in status.awaited if domain not in answered)


def reason(status: JobStatus) -> str:
    """In one sentence; empty where something runs, or where the job has ended."""
    if status.is_damaged or isinstance(status.phase, Ended):
        return ""
    if any(task.state is TaskState.RUNNING for task in status.tasks):
        return ""
    if status.state is JobState.AWAITING_APPROVAL:
        return f"it waits for the approval of {listed(awaited_domains(status))}"
    if status.state is JobState.SUSPENDED:
        return "it is suspended and waits for a restart"
    if status.stage.kind in ENDING_STAGES:
        return f"it is about to end: {status.stage.text}"
    # What is being started comes before what waits for it.
    waiting = [task for task in status.tasks if task.state is TaskState.STARTING]
    waiting = waiting or [task for task in status.tasks if task.state is TaskState.PENDING]
    told: dict[str, list[str]] = {}
    for task in waiting:
        if task.message:
            told.setdefault(task.message, []).append(shown(task.alias))
    if not told:
        return "it is about to be started"
    texts = [f"{'task' if len(names) == 1 else 'tasks'} {listed(names)}: {text}" for text, names in told.items()]
    return listed(texts, "; ")
