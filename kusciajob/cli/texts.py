"""Job statuses in words: times, durations, and what changed from one status to the next; `terminal` cleans them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import zip_longest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb

_NEW_TASK, _NEW_PARTY = pb.TaskStatus(state="Pending"), pb.PartyStatus(state="Pending")
UNKNOWN = "-"
FINAL_STATES = frozenset({"Succeeded", "Failed", "Cancelled", "ApprovalReject"})


def local_time(time: str) -> str:
    """A time of the API as the user's clock shows it, with the date unless it is today's."""
    moment = _moment(time)
    if moment is None:
        return UNKNOWN
    moment = moment.astimezone()
    return moment.strftime("%H:%M:%S" if moment.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def elapsed(start_time: str, end_time: str) -> str:
    """The time between two times of the API, an empty end meaning now, e.g. `1 min 5 s`."""
    start, end = _moment(start_time), _moment(end_time) or datetime.now(UTC)
    if start is None:
        return UNKNOWN
    seconds = max(0, int((end - start).total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _moment(time: str) -> datetime | None:
    """A time of the API; None where there is none, or none that can be read as one."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def task_state(task: pb.TaskStatus) -> str:
    """The state, of a running task with its progress once there is some."""
    if task.state == "Running" and task.progress > 0:
        return f"{task.state} {task.progress:.0%}"
    return task.state


def changes(before: pb.JobStatus | None, after: pb.JobStatus) -> list[str]:
    """A line for whatever became different: `job state`, `job/task state`, `job/task/party state`, with the reason."""
    old, new = before.status if before else pb.JobStatusDetail(), after.status
    job = _changed(after.job_id, (old.state, old.err_msg), (new.state, new.err_msg))
    old_tasks = {task.task_id: task for task in old.tasks}
    tasks = [
        line
        for task in new.tasks
        for line in _task_changes(f"{after.job_id}/{task.alias}", old_tasks.get(task.task_id, _NEW_TASK), task)
    ]
    return [*tasks, *job] if new.state in FINAL_STATES else [*job, *tasks]


def _task_changes(subject: str, old: pb.TaskStatus, new: pb.TaskStatus) -> Iterator[str]:
    yield from _changed(subject, (task_state(old), _own_message(old)), (task_state(new), _own_message(new)))
    for before, after in zip_longest(old.parties, new.parties, fillvalue=_NEW_PARTY):
        has_ended_alone = after.state in FINAL_STATES and after.state != new.state
        if has_ended_alone or after.err_msg:  # else the task's line says it
            party = f"{subject}/{after.domain_id}"
            yield from _changed(party, (before.state, before.err_msg), (after.state, after.err_msg))


def _own_message(task: pb.TaskStatus) -> str:
    """What the task's message tells beyond those of its parties."""
    return "" if any(party.err_msg and party.err_msg in task.err_msg for party in task.parties) else task.err_msg


def _changed(subject: str, before: tuple[str, str], after: tuple[str, str]) -> Iterator[str]:
    (old_state, old_message), (state, message) = before, after
    if state != old_state or message not in ("", old_message):
        yield f"{subject} {state}" + (f": {message}" if message else "")


def problems(status: pb.JobStatusDetail) -> Iterator[str]:
    """The reasons given by the job, its tasks and parties, each once."""
    if status.err_msg:
        yield status.err_msg
    for task in status.tasks:
        texts = [(f"task {task.alias}", _own_message(task))]
        texts += [(f"task {task.alias}, party {party.domain_id}", party.err_msg) for party in task.parties]
        for subject, text in texts:
            if text and text not in status.err_msg:
                yield f"{subject}: {text}"
