"""The use cases of the job API, the same for every transport. Commands record intent; the scheduler acts on it."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from msgspec import Struct

from kusciajob.contracts import Clock, EventHub, Form, ImageSource, JobStore, Published, WatchStream
from kusciajob.model import transitions
from kusciajob.model.errors import InvalidJob, JobDamaged, JobExists, JobNotFound, NotAllowed, StaleJob, TooManyJobs
from kusciajob.model.job import JobSpec, task_ids
from kusciajob.model.status import Approval, Job, JobSummary
from kusciajob.model.text import shown
from kusciajob.model.transitions import Operation

TASK_ID_SUFFIX_BYTES = 6


class Caller(Struct, frozen=True):
    """Who calls: a domain, or the master, who may do everything."""

    domain: str = ""

    @property
    def name(self) -> str:
        """As it appears in texts."""
        return self.domain or "master"

    def may_see(self, job: JobSummary) -> bool:
        """Whether the caller is the master, the job's initiator or one of its parties."""
        return not self.domain or job.is_visible_to(self.domain)

    def require(self, job: JobSummary) -> None:
        """NotAllowed unless the caller may see and act on the job."""
        if not self.may_see(job):
            self.refuse(f'act on job "{job.job_id}": it is neither its initiator nor a party')

    def refuse(self, deed: str) -> NoReturn:
        """Raise NotAllowed."""
        raise NotAllowed(f'domain "{self.domain}" may not {deed}')


MASTER = Caller()


