"""The use cases of the job API, the same for every transport. Commands record intent; the scheduler acts on it."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from kusciajob.contracts import Clock, EventHub, ImageSource, JobStore, Published, WatchStream
from kusciajob.model import history, limits, transitions
from kusciajob.model.appimage import AppImage
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import (
    InvalidJob,
    JobExists,
    JobNotFound,
    NotAllowed,
    Problem,
    StaleJob,
    TaskExists,
    TaskNotFound,
    TooManyJobs,
    UnknownAppImage,
)
from kusciajob.model.history import Asker, AuditEntry, Notes
from kusciajob.model.job import JobSpec, task_ids
from kusciajob.model.limits import LimitedJob
from kusciajob.model.moves import Operation
from kusciajob.model.rules import MAX_NAME_CHARACTERS, MAX_TASKS
from kusciajob.model.status import MAX_REASON_CHARACTERS, Job, JobSummary
from kusciajob.model.text import cut, listed, shown
from kusciajob.telemetry import request
from kusciajob.telemetry.story import LOG_ONLY, Story
from kusciajob.usecases.callers import Caller

TASK_ID_SUFFIX_BYTES = 6
CREATE_TRIES = 100
"""How often a job is created again whose id others take and free meanwhile."""

FoundImage: TypeAlias = AppImage | UnknownAppImage | None
"""What a name of an AppImage has led to; None where the runtime needs none."""


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
        max_jobs_per_domain: int = 0,
        check: Callable[[JobSpec], None] = lambda _: None,
        story: Story = LOG_ONLY,
        renew_images: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`check` raises InvalidJob for what the runtime will never run.

        `renew_images` takes in AppImages that other servers have made.
        """
        self._renew_images = renew_images
        self._store = store
        self._hub = hub
        self._images = images
        self.clock = clock
        self._check = check
        self._story = story
        self._requires_approval = requires_approval
        self._max_jobs = max_jobs
        self._max_jobs_per_domain = max_jobs_per_domain
        self._creating: Counter[str] = Counter()
        """By initiator."""
        self._creation_ended = asyncio.Event()

    async def create(self, spec: JobSpec, caller: Caller, *, method: str = "CreateJob") -> str:
        """Store a new job and return its id. An identical one that exists already is success, another JobExists.

        `method` is the RPC that wants it, for the audit.
        Raises UnknownAppImage, TaskExists, TooManyJobs; NotAllowed if a domain is not the job's initiator.
        """
        caller.require_initiator(spec.initiator)
        self._check(spec)
        images = await self._images_of(spec)
        limits.check_status_size(spec, [image.most_endpoints if image else 0 for image in images])
        awaited = spec.domains if self._requires_approval else ()
        job = transitions.create(
            spec,
            task_ids=task_ids(spec, task_id_suffixes(len(spec.tasks))),
            now=self.clock.now(),
            awaited=tuple(domain for domain in awaited if domain != spec.initiator),
            traceparent=self._story.trace_of_call,
        )
        entry = self._audit(method, spec.job_id, caller)
        for _ in range(CREATE_TRIES):
            try:
                await self._store_new(job, Notes(history.created(job.status, _asker(caller)), audit=entry))
            except asyncio.CancelledError:
                self._story.left(spec.job_id, caller.name)
                raise
            except TaskExists:
                # Only the master may learn to which job the task belongs.
                given = listed([shown(task.task_id) for task in spec.tasks if task.task_id])
                if caller.domain and given:
                    raise TaskExists(
                        f"one of the task ids {given} is taken: choose others, or leave them empty"
                    ) from None
                raise
            except (JobExists, TooManyJobs) as refusal:
                if await self._is_stored(spec.job_id, spec, caller):
                    await self._store.note(entry)
                    return spec.job_id
                # The job of that id has been deleted since. Then the limit may allow another one.
                if isinstance(refusal, TooManyJobs):
                    await self._stored(spec.initiator)
            else:
                self._story.created(job, caller.name)
                return spec.job_id
        raise JobExists(f"job {shown(spec.job_id)} is created and deleted by others again and again: try later")

    async def _images_of(self, spec: JobSpec) -> list[AppImage | None]:
        try:
            return [self._images.get(task.app_image) for task in spec.tasks]
        except UnknownAppImage:
            if self._renew_images is None:
                raise
            await self._renew_images()
            return [self._images.get(task.app_image) for task in spec.tasks]

    async def objections(
        self, job: LimitedJob, spec: JobSpec | None, images: Mapping[str, FoundImage], caller: Caller
    ) -> list[Problem]:
        """Why `create` would refuse a job at present, beyond its rules; `spec` is None where it breaks these."""
        found: list[Problem] = []
        try:
            caller.require_initiator(job.initiator)
        except NotAllowed as error:
            found.append(Problem("initiator", str(error)))
        for index, task in enumerate(job.tasks[:MAX_TASKS]):
            if isinstance(unknown := images.get(task.app_image), UnknownAppImage):
                found.append(Problem(f"tasks[{index}].app_image", str(unknown)))
        if spec is not None:
            try:
                self._check(spec)
            except InvalidJob as error:
                found += error.problems
            known = [images[task.app_image] for task in spec.tasks]
            try:
                limits.check_status_size(
                    spec, [each.most_endpoints if isinstance(each, AppImage) else 0 for each in known]
                )
            except InvalidJob as error:
                found.append(Problem("tasks", str(error)))
        return found + await self._conflicts(job, spec, caller)

    async def _conflicts(self, job: LimitedJob, spec: JobSpec | None, caller: Caller) -> list[Problem]:
        """What is stored already and prevents a job."""
        found: list[Problem] = []
        if len(job.job_id) <= MAX_NAME_CHARACTERS:
            try:
                if await self._is_stored(job.job_id, spec, caller):
                    return []
            except (JobExists, NotAllowed, JobDamaged) as error:
                found.append(Problem("job_id", str(error)))
        for index, task in enumerate(job.tasks[:MAX_TASKS]):
            if 0 < len(task.task_id) <= MAX_NAME_CHARACTERS:
                with suppress(TaskNotFound):
                    await self._store.job_of_task(task.task_id)
                    text = f"task_id {shown(task.task_id)} is taken: choose another, or leave it empty"
                    found.append(Problem(f"tasks[{index}].task_id", text))
        try:
            await self._stored(job.initiator)
        except TooManyJobs as error:
            found.append(Problem("", str(error)))
        return found

    async def query(self, job_id: str, caller: Caller) -> Job:
        """The whole job. Raises JobNotFound; to a domain NotAllowed, for unknown jobs as for jobs of others."""
        _require_id(job_id)
        try:
            return await self._find(job_id, caller)
        except JobNotFound as unknown:
            raise caller.explain(unknown) from None

    async def summaries(self, job_ids: Sequence[str], caller: Caller) -> list[JobSummary]:
        """The jobs asked for, in that order; JobNotFound, for a domain NotAllowed, names all that cannot be told.

        JobDamaged: all can be told, but some cannot be read.
        """
        if not job_ids:
            raise InvalidJob("job_ids is empty: at least one job id is required")
        for index, job_id in enumerate(job_ids):
            if not job_id:
                raise InvalidJob(f"job_ids[{index}] is empty: it must name a job")
        damaged: list[JobSummary] = []
        try:
            jobs = await self._store.summaries(job_ids)
        except (JobNotFound, JobDamaged):
            if not caller.domain:
                raise
            # Jobs of others among the rest, and damaged ones, are to be named with them.
            jobs, damaged = await self._known(job_ids)
        seen = {job.job_id for job in (*jobs, *damaged) if caller.may_see(job)}
        hidden = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in seen]
        if hidden:
            raise caller.explain(JobNotFound(*hidden))
        if damaged:
            raise JobDamaged(*damaged)
        return jobs

    async def command(self, operation: Operation, job_id: str, reason: str, caller: Caller) -> None:
        """Stop, cancel, suspend or restart a job. Raises InvalidTransition if its state forbids it."""

        def ask(job: Job) -> Job:
            return transitions.request(job, operation, by=caller.name, reason=reason, now=self.clock.now())

        entry = self._audit(f"{operation}Job", job_id, caller, reason)
        await self._change(entry, caller, ask, lambda job: self._story.asked(job, operation, caller.name, reason))

    async def approve(self, job_id: str, *, accepted: bool, reason: str, caller: Caller) -> None:
        """Accept or reject a job for a domain. The master answers for every domain that has not answered."""

        def answer(job: Job) -> Job:
            given = {approval.domain_id for approval in job.status.approvals}
            domains = [caller.domain] if caller.domain else [d for d in job.status.awaited if d not in given]
            return transitions.approve(job, domains, accepted=accepted, reason=reason, now=self.clock.now())

        def tell(job: Job) -> None:
            self._story.answered(job, caller.name, reason, accepted=accepted)

        await self._change(self._audit("ApproveJob", job_id, caller, reason), caller, answer, tell)

    async def delete(self, job_id: str, caller: Caller, *, reason: str = "") -> None:
        """Remove the job, also a damaged one. Its programs are stopped by the scheduler; its id is free at once."""
        while True:
            job: Job | JobSummary
            try:
                job = await self.query(job_id, caller)
            except JobDamaged as error:
                (job,) = error.jobs
            try:
                await self._store.delete(job, notes=Notes(audit=self._audit("DeleteJob", job_id, caller, reason)))
            except asyncio.CancelledError:
                self._story.left(job_id, caller.name)
                raise
            except StaleJob:
                continue
            except JobNotFound as unknown:
                raise caller.explain(unknown) from None
            self._story.deleted(job, caller.name, now=self.clock.now())
            return

    @asynccontextmanager
    async def watch(self, caller: Caller) -> AsyncIterator[WatchStream]:
        """Every existing job as ADDED, then what happens to the jobs that the caller may see."""
        async with self._hub.subscribe() as stream:
            yield _VisibleStream(stream, caller, self.clock.monotonic) if caller.domain else stream

    async def _change(
        self, entry: AuditEntry, caller: Caller, change: Callable[[Job], Job], tell: Callable[[Job], None]
    ) -> None:
        """Commit a change to the entry's job and log it; only the entry if the change has no effect."""
        job_id = entry.subject
        while True:
            job = await self.query(job_id, caller)
            changed = change(job)
            if changed is job:
                await self._store.note(entry)
                return
            ended = history.attempts(job.status, changed.status, now=entry.at)
            told = history.entries(job.status, changed.status, ended, now=entry.at, asker=_asker(caller))
            try:
                committed = await self._store.replace(changed, notes=Notes(told, ended, entry))
            except asyncio.CancelledError:
                self._story.left(job_id, caller.name)
                raise
            except StaleJob:
                continue  # the scheduler was faster; decide anew on what it changed
            except JobNotFound as unknown:
                raise caller.explain(unknown) from None
            tell(committed)
            self._story.changed(job.status, committed)
            return

    def _audit(self, method: str, job_id: str, caller: Caller, reason: str = "") -> AuditEntry:
        """The entry of a call that is accepted."""
        reason = cut(reason, MAX_REASON_CHARACTERS)
        return AuditEntry(self.clock.now(), caller.name, request.present().peer, method, job_id, reason=reason)

    async def _find(self, job_id: str, caller: Caller) -> Job:
        """The job. Raises JobNotFound, NotAllowed; JobDamaged only to those who may see the job."""
        try:
            if caller.domain:
                # Before the specification is read: the time for a large one would show a stranger that the job exists.
                (summary,) = await self._store.summaries([job_id])
                caller.require(summary)
            job = await self._store.get(job_id)
        except JobDamaged as error:
            for damaged in error.jobs:
                caller.require(damaged)
            raise
        caller.require(job.summary)
        return job

    async def _known(self, job_ids: Sequence[str]) -> tuple[list[JobSummary], list[JobSummary]]:
        """The jobs that can be read, and the damaged ones."""
        damaged: list[JobSummary] = []
        while True:
            try:
                return await self._store.summaries(job_ids), damaged
            except JobNotFound as unknown:  # deleted meanwhile, maybe
                left_out = set(unknown.job_ids)
            except JobDamaged as error:
                damaged += error.jobs
                left_out = {job.job_id for job in error.jobs}
            job_ids = [job_id for job_id in job_ids if job_id not in left_out]

    async def _store_new(self, job: Job, notes: Notes) -> None:
        """Store a new job. Raises JobExists, TaskExists, TooManyJobs."""
        initiator = job.spec.initiator
        if self._max_jobs or self._max_jobs_per_domain:
            await self._wait_for_room(initiator)
        self._creating[initiator] += 1
        try:
            await self._store.create(job, notes=notes)
        finally:
            self._creating[initiator] -= 1
            if not self._creating[initiator]:
                del self._creating[initiator]
            self._creation_ended.set()
            self._creation_ended.clear()

    async def _wait_for_room(self, initiator: str) -> None:
        """Return once one more job can be stored, even if all that are being created succeed. Raises TooManyJobs."""
        while True:
            creating, own = self._creating.total(), self._creating[initiator]
            stored, initiated = await self._stored(initiator)
            stored += max(creating, self._creating.total())
            initiated += max(own, self._creating[initiator])
            if (not self._max_jobs or stored < self._max_jobs) and (
                not self._max_jobs_per_domain or initiated < self._max_jobs_per_domain
            ):
                return
            if self._creating:  # they may be refused yet, and leave their places
                await self._creation_ended.wait()

    async def _stored(self, initiator: str) -> tuple[int, int]:
        """The number of jobs, in all and of one initiator. Raises TooManyJobs if no more may be stored."""
        stored, initiated = await self._store.size(), await self._store.initiated_by(initiator)
        if 0 < self._max_jobs <= stored:
            raise TooManyJobs(
                f"{stored} jobs are stored, and no more than {self._max_jobs} may be (setting max_jobs): "
                "delete finished ones first"
            )
        if 0 < self._max_jobs_per_domain <= initiated:
            raise TooManyJobs(
                f"{initiated} jobs of initiator {shown(initiator)} are stored, and no more than "
                f"{self._max_jobs_per_domain} may be (setting max_jobs_per_domain): delete finished ones first"
            )
        return stored, initiated

    async def _is_stored(self, job_id: str, spec: JobSpec | None, caller: Caller) -> bool:
        """Whether this very job exists. Raises JobExists if it differs, NotAllowed if it belongs to other domains."""
        try:
            existing = await self._find(job_id, caller)
        except JobNotFound:
            return False
        except NotAllowed:
            caller.refuse(f"use job_id {shown(job_id)}: it is taken, choose another")
        if existing.spec != spec:
            raise JobExists(
                f"job {shown(job_id)} already exists with another specification: "
                "delete it first or choose another job_id"
            )
        return True


