"""Watches the log, as any watcher does, and gives each job that runs or can run a worker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from kusciajob.clock import pause
from kusciajob.contracts import (
    Clock,
    EventHub,
    HubClosed,
    ImageSource,
    JobStore,
    PartyKey,
    Runtime,
    WatchStream,
)
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobNotFound, StoreFailed
from kusciajob.model.status import EventType, Job, JobEvent
from kusciajob.scheduler.departures import Departures
from kusciajob.scheduler.recovery import NOTHING_FOUND, Stray, attach, look_around, stray_of
from kusciajob.scheduler.slots import NO_LIMITS, SlotLimits
from kusciajob.scheduler.supervisor import until_done
from kusciajob.scheduler.waiting_room import WaitingRoom
from kusciajob.scheduler.worker import STORE_RETRY_SECONDS, JobWorker, Tools
from kusciajob.telemetry.story import LOG_ONLY, Story

logger = logging.getLogger(__name__)


class Scheduler:
    """Runs the jobs of one store on one runtime.

    `open` reads the store. `run` first recovers: it attaches to what the store says is running, and removes what the
    runtime has of deleted jobs. Then it schedules until it is cancelled, which leaves all programs running. An
    unexpected error ends it. If the runtime fails, it is asked again until it does not.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        hub: EventHub,
        runtime: Runtime,
        images: ImageSource,
        clock: Clock,
        upkeep: Clock | None = None,
        limits: SlotLimits = NO_LIMITS,
        story: Story = LOG_ONLY,
        renew_images: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`upkeep`: the clock of what is looked at again and again.

        `renew_images` takes in AppImages that other servers have made. StoreFailed.
        """
        self._store = store
        self._hub = hub
        self._runtime = runtime
        self._clock = clock
        self._story = story
        self._room = WaitingRoom(limits, upkeep or clock)
        self._departures = Departures()
        self._tools = Tools(
            store=store,
            runtime=runtime,
            images=images,
            clock=clock,
            room=self._room,
            departures=self._departures,
            story=story,
            renew_images=renew_images,
        )
        self._workers: dict[int, JobWorker] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._removals: dict[int, asyncio.Task[None]] = {}
        self._found = NOTHING_FOUND
        self.recovered = asyncio.Event()
        """Set once everything that ran is attached to; nothing new is started before."""

    @property
    def jobs(self) -> int:
        """How many jobs have a worker."""
        return len(self._workers)

    @property
    def parties(self) -> int:
        """How many parties have a slot."""
        return self._room.taken

    @property
    def parties_by_domain(self) -> dict[str, int]:
        """How many slots each domain has, where these are limited."""
        return self._room.taken_by_domains

    @property
    def waiting_for_room(self) -> int:
        """How many jobs wait for a slot or port."""
        return self._room.occupants

    async def open(self) -> None:
        """Read the store, before anybody changes it."""
        await self._runtime.open()
        self._found = await look_around(self._store, self._runtime)
        self._room.recover(self._found.unfinished)

    async def run(self) -> None:
        """Schedule until cancelled, or until the hub closes."""
        async with self._hub.subscribe(after=self._found.revision) as stream, asyncio.TaskGroup() as group:
            await self._recover(group)
            self.recovered.set()
            try:
                await self._follow(group, stream)
            except HubClosed:
                for task in (*self._tasks.values(), *self._removals.values()):
                    task.cancel()

    def report_progress(self, key: PartyKey, progress: float) -> bool:
        """Note the progress of a running task, 0 to 1; ignored if the task is not running.

        False if the party's run is over, because its task has begun another attempt.
        """
        worker = self._workers.get(key.job)
        return worker is None or worker.report_progress(key, progress)

    def report_waiting(self, key: PartyKey, text: str) -> None:
        """Note why a party has not started yet; ignored once it has."""
        if (worker := self._workers.get(key.job)) is not None:
            worker.report_waiting(key, text)

    async def _recover(self, group: asyncio.TaskGroup) -> None:
        found, self._found = self._found, NOTHING_FOUND
        await attach(found.unfinished, self._runtime, clock=self._clock)
        for stray in found.strays:
            logger.warning("removing what is left of the deleted job %s", stray.holder, extra={"job": stray.holder})
            self._remove(group, stray)
        self._story.taken_up(found.unfinished)
        for job in found.unfinished:
            if job.status.is_scheduled:
                self._start_worker(group, job)

    async def _follow(self, group: asyncio.TaskGroup, stream: WatchStream) -> None:
        while True:
            for published in await stream.read():
                await self._observe(group, published.event)

    async def _observe(self, group: asyncio.TaskGroup, event: JobEvent) -> None:
        number = event.job.number
        if event.type is EventType.DELETED:
            self._remove(group, stray_of(event))
        elif event.job.status.is_damaged:
            await self._take_up(group, event)  # only this event is damaged: the job may be sound
        elif number in self._workers:
            self._workers[number].observe(event)
        elif event.job.status.is_scheduled:
            await self._take_up(group, event)

    async def _take_up(self, group: asyncio.TaskGroup, event: JobEvent) -> None:
        while True:
            try:
                job = await self._store.get(event.job.job_id)
            except (JobNotFound, JobDamaged):
                return  # deleted since, and its DELETED follows; or nothing can be done for it
            except StoreFailed as error:
                logger.error("the store failed, trying again: %s", error, extra={"job": event.job.job_id})
                await pause(STORE_RETRY_SECONDS, clock=self._clock)
            else:
                break
        if job.number != event.job.number:
            return
        if job.number in self._workers:
            self._workers[job.number].observe(JobEvent(job.revision, EventType.MODIFIED, job.summary))
        elif job.status.is_scheduled:
            self._start_worker(group, job)

    def _start_worker(self, group: asyncio.TaskGroup, job: Job) -> None:
        worker = self._workers[job.number] = JobWorker(job, self._tools)
        self._tasks[job.number] = group.create_task(self._work(worker, job.number), name=f"job {job.job_id}")

    async def _work(self, worker: JobWorker, number: int) -> None:
        try:
            await worker.run()
        finally:
            # At once after the worker found the job finished: a restart that is seen later gets a new worker.
            self._workers.pop(number, None)
            self._tasks.pop(number, None)

    def _remove(self, group: asyncio.TaskGroup, stray: Stray) -> None:
        """Stop and remove all that a deleted job has. From now on tasks that took over its task ids wait."""
        if stray.number in self._removals:
            return  # it was found as a stray, and was deleted on another server just before that
        self._departures.begin(stray.number, stray.holder, stray.task_ids)
        self._removals[stray.number] = group.create_task(self._clear_away(stray), name=f"remove job {stray.number}")

    async def _clear_away(self, stray: Stray) -> None:
        number, what = stray.number, f"of the deleted job {stray.holder} (number {stray.number})"
        try:
            self._workers.pop(number, None)
            task = self._tasks.pop(number, None)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])  # it can start nothing more
            until = partial(until_done, clock=self._clock, fields={"job": stray.holder})
            await until(f"ending the programs {what}", partial(self._runtime.stop_job, number))
            if stray.task_ids or stray.task_ids is None:
                self._story.cleared(stray.holder)
            self._departures.end(number)
            self._room.remove(number)
            await until(f"removing the files {what}", partial(self._runtime.remove, number))
        finally:
            del self._removals[number]
