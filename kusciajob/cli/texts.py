"""Job statuses in words: times, durations, and what changed from one status to the next; `terminal` cleans them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import zip_longest

from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob.model.status import JobState

_NEW_TASK, _NEW_PARTY = pb.TaskStatus(state="Pending"), pb.PartyStatus(state="Pending")
UNKNOWN = "-"
STATES = [state.value for state in JobState]
FINAL_STATES = frozenset({"Succeeded", "Failed", "Cancelled", "ApprovalReject"})
_COUNTED_AS = {"Running": "running", "Failed": "failed", "Pending": "waiting", "Succeeded": "done"}
MIN_DETAIL_CHARACTERS = 16
"""A shorter one is easier to read again than `as above`."""
MAX_DETAILS = 256
"""How many of them are remembered, each at most a few KiB; then all are told once more."""
MAX_NAMED = 3
"""How many of those that have the same problem are named."""
_STOPPED = "stopped because party "
"""How the text of a party begins that did not fail by itself."""
_AND_MORE = re.compile(r"; … and [0-9,]+ more")


class Told:
    """Remembers details, such as the PATH on which a command was not found: each needs to be told once."""

    def __init__(self) -> None:
        self._details: set[str] = set()

    def once(self, text: str) -> str:
        """The text `message: detail`; with `as above` in place of a detail that was told."""
        message, separator, detail = text.partition(": ")
        if len(detail) < MIN_DETAIL_CHARACTERS:
            return text
        if detail in self._details:
            return f"{message}{separator}as above"
        if len(self._details) >= MAX_DETAILS:
            self._details.clear()
        self._details.add(detail)
        return text


def iso(message: Message, field: str) -> str:
    """A Timestamp of kusciajob.v1 as a time of Kuscia's API; empty where there is none."""
    if not message.HasField(field):
        return ""
    text: str = getattr(message, field).ToJsonString()
    return text


def party(message: v1.PartyAttempt | v1.PartyPreview | v1.JobHistoryEntry) -> str:
    """The party that a message of kusciajob.v1 is about: its domain, and its role where it has one."""
    return f"{message.domain_id}/{message.role}" if message.role else message.domain_id


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


def counted(status: pb.JobStatusDetail) -> dict[str, list[pb.TaskStatus]]:
    """The tasks by how they are counted, what needs attention first: running, failed, waiting, done."""
    groups: dict[str, list[pb.TaskStatus]] = {word: [] for word in _COUNTED_AS.values()}
    for task in status.tasks:
        groups[_COUNTED_AS.get(task.state, "waiting")].append(task)
    return groups


def counts(status: pb.JobStatusDetail) -> str:
    """How many tasks are in each state, e.g. `21/60 done, 8 running, 1 failed, 30 waiting`."""
    groups = counted(status)
    parts = [f"{len(groups['done'])}/{len(status.tasks)} done"]
    for word in ("running", "failed", "waiting"):
        if groups[word]:
            name = "never started" if word == "waiting" and status.state in FINAL_STATES else word
            parts.append(f"{len(groups[word])} {name}")
    return ", ".join(parts)


def changes(before: pb.JobStatus | None, after: pb.JobStatus, told: Told) -> list[str]:
    """A line for whatever became different: `job state`, `job/task state`, `job/task/party state`, with the reason.

    A job's or task's line leaves out the reason where it is made of those of the parties, which have their own lines.
    """
    old, new = before.status if before else pb.JobStatusDetail(), after.status
    job = _changed(after.job_id, (old.state, _own_job_message(old)), (new.state, _own_job_message(new)))
    old_tasks = {task.task_id: task for task in old.tasks}
    tasks = [
        line
        for task in new.tasks
        for line in _task_changes(f"{after.job_id}/{task.alias}", old_tasks.get(task.task_id, _NEW_TASK), task, told)
    ]
    return [*tasks, *job] if new.state in FINAL_STATES else [*job, *tasks]


def _task_changes(subject: str, old: pb.TaskStatus, new: pb.TaskStatus, told: Told) -> Iterator[str]:
    yield from _changed(subject, (task_state(old), _own_message(old)), (task_state(new), _own_message(new)))
    for before, after in zip_longest(old.parties, new.parties, fillvalue=_NEW_PARTY):
        has_ended_alone = after.state in FINAL_STATES and after.state != new.state
        if has_ended_alone or after.err_msg:  # else the task's line says it
            party = f"{subject}/{after.domain_id}"
            for _ in _changed(party, (before.state, before.err_msg), (after.state, after.err_msg)):
                yield from _changed(party, ("", ""), (after.state, told.once(after.err_msg)))


def _own_message(task: pb.TaskStatus) -> str:
    """What the task's message tells beyond those of its parties."""
    return "" if any(party.err_msg and party.err_msg in task.err_msg for party in task.parties) else task.err_msg


def _own_job_message(status: pb.JobStatusDetail) -> str:
    """The job's message; empty where it is made of those of its failed parties, `Task[a]-Party[b]: …; …`."""
    text, end = status.err_msg, 0
    if not text.startswith("Task["):
        return text
    for task in status.tasks:
        for party in task.parties:
            if party.state == "Failed":
                end = _end_of_part(text, end, task.alias, party)
    return "" if end and (end == len(text) or _AND_MORE.fullmatch(text, end)) else text


def _end_of_part(text: str, start: int, alias: str, party: pb.PartyStatus) -> int:
    """Where that party's part ends if it begins there; else the start, as of a tolerable task there is none."""
    head = ("; " if start else "") + f"Task[{alias}]-Party[{party.domain_id}"
    if not text.startswith(head, start):
        return start
    # The domain may be followed by a role.
    tail, place = f"]: {party.err_msg}", text.find("]", start + len(head))
    return place + len(tail) if text.startswith(tail, place) else start


def cause(task: pb.TaskStatus) -> str:
    """Why a task failed, in short: `domain: reason` of the first party that was not just stopped for another's sake."""
    reasons = [party for party in task.parties if party.state == "Failed" and party.err_msg]
    reasons.sort(key=lambda party: party.err_msg.startswith(_STOPPED))
    return f"{reasons[0].domain_id}: {reasons[0].err_msg}" if reasons else task.err_msg


def _changed(subject: str, before: tuple[str, str], after: tuple[str, str]) -> Iterator[str]:
    (old_state, old_message), (state, message) = before, after
    if state != old_state or message not in ("", old_message):
        yield f"{subject} {state}" + (f": {message}" if message else "")


def problems(status: pb.JobStatusDetail, told: Told) -> list[str]:
    """The reasons given by the job, its tasks and parties; one that several give is told once, and who gives it."""
    subjects: dict[str, list[str]] = {}
    own = _own_job_message(status)
    if own:
        subjects[own] = []
    for task in status.tasks:
        texts = [(f"task {task.alias}, party {party.domain_id}", party.err_msg) for party in task.parties]
        for subject, text in [(f"task {task.alias}", _own_message(task)), *texts]:
            if text and text not in own:
                subjects.setdefault(text, []).append(subject)
    return [": ".join(filter(None, (_named(names), told.once(text)))) for text, names in subjects.items()]


def _named(names: list[str]) -> str:
    """The names, some of them where they are many."""
    if len(names) <= MAX_NAMED + 1:
        return "; ".join(names)
    return f"{'; '.join(names[:MAX_NAMED])} and {len(names) - MAX_NAMED} more"