class _VisibleStream:
    """Leaves out the jobs that a domain may not see, and details of others' parties."""

    def __init__(self, stream: WatchStream, caller: Caller, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._stream = stream
        self._caller = caller

    @property
    def position(self) -> int | None:
        """See WatchStream."""
        return self._stream.position

    async def read(self, timeout: float | None = None) -> Sequence[Published]:
        """See WatchStream. Nothing shows what the domain may not see, not even an early return."""
        deadline = None if timeout is None else self._monotonic() + timeout
        while True:
            batch = await self._stream.read(timeout)
            domain = self._caller.domain
            visible = [published.seen_by(domain) for published in batch if self._caller.may_see(published.event.job)]
            if visible or not batch:
                return visible
            if deadline is not None:
                timeout = deadline - self._monotonic()
                if timeout <= 0:
                    return []


def _asker(caller: Caller) -> Asker:
    return Asker(caller.name, request.present().peer)


def _require_id(job_id: str) -> None:
    if not job_id:
        raise InvalidJob("job_id is required: it must name a job")


def task_id_suffixes(count: int) -> list[str]:
    """Random ends for the ids of so many tasks."""
    digits, each = secrets.token_hex(TASK_ID_SUFFIX_BYTES * count), 2 * TASK_ID_SUFFIX_BYTES
    return [digits[start : start + each] for start in range(0, len(digits), each)]
