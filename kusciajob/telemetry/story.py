"""Logs the life of jobs: one line for each fact, all with the same fields.

Whoever makes a fact true logs it right after: the use cases log commands, their callers and reasons; the supervisor
logs parties; worker and use cases log what their commits have changed. Output of programs is never logged.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from kusciajob.contracts import ExitResult, PartyKey, PartySpec
from kusciajob.model import planner
from kusciajob.model.moves import Operation
from kusciajob.model.status import (
    ACTIVE,
    Ended,
    Job,
    JobState,
    JobStatus,
    JobSummary,
    TaskState,
    TaskStatus,
    Unstarted,
)
from kusciajob.model.text import cut, listed
from kusciajob.telemetry import request

logger = logging.getLogger(__name__)

MAX_REASON_CHARACTERS = 256
"""Texts from outside are cut there; the formats of the log see to what is in them."""

_ASKED = {
    Operation.STOP: "stopped",
    Operation.CANCEL: "cancelled",
    Operation.SUSPEND: "suspended",
    Operation.RESTART: "restarted",
}


class Spans(Protocol):
    """The same life as spans of a trace. All times are seconds since the epoch."""

    def traceparent(self, party: PartyKey, job: Job) -> str:
        """What the programs of a party are given, so that their own spans belong to its span."""

    def party_ended(self, party: PartySpec, result: ExitResult, *, began_at: float, ended_at: float) -> None:
        """A party's program has ended, or could not be started."""

    def task_ended(self, job: Job, index: int, *, began_at: float) -> None:
        """A task has ended that was admitted then, or started."""

    def job_ended(self, job: Job, *, ended_at: float) -> None:
        """A run of a job has ended, or the job is suspended."""

    def deleted(self, job: Job | JobSummary, *, now: float) -> None:
        """A job was deleted; what of it had not ended ends with that."""


