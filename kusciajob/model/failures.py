"""Error texts of tasks and jobs, made from those of their parties, and who may read which details.

A party's `message` is for everybody. Its `detail`, such as the last lines of its stderr or a path on the machine, is
for the master and the party's own domain. Stored texts of tasks and jobs hold no details. `told` puts them in for
a reader who may see them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from kusciajob.model.status import JobStatus, PartyStatus, TaskState, TaskStatus
from kusciajob.model.text import cut, listed

MAX_MESSAGE_CHARACTERS = 1024
MAX_DETAIL_CHARACTERS = 4096


def party_text(party: PartyStatus) -> str:
    """A party's message, with its detail if it has one."""
    return f"{party.message}: {party.detail}" if party.detail else party.message


def task_text(parties: Sequence[PartyStatus]) -> str:
    """`Party[<domain>]: <text>; …` of those that failed."""
    return listed(_texts(parties), "; ")


def job_text(tasks: Sequence[TaskStatus]) -> str:
    """`Task[<alias>]-Party[<domain>]: <text>; …` of the failed parties; else the tasks that never started."""
    failed = [task for task in tasks if not task.tolerable and task.state is not TaskState.SUCCEEDED]
    texts = [f"Task[{task.alias}]-{text}" for task in failed for text in _texts(task.parties)]
    return listed(texts or [f"Task[{task.alias}]: {task.message or task.state}" for task in failed], "; ")


def cause_text(status: JobStatus) -> str:
    """A Failed job's message without the parties that were only stopped; empty where that is the same, or nothing."""
    failed = [task for task in status.tasks if not task.tolerable and task.state is TaskState.FAILED]
    if not any(party.was_stopped for task in failed for party in task.parties):
        return ""
    if status.message != job_text(status.tasks):
        return ""  # a command ended it
    texts = [f"Task[{task.alias}]-{text}" for task in failed for text in _texts(task.parties, with_stopped=False)]
    return listed(texts, "; ")


def fault_text(tasks: Sequence[TaskStatus]) -> str:
    """`Task[<alias>]-Party[<domain>]: <text>; …` of every failed party, also of a tolerable task; empty without one."""
    return listed([f"Task[{task.alias}]-{text}" for task in tasks for text in _texts(task.parties)], "; ")


def bounded(message: str, detail: str) -> tuple[str, str]:
    """A runtime's text about a party, cut to the limit."""
    return cut(message, MAX_MESSAGE_CHARACTERS), cut(detail, MAX_DETAIL_CHARACTERS)


def seen_by(status: JobStatus, domain: str) -> JobStatus:
    """The status without the details of other domains' parties. The master (empty domain) gets it unchanged."""
    if not domain or not status.has_details:
        return status
    return replace(
        status, tasks=tuple(replace(task, parties=parties_seen_by(task.parties, domain)) for task in status.tasks)
    )


def parties_seen_by(parties: Sequence[PartyStatus], domain: str) -> tuple[PartyStatus, ...]:
    """The parties without the details of other domains' ones. The master (empty domain) gets them unchanged."""
    return tuple(
        replace(party, detail="") if domain and party.detail and party.domain_id != domain else party
        for party in parties
    )


def told(status: JobStatus) -> JobStatus:
    """The status with its details put into the texts of parties, tasks and job."""
    tasks = tuple(map(_told_task, status.tasks))
    message = status.message
    for text in (job_text, fault_text):
        if message == text(status.tasks):
            message = text(tasks)
            break
    return replace(status, tasks=tasks, message=message)


def _told_task(task: TaskStatus) -> TaskStatus:
    if not any(party.detail for party in task.parties):
        return task
    parties, message = told_parties(task.parties, task.message)
    return replace(task, parties=parties, message=message)


def told_parties(parties: Sequence[PartyStatus], message: str) -> tuple[tuple[PartyStatus, ...], str]:
    """The parties and the text of their task, or of one of its attempts, with their details put in."""
    told = tuple(replace(party, message=party_text(party), detail="") if party.detail else party for party in parties)
    return told, task_text(told) if message == task_text(parties) else message


class HasRole(Protocol):
    """A party, whatever else is known of it."""

    @property
    def domain_id(self) -> str: ...
    @property
    def role(self) -> str: ...


def party_names(parties: Sequence[HasRole]) -> list[str]:
    """A name for each party of a task: the domain, and the role where a domain has several parties."""
    counts = Counter(party.domain_id for party in parties)
    return [f"{party.domain_id}/{party.role}" if counts[party.domain_id] > 1 else party.domain_id for party in parties]


def _texts(parties: Sequence[PartyStatus], *, with_stopped: bool = True) -> list[str]:
    return [
        f"Party[{name}]: {party.message}"
        for name, party in zip(party_names(parties), parties, strict=True)
        if party.state is TaskState.FAILED and (with_stopped or not party.was_stopped)
    ]