class JobService:
    """Create, query, command, delete and watch jobs on behalf of a caller. Errors are the model's."""

    def __init__(
        self,
        *,
        store: JobStore,
        hub: EventHub,
        images: ImageSource,
        clock: Clock,
        requires_approval: bool = False,
        max_jobs: int = 0,
    ) -> None:
        self._store = store
        self._hub = hub
        self._images = images
        self._clock = clock
        self._requires_approval = requires_approval
        self._max_jobs = max_jobs
        self._creating = 0

    async def create(self, spec: JobSpec, caller: Caller) -> str:
        """Store a new job and return its id. An identical one that exists already is success, another JobExists."""
        for task in spec.tasks:
            self._images.get(task.app_image)
        awaited = spec.domains if self._requires_approval else ()
        job = transitions.create(
            spec,
            task_ids=task_ids(spec, _suffixes(len(spec.tasks))),
            now=self._clock.now(),
            awaited=tuple(domain for domain in awaited if domain != spec.initiator),
        )
        caller.require(job.summary)
        try:
            await self._store_new(job)
        except (JobExists, TooManyJobs) as refusal:
            await self._accept_identical(spec, caller, refusal)
        return spec.job_id

    async def query(self, job_id: str, caller: Caller) -> Job:
        """The whole job."""
        _require_id(job_id)
        job = await self._get(job_id, caller)
        caller.require(job.summary)
        return job

    async def summaries(self, job_ids: Sequence[str], caller: Caller) -> list[JobSummary]:
        """The jobs asked for, in that order; JobNotFound names every unknown one."""
        if not job_ids:
            raise InvalidJob("job_ids is empty: at least one job id is required")
        for index, job_id in enumerate(job_ids):
            if not job_id:
                raise InvalidJob(f"job_ids[{index}] is empty: it must name a job")
        try:
            jobs = await self._store.summaries(job_ids)
        except JobDamaged as error:
            for job in error.jobs:
                caller.require(job)
            raise
        for job in jobs:
            caller.require(job)
        return jobs

    async def command(self, operation: Operation, job_id: str, reason: str, caller: Caller) -> None:
        """Stop, cancel, suspend or restart a job. InvalidTransition where its state forbids it."""
        await self._change(
            job_id,
            caller,
            lambda job: transitions.request(job, operation, by=caller.name, reason=reason, now=self._clock.now()),
        )

    async def approve(self, job_id: str, *, accepted: bool, reason: str, caller: Caller) -> None:
        """A domain's answer to a job that awaits approval; the master answers for every domain that has not."""

        def answer(job: Job) -> Job:
            given = {approval.domain_id for approval in job.status.approvals}
            domains = [caller.domain] if caller.domain else [d for d in job.status.awaited if d not in given]
            answers = [Approval(domain, accepted, reason) for domain in domains]
            return transitions.approve(job, answers, now=self._clock.now())

        await self._change(job_id, caller, answer)

    async def delete(self, job_id: str, caller: Caller) -> None:
        """Remove the job, also a damaged one. Its programs are stopped by the scheduler; its id is free at once."""
        while True:
            job: Job | JobSummary
            try:
                job = await self.query(job_id, caller)
            except JobDamaged as error:
                (job,) = error.jobs
            try:
                await self._store.delete(job)
            except StaleJob:
                continue
            return

    @asynccontextmanager
    async def watch(self, caller: Caller, *, form: Form | None = None) -> AsyncIterator[WatchStream]:
        """Every existing job as ADDED, then what happens to the jobs that the caller may see. `form`: see EventHub."""
        async with self._hub.subscribe(form=form) as stream:
            yield _VisibleStream(stream, caller) if caller.domain else stream

    async def _change(self, job_id: str, caller: Caller, change: Callable[[Job], Job]) -> None:
        while True:
            job = await self.query(job_id, caller)
            changed = change(job)
            if changed is job:
                return
            try:
                await self._store.replace(changed)
            except StaleJob:
                continue  # the scheduler was faster; what it changed may matter
            return

    async def _get(self, job_id: str, caller: Caller) -> Job:
        """JobNotFound, JobDamaged; of the latter only who may see the job is told. NotAllowed."""
        try:
            return await self._store.get(job_id)
        except JobDamaged as error:
            for job in error.jobs:
                caller.require(job)
            raise

    async def _store_new(self, job: Job) -> None:
        """JobExists, TooManyJobs."""
        stored = await self._store.size() if self._max_jobs else 0
        if self._max_jobs and stored + self._creating >= self._max_jobs:
            raise TooManyJobs(
                f"{stored} jobs are stored, and no more than {self._max_jobs} may be (setting max_jobs): "
                "delete finished ones first"
            )
        self._creating += 1
        try:
            await self._store.create(job)
        finally:
            self._creating -= 1

    async def _accept_identical(self, spec: JobSpec, caller: Caller, refusal: JobExists | TooManyJobs) -> None:
        try:
            existing = await self._get(spec.job_id, caller)
        except JobNotFound:
            if isinstance(refusal, TooManyJobs):
                raise refusal from None
            # A task id is taken, or the job was deleted just now. Whose the task is, only the master may learn.
            given = ", ".join(shown(task.task_id) for task in spec.tasks if task.task_id)
            if caller.domain and given:
                raise JobExists(f"one of the task ids {given} is taken: choose others, or leave them empty") from None
            raise refusal from None
        caller.require(existing.summary)
        if existing.spec != spec:
            raise JobExists(
                f"job {shown(spec.job_id)} already exists with another specification: "
                "delete it first or choose another job_id"
            )


class _VisibleStream:
    """Leaves out the jobs that a domain may not see."""

    def __init__(self, stream: WatchStream, caller: Caller) -> None:
        self._stream = stream
        self._caller = caller

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """See WatchStream. What the domain may not see does not show, not even by an early return."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            batch = await self._stream.read(timeout)
            visible = [published for published in batch if self._caller.may_see(published.event.job)]
            if visible or not batch:
                return visible
            if deadline is not None:
                timeout = deadline - time.monotonic()
                if timeout <= 0:
                    return []


def _require_id(job_id: str) -> None:
    if not job_id:
        raise InvalidJob("job_id is required: it must name a job")


def _suffixes(count: int) -> list[str]:
    digits, each = secrets.token_hex(TASK_ID_SUFFIX_BYTES * count), 2 * TASK_ID_SUFFIX_BYTES
    return [digits[start : start + each] for start in range(0, len(digits), each)]