class Story:
    """Tells what happens to jobs, in the log and, where there are spans, in these."""

    def __init__(self, spans: Spans | None = None) -> None:
        self._spans = spans

    @property
    def trace_of_call(self) -> str:
        """What the present call wants its job's spans to belong to; empty where nobody makes spans."""
        return request.present().traceparent if self._spans else ""

    def traceparent(self, party: PartyKey, job: Job) -> str:
        """See Spans; empty where there are none."""
        return self._spans.traceparent(party, job) if self._spans else ""

    # --- the service

    def created(self, job: Job, caller: str) -> None:
        """A job was stored. This is on the way of every CreateJob."""
        parties = sum([len(task.parties) for task in job.spec.tasks])
        awaited = f", awaits approval of {listed(job.status.awaited)}" if job.status.awaited else ""
        fields = {"job": job.spec.job_id, "caller": caller}
        logger.info("job created: %d tasks, %d parties%s", len(job.spec.tasks), parties, awaited, extra=fields)

    def asked(self, job: Job, operation: Operation, caller: str, reason: str) -> None:
        """A command that changes the job was stored."""
        _tell(f"job {_ASKED[operation]}", job=job.job_id, caller=caller, reason=reason)

    def answered(self, job: Job, caller: str, reason: str, *, accepted: bool) -> None:
        """Domains' answer to a job that awaits approval was stored."""
        _tell("job accepted" if accepted else "job rejected", job=job.job_id, caller=caller, reason=reason)

    def deleted(self, job: Job | JobSummary, caller: str | None, reason: str = "", *, now: float) -> None:
        """A job was deleted; without a caller, by the server itself."""
        _tell("job deleted", job=job.job_id, caller=caller, state=job.status.phase.state, reason=reason)
        if self._spans:
            self._spans.deleted(job, now=now)

    def left(self, job_id: str, caller: str) -> None:
        """A caller left before its command was answered."""
        _tell("the caller left while its command was being stored: it takes effect or not", job=job_id, caller=caller)

    # --- the worker, and the service where its commands end a job at once

    def changed(self, before: JobStatus, job: Job) -> None:
        """A change of the job was committed: log what it means for the job and its tasks."""
        status = job.status
        for index, (old, task) in enumerate(zip(before.tasks, status.tasks, strict=True)):
            if old is task or old.state not in ACTIVE:
                continue
            if isinstance(task.phase, Ended):
                self._task_ended(job, index, old)
            elif task.retry_at is not None:
                self._task_retried(job, index, old)
        if before.phase.state == status.phase.state:
            return
        if before.state is JobState.PENDING and status.state is JobState.RUNNING:
            _tell("job started", job=job.job_id)
        elif isinstance(status.phase, Ended) or status.state is JobState.SUSPENDED:
            seconds = (status.phase.ended_at or _last_end(status)) - status.began_at
            state = status.phase.state
            _tell("job ended", job=job.job_id, state=state, seconds=_rounded(seconds), reason=status.message)
            if self._spans and before.is_unfinished:  # not one that had failed, or was suspended, and is cancelled
                self._spans.job_ended(job, ended_at=status.began_at + max(seconds, 0.0))

    def waits(self, job: Job, index: int) -> None:
        """A task waits, for the reason in its message. The caller calls it once for each reason."""
        task = job.status.tasks[index]
        _tell("task waits", job=job.job_id, task=task.task_id, attempt=task.attempt, reason=task.message)

    def _task_ended(self, job: Job, index: int, before: TaskStatus) -> None:
        task = job.status.tasks[index]
        began_at = task.phase.started_at or before.since or task.created_at
        seconds = (task.phase.ended_at or began_at) - began_at
        _tell(
            "task ended",
            job=job.job_id,
            task=task.task_id,
            attempt=task.attempt,
            state=task.phase.state,
            seconds=_rounded(seconds),
            reason=task.message,
        )
        if self._spans:
            self._spans.task_ended(job, index, began_at=began_at)

    def _task_retried(self, job: Job, index: int, before: TaskStatus) -> None:
        task = job.status.tasks[index]
        _tell("task awaits a retry", job=job.job_id, task=task.task_id, attempt=task.attempt, reason=task.message)
        if self._spans and isinstance(task.phase, Unstarted):
            failed_at, tasks = task.phase.since, list(job.status.tasks)
            tasks[index] = replace(task, phase=Ended(TaskState.FAILED, before.phase.started_at, failed_at))
            of_attempt = replace(job, status=replace(job.status, tasks=tuple(tasks)))
            self._spans.task_ended(of_attempt, index, began_at=before.since or failed_at)

    # --- the supervisor

    def party_began(self, party: PartySpec) -> None:
        """All programs of a party have been started."""
        _tell("party began", **of_party(party))

    def party_ended(self, party: PartySpec, result: ExitResult, *, began_at: float | None, ended_at: float) -> None:
        """Nothing of a party runs any more; `began_at` is None where it was not started."""
        seconds = None if began_at is None else _rounded(ended_at - began_at)
        _tell(
            "party did not begin" if began_at is None else "party ended",
            **of_party(party),
            state=result.state,
            exit_code=result.exit_code,
            seconds=seconds,
            reason=result.message,
        )
        if self._spans:
            began_at = ended_at if began_at is None else began_at
            self._spans.party_ended(party, result, began_at=began_at, ended_at=ended_at)

    # --- the scheduler

    def taken_up(self, jobs: Sequence[Job]) -> None:
        """After a restart of the server: a line for each job of which something runs, and one for all."""
        parties = 0
        for job in jobs:
            active = [task for task in job.status.tasks if task.state in ACTIVE and not planner.is_unplaced(task)]
            if active:
                running = sum(party.state in ACTIVE for task in active for party in task.parties)
                parties += running
                text = f"job taken up: {running} parties of {len(active)} tasks are looked after again"
                _tell(text, job=job.job_id, state=job.status.phase.state)
        if jobs:
            logger.info("taken up: %d unfinished jobs, %d parties that ran", len(jobs), parties)

    def cleared(self, job_id: str) -> None:
        """The programs of a deleted job have ended."""
        _tell("programs of the deleted job are gone", job=job_id)


LOG_ONLY = Story()
"""Where nobody makes spans."""


def of_party(party: PartySpec) -> dict[str, Any]:
    """The fields of every line about a party."""
    key = party.key
    return {
        "job": party.spec.job_id,
        "task": party.task_id,
        "party": str(key),
        "attempt": key.attempt,
        "domain": party.party.domain_id,
    }


_BLANK = vars(logging.LogRecord(logger.name, logging.INFO, "", 0, "", (), None))


def _tell(text: str, *, reason: str = "", **fields: Any) -> None:
    if logger.isEnabledFor(logging.INFO):
        # A job has dozens of these lines. Half of what one costs is to find out where in the program it is written.
        record = logging.LogRecord.__new__(logging.LogRecord)
        vars(record).update(_BLANK, msg=text, created=time.time(), **fields)
        if reason:
            vars(record)["reason"] = cut(reason, MAX_REASON_CHARACTERS)
        logger.handle(record)


def _rounded(seconds: float) -> float:
    # A clock may have been set back meanwhile.
    return round(max(seconds, 0.0), 3)


def _last_end(status: JobStatus) -> float:
    """When the last of its tasks ended, for a job that has no end of its own."""
    return max((task.phase.ended_at or 0.0 for task in status.tasks), default=0.0)
