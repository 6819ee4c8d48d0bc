"""Drives one job: folds its parties' reports into it, commits, then acts. The only writer of its task states."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import (
    Clock,
    ImageSource,
    JobStore,
    NoCapacity,
    PartyKey,
    PartySpec,
    Runtime,
    StartFailed,
)
from kusciajob.model import planner, transitions
from kusciajob.model.appimage import AppImage
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, StaleJob, StoreFailed, UnknownAppImage
from kusciajob.model.moves import PartyEvent
from kusciajob.model.status import ACTIVE, Endpoint, Job, JobEvent, JobStatus, TaskState, TaskStatus
from kusciajob.model.transitions import PartyMove
from kusciajob.scheduler.departures import Departures
from kusciajob.scheduler.step import Step
from kusciajob.scheduler.supervisor import PartyReport, PartySupervisor, stop_party
from kusciajob.scheduler.waiting_room import WaitingRoom
from kusciajob.telemetry.story import LOG_ONLY, Story

logger = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 1.0
PARTNERS_SECONDS = 0.005
"""How long it may be kept back that a party has started, while others of its task have not."""
NEWS_SECONDS = 1.0
"""The shortest time between two commits of what parties tell on their way."""


class Tools(Struct, frozen=True):
    """What every worker works with."""

    store: JobStore
    runtime: Runtime
    images: ImageSource
    clock: Clock
    room: WaitingRoom
    departures: Departures
    story: Story = LOG_ONLY
    renew_images: Callable[[], Awaitable[None]] | None = None
    """Takes in AppImages that other servers have made. Raises StoreFailed."""


class _News(Struct):
    """Reports of parties that wait for a commit: progress, and why a party has not started."""

    progress: dict[PartyKey, float] = {}
    waiting: dict[PartyKey, str] = {}

    def __bool__(self) -> bool:
        return bool(self.progress or self.waiting)


class JobWorker:
    """Drives one job until it is finished; `run` returns then."""

    def __init__(self, job: Job, tools: Tools) -> None:
        self._job = job
        self._tools = tools
        self._inbox: list[PartyReport] = []
        self._news = _News()
        self._early: dict[PartyKey, float] = {}
        """Progress of tasks that do not run yet."""
        self._supervisors: dict[PartyKey, PartySupervisor] = {}
        self._wake = asyncio.Event()
        self._wake.set()
        self._timer: asyncio.TimerHandle | None = None
        self._news_hold: asyncio.TimerHandle | None = None
        self._partners_hold: asyncio.TimerHandle | None = None
        self._fault = ""
        self._told_waits: set[tuple[int, int, str]] = set()
        """Task, attempt and reason."""

    def observe(self, event: JobEvent) -> None:
        """Note a change in the log; it may be our own."""
        if event.job.revision > self._job.revision:
            self._job = replace(self._job, status=event.job.status, revision=event.job.revision)
            self._wake.set()

    def report_progress(self, key: PartyKey, progress: float) -> bool:
        """Note the progress of a party's task, 0 to 1. False if the task has begun another attempt."""
        if key.attempt != self._job.status.tasks[key.task].attempt:
            return False
        # In this form, the comparison also ignores a NaN.
        self._news.progress[key] = max(self._news.progress.get(key, 0.0), progress)
        if self._news_hold is None:
            self._wake.set()
        return True

    def report_waiting(self, key: PartyKey, text: str) -> None:
        """Note why a party has not started yet; ignored once it has, or once its task has begun another attempt."""
        self._news.waiting[key] = text
        if self._news_hold is None:
            self._wake.set()

    async def run(self) -> None:
        """Return once the job is finished and nothing of it runs, or once it is deleted.

        Between the last look at a finished job and the return nothing else runs on the event loop.
        """
        self._resume()
        try:
            while self._has_more():
                await self._wake.wait()
                self._wake.clear()
                await self._advance()
            self._tools.room.remove(self._job.number)
        except JobNotFound:
            text = "the job is deleted; what is left is removed by whoever sees the DELETED"
            logger.debug(text, extra={"job": self._job.job_id})
        except JobDamaged as error:
            logger.error("what runs of it is left running: %s", error, extra={"job": self._job.job_id})
        finally:
            self._tools.room.leave(self._job.number)
            self._tools.departures.leave(self._job.number)
            for timer in (self._timer, self._news_hold, self._partners_hold):
                if timer is not None:
                    timer.cancel()
            if self._supervisors:
                await asyncio.gather(*(supervisor.cancel() for supervisor in self._supervisors.values()))

    def _has_more(self) -> bool:
        return self._job.status.is_scheduled or bool(self._supervisors)

    def _resume(self) -> None:
        """After a restart of the server: supervise the parties that the store says are started."""
        for party, began_at in active_parties(self._job, self._image):
            self._supervise(party, began_at=began_at)

    async def _advance(self) -> None:
        """One change: fold, plan, commit, act."""
        before, seen, news = self._job, len(self._inbox), self._take_news()
        if self._partners_hold is not None:
            self._partners_hold.cancel()
            self._partners_hold = None
        step = await self._prepare(before, news)
        if step.job.status != before.status:
            try:
                fault = step.fault
                committed = await self._tools.store.replace(
                    step.job, passed=step.passed, fault=fault, notes=step.notes(fault)
                )
            except (StaleJob, StoreFailed) as error:
                await self._give_back(step)
                self._news = _News({**news.progress, **self._news.progress}, {**news.waiting, **self._news.waiting})
                await self._retry(before, error)
                return
            self._fault = ""
            if committed.revision > self._job.revision:
                self._job = committed
            told = before.status
            for status in (*step.passed, committed.status):
                self._tell(told, replace(committed, status=status))
                told = status
        self._inbox = [*step.kept, *self._inbox[seen:]]
        if self._inbox:
            self._wake.set()
        self._act(step)

    def _tell(self, before: JobStatus, job: Job) -> None:
        """Tell what a change means, and why tasks wait, each reason once."""
        self._tools.story.changed(before, job)
        for index, (old, task) in enumerate(zip(before.tasks, job.status.tasks, strict=True)):
            if task is not old and task.message and planner.is_unplaced(task):
                reason = index, task.attempt, task.message
                if reason not in self._told_waits and task.message != old.message:
                    self._told_waits.add(reason)
                    self._tools.story.waits(job, index)

    async def _retry(self, before: Job, error: StaleJob | StoreFailed) -> None:
        try:
            if isinstance(error, StoreFailed):
                raise error
            fresh = await self._tools.store.get(before.job_id)
        except StoreFailed as failure:
            logger.error("the store failed, trying again: %s", failure, extra={"job": before.job_id})
            self._fault = f"the store failed for a while: {failure}"
            self._set_timer(STORE_RETRY_SECONDS)
            return
        if fresh.number != before.number:
            raise JobNotFound(before.job_id)  # deleted, and another job has taken its id
        if fresh.revision > self._job.revision:
            self._job = fresh
        self._wake.set()

    async def _prepare(self, job: Job, news: _News) -> Step:
        now = self._tools.clock.now()
        step = Step(job.status, job, now, job.status, [self._fault] if self._fault else [])
        self._tools.departures.leave(job.number)
        self._fold(step, self._inbox, news)
        if step.kept:
            step.settle()
            if not step.fault:
                step.pass_on()
                self._fold(step, step.kept, _News())
        await self._decide(step)
        return step

    async def _decide(self, step: Step) -> None:
        """What follows from what has happened, until nothing more does."""
        now = step.now
        while True:
            step.settle()
            settled = step.job
            step.plan = planner.plan(settled, now)
            for index in step.plan.expired:
                text = planner.expiry_text(step.job, index)
                step.job = transitions.fail_waiting(step.job, index, text, now=now)
            for index in step.plan.start:
                step.job = transitions.admit(step.job, index, now=now)
            for index, task in enumerate(step.job.status.tasks):
                if index not in step.tried and planner.is_unplaced(task):
                    step.tried.add(index)
                    await self._place(step, index, now)
            if step.job is settled:
                return

    def _fold(self, step: Step, reports: list[PartyReport], news: _News) -> None:
        """Apply the reports. What has ended of a task that becomes Running by them is kept: watchers see it run first.

        Starts go first: the parties of a task start together, and one that ends at once must not hide that all started.
        """
        now = step.now
        starts = [report for report in reports if report.event is PartyEvent.STARTED]
        ends = [report for report in reports if report.event is not PartyEvent.STARTED]
        started = self._move(step, starts, now)
        running = {index for index in started if step.job.status.tasks[index].state is TaskState.RUNNING}
        step.kept = [report for report in ends if report.key.task in running]
        ends = [report for report in ends if report.key.task not in running]
        self._move(step, ends, now)
        step.ended += [report.key for report in ends]
        step.has_failed_parties |= any(report.is_fault for report in ends)
        for key, value in (*self._early.items(), *news.progress.items()):
            task = step.job.status.tasks[key.task]
            if key.attempt != task.attempt:
                continue
            if task.state is TaskState.STARTING:
                self._early[key] = max(self._early.get(key, 0.0), value)
            else:
                step.job = transitions.report_progress(step.job, key.task, value)
        for key, text in news.waiting.items():
            if key.attempt == step.job.status.tasks[key.task].attempt:
                step.job = transitions.explain_start(step.job, key.task, key.party, text)

    def _move(self, step: Step, reports: list[PartyReport], now: float) -> Iterable[int]:
        """Apply the reports, task by task. Return the indexes of the tasks."""
        moves: dict[int, list[PartyMove]] = {}
        for report in reports:
            move = PartyMove(
                report.key.party,
                report.event,
                report.message,
                report.detail,
                report.exit_code,
                report.at,
                report.was_stopped,
            )
            moves.setdefault(report.key.task, []).append(move)
        for index, of_task in moves.items():
            step.job = transitions.move_parties(step.job, index, of_task, now=now)
        return moves.keys()

    async def _place(self, step: Step, index: int, now: float) -> None:
        """Reserve addresses for an admitted task, or say why it waits or fails."""
        if holder := self._tools.departures.holder(step.job.status.tasks[index].task_id):
            self._tools.departures.enter(step.job.number, self._wake.set)
            self._tools.room.give_up(step.job.number, index)
            step.job = transitions.explain(step.job, index, f"waiting for the end of the deleted job {holder}")
            return
        if self._tools.renew_images is not None:
            with suppress(StoreFailed):  # then the commit fails too
                await self._tools.renew_images()
        try:
            image = self._tools.images.get(step.job.spec.tasks[index].app_image)
            endpoints = await self._reserve(step.job, index, image)
        except NoCapacity as wait:
            step.job = transitions.explain(step.job, index, str(wait))
        except (UnknownAppImage, StartFailed) as error:
            step.job = transitions.fail_waiting(step.job, index, str(error), now=now)
            step.faults.append(str(error))
        else:
            step.job = transitions.place(step.job, index, endpoints, now=now)
            step.placed[index] = image

    async def _reserve(self, job: Job, index: int, image: AppImage | None) -> list[tuple[Endpoint, ...]]:
        """Claim a task's slots and ports, then allocate its addresses. Raises NoCapacity, StartFailed."""
        parties = party_specs(job, index, image)
        ports = self._tools.runtime.ports_needed(parties)
        self._tools.room.claim(job, index, ports=ports, wake=self._wake.set)
        try:
            return await self._tools.runtime.allocate(parties)
        except NoCapacity:
            # At once: a slot that gets free during the commit must wake us.
            self._tools.room.put_off(job.number, index)
            raise

    async def _give_back(self, step: Step) -> None:
        """Give back the addresses of placed tasks. Their slots and ports stay claimed for the next try."""
        for index in step.placed:
            for party in party_specs(step.job, index, None):
                await stop_party(party.key, runtime=self._tools.runtime, clock=self._tools.clock)

    def _act(self, step: Step) -> None:
        for key in step.ended:
            self._supervisors.pop(key, None)
        if self._early:
            tasks = step.job.status.tasks
            self._early = {key: value for key, value in self._early.items() if _is_starting(tasks[key.task], key)}
        # Not before the commit of their end: no watcher may see more parties run than there are slots.
        self._tools.room.release(step.ended)
        self._tools.room.keep_active(step.job)
        for index, image in step.placed.items():
            for party in party_specs(step.job, index, image):
                self._supervise(party)
        for stop in step.plan.stop:
            attempt = step.job.status.tasks[stop.task].attempt
            key = PartyKey(step.job.number, stop.task, attempt, stop.party)
            if key in self._supervisors:
                self._supervisors[key].stop(stop.reason)
        if step.plan.wake_at is not None:
            self._set_timer(step.plan.wake_at - self._tools.clock.now())

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._tools.clock.call_later(max(seconds, 0.0), self._wake.set)

    def _image(self, index: int) -> AppImage | None:
        try:
            return self._tools.images.get(self._job.spec.tasks[index].app_image)
        except UnknownAppImage:
            return None  # only a new start would need it, and says so

    def _supervise(self, party: PartySpec, *, began_at: float | None = None) -> None:
        if traceparent := self._tools.story.traceparent(party.key, self._job):
            party = replace(party, traceparent=traceparent)
        self._supervisors[party.key] = PartySupervisor(
            party,
            runtime=self._tools.runtime,
            clock=self._tools.clock,
            report=self._take,
            began_at=began_at,
            story=self._tools.story,
        )

    def _take_news(self) -> _News:
        """Take the reports since the last time; none if that was a moment ago."""
        if self._news_hold is not None or not self._news:
            return _News()
        self._news_hold = self._tools.clock.call_later(NEWS_SECONDS, self._release_news)
        news, self._news = self._news, _News()
        return news

    def _release_news(self) -> None:
        self._news_hold = None
        if self._news:
            self._wake.set()

    def _take(self, report: PartyReport) -> None:
        """Note what happened to a party. A start waits a moment for those of its partners: that saves a commit."""
        self._inbox.append(report)
        if report.event is not PartyEvent.STARTED or self._is_complete(report.key.task):
            self._wake.set()
        elif self._partners_hold is None:
            self._partners_hold = self._tools.clock.call_later(PARTNERS_SECONDS, self._wake.set)

    def _is_complete(self, task: int) -> bool:
        """Whether all parties of a task have started by now."""
        told = {report.key.party for report in self._inbox if report.key.task == task}
        parties = self._job.status.tasks[task].parties
        return all(at in told or party.state is not TaskState.STARTING for at, party in enumerate(parties))


def _is_starting(task: TaskStatus, key: PartyKey) -> bool:
    return task.state is TaskState.STARTING and task.attempt == key.attempt


def party_specs(job: Job, index: int, image: AppImage | None) -> list[PartySpec]:
    """What the runtime needs for each party of a task in its present attempt."""
    task = job.status.tasks[index]
    endpoints = tuple(party.endpoints for party in task.parties)
    return [
        PartySpec(
            key=PartyKey(job.number, index, task.attempt, position),
            task_id=task.task_id,
            spec=job.spec,
            image=image,
            endpoints=endpoints if task.parties[position].state is not TaskState.PENDING else (),
        )
        for position in range(len(task.parties))
    ]


def active_parties(job: Job, image_of: Callable[[int], AppImage | None]) -> Iterator[tuple[PartySpec, float | None]]:
    """The parties that are started or to be started, and since when each runs. `image_of` takes a task's index."""
    for index, task in enumerate(job.status.tasks):
        if task.state not in ACTIVE:
            continue
        for party, status in zip(party_specs(job, index, image_of(index)), task.parties, strict=True):
            if status.state in ACTIVE:
                yield party, (status.started_at or task.since) if status.state is TaskState.RUNNING else None
