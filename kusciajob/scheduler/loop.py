"""Watches the log and gives every job that runs, or is about to, a worker; a watcher like any other."""

import asyncio
import logging
from collections.abc import Sequence

from kusciajob.contracts import Clock, EventHub, HubClosed, ImageSource, JobStore, PartyKey, Runtime, WatchStream
from kusciajob.model.errors import JobDamaged, JobNotFound, StoreFailed
from kusciajob.model.status import ACTIVE, EventType, Job, JobEvent
from kusciajob.scheduler.room import WaitingRoom
from kusciajob.scheduler.supervisor import pause
from kusciajob.scheduler.worker import STORE_RETRY_SECONDS, JobWorker, Tools, party_specs

logger = logging.getLogger(__name__)


class Scheduler:
    """Runs the jobs of one store on one runtime.

    `open` recovers: what the store says is running is attached to, what the runtime has of deleted jobs is removed.
    `run` schedules until it is cancelled, which leaves all programs running. An unexpected error ends it.
    """

    def __init__(self, *, store: JobStore, hub: EventHub, runtime: Runtime, images: ImageSource, clock: Clock) -> None:
        self._store = store
        self._hub = hub
        self._runtime = runtime
        self._clock = clock
        self._room = WaitingRoom()
        self._tools = Tools(store=store, runtime=runtime, images=images, clock=clock, room=self._room)
        self._workers: dict[int, JobWorker] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._recovered: Sequence[Job] = ()
        self._from_revision = 0

    @property
    def jobs(self) -> int:
        """How many jobs have a worker."""
        return len(self._workers)

    @property
    def waiting_for_room(self) -> int:
        """How many of them wait until the runtime has room for a task."""
        return self._room.occupants

    async def open(self) -> None:
        """Read the store and take back what is running, before anything new may start."""
        await self._runtime.open()
        self._from_revision = await self._store.head()
        self._recovered = await self._store.unfinished()
        for job in self._recovered:
            for index, task in enumerate(job.status.tasks):
                if task.state in ACTIVE:
                    for party, status in zip(party_specs(job, index, None), task.parties, strict=True):
                        if status.state in ACTIVE:
                            await self._runtime.attach(party)
        strays = await self._store.missing(await self._runtime.owned())
        for number in strays:
            logger.warning("removing what is left of deleted job number %d", number)
        await asyncio.gather(*map(self._remove, strays))

    async def run(self) -> None:
        """Schedule until cancelled, or until the hub closes."""
        async with self._hub.subscribe(after=self._from_revision) as stream, asyncio.TaskGroup() as group:
            for job in self._recovered:
                if job.status.is_scheduled:
                    self._start_worker(group, job)
            self._recovered = ()
            try:
                await self._follow(group, stream)
            except HubClosed:
                for task in self._tasks.values():
                    task.cancel()

    def report_progress(self, key: PartyKey, progress: float) -> None:
        """Take note of how far a running task is, 0 to 1; ignored when it is not running."""
        worker = self._workers.get(key.job)
        if worker is not None:
            worker.report_progress(key, progress)

    async def report_task_progress(self, task_id: str, progress: float) -> None:
        """The same by the id of the task. TaskNotFound, JobNotFound, StoreFailed."""
        job = await self._store.get(await self._store.job_of_task(task_id))
        task = job.index_of(task_id)
        self.report_progress(PartyKey(job.number, task, job.status.tasks[task].attempt, party=0), progress)

    async def _follow(self, group: asyncio.TaskGroup, stream: WatchStream) -> None:
        while True:
            for published in await stream.read():
                await self._observe(group, published.event)

    async def _observe(self, group: asyncio.TaskGroup, event: JobEvent) -> None:
        number = event.job.number
        if event.type is EventType.DELETED:
            group.create_task(self._remove(number), name=f"remove job {number}")
        elif event.job.status.is_damaged:
            await self._take_up(group, event)  # the job itself may be sound
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
                logger.error("job %s: the store failed, trying again: %s", event.job.job_id, error)
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
            # In the instant in which the worker found the job finished: a restart seen later gets a new one.
            self._workers.pop(number, None)
            self._tasks.pop(number, None)

    async def _remove(self, number: int) -> None:
        """What a deleted job has running and stored goes, once its worker can start nothing more."""
        self._workers.pop(number, None)
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        try:
            await self._runtime.remove(number)
        except Exception:
            # Found again by the next recovery.
            logger.exception("what is left of deleted job number %d could not be removed", number)
        self._room.announce()
