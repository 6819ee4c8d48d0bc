"""A store, a hub, a scheduler and a watcher that records everything: the server without its edges."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from kusciajob.contracts import ImageSource, JobStore, Runtime
from kusciajob.events.hub import Hub
from kusciajob.model.job import JobSpec
from kusciajob.model.moves import Operation, job_moves
from kusciajob.model.status import EventType, Job, JobEvent, JobState, JobStatus, TaskState, TaskStatus
from kusciajob.runtime.simulated import AnyImage
from kusciajob.scheduler.departures import Departures
from kusciajob.scheduler.loop import Scheduler
from kusciajob.scheduler.slots import NO_LIMITS, SlotLimits
from kusciajob.scheduler.waiting_room import WaitingRoom
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from tests.support.builders import new_job
from tests.support.clock import ManualClock
from tests.support.polling import eventually

ANY_IMAGE = AnyImage()


class House:
    """See `opened_house`. `events` is what a watcher was told from the beginning."""

    def __init__(self, *, store: JobStore, hub: Hub, scheduler: Scheduler, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.scheduler = scheduler
        self.service = JobService(store=store, hub=hub, images=AnyImage(), clock=clock)
        self.running = asyncio.create_task(scheduler.run(), name="scheduler")
        self.events: list[JobEvent] = []
        self._hub = hub
        self._watching = asyncio.create_task(self._watch(), name="watcher")

    async def create(self, spec: JobSpec | str) -> Job:
        """A stored job, of one task when only its id is given."""
        return await self.store.create(new_job(spec, now=self.clock.now()))

    async def run(self, spec: JobSpec | str) -> Job:
        """A job, as `create` makes it, whose first task is Running."""
        job = await self.create(spec)
        await eventually(lambda: any(event.job.number == job.number for event in self.events))
        await self.until_task(TaskState.RUNNING, job_id=job.job_id)
        return job

    async def ask(self, operation: Operation, job_id: str = "job-1") -> None:
        """The master stops, cancels, suspends or restarts a job."""
        await self.service.command(operation, job_id, "why not", MASTER)

    async def delete(self, job_id: str = "job-1") -> None:
        await self.service.delete(job_id, MASTER)

    def statuses(self, job_id: str = "job-1") -> list[JobStatus]:
        """All that was told of a job since it was last created."""
        told: list[JobStatus] = []
        for event in self.events:
            if event.job.job_id == job_id and event.type is not EventType.ERROR:
                told = [] if event.type is EventType.ADDED else told
                told.append(event.job.status)
        return told

    def status(self, job_id: str = "job-1") -> JobStatus | None:
        """The last status told."""
        told = self.statuses(job_id)
        return told[-1] if told else None

    def faults(self, job_id: str = "job-1") -> list[str]:
        """The texts of the ERROR events of a job."""
        return [
            event.job.status.message
            for event in self.events
            if event.type is EventType.ERROR and event.job.job_id == job_id
        ]

    async def until(self, state: JobState, job_id: str = "job-1") -> JobStatus:
        """The job's status once it has that state."""

        def has_state() -> JobStatus | None:
            status = self.status(job_id)
            return status if status is not None and status.state is state else None

        status = await eventually(has_state)
        assert status is not None
        return status

    async def until_task(self, state: TaskState, index: int = 0, job_id: str = "job-1") -> TaskStatus:
        """The task's status once it has that state."""

        def has_state() -> TaskStatus | None:
            status = self.status(job_id)
            return status.tasks[index] if status is not None and status.tasks[index].state is state else None

        task = await eventually(has_state)
        assert task is not None
        return task

    async def until_message(self, text: str, index: int = 0, job_id: str = "job-1") -> None:
        """Return once the task has that text."""

        def has_message() -> bool:
            status = self.status(job_id)
            return status is not None and text in status.tasks[index].message

        await eventually(has_message)

    async def until_idle(self) -> None:
        """Return once nothing is left of any job; AssertionError where something stays behind."""
        await eventually(lambda: not _names_of_tasks("job ", "party ", "remove "))
        await eventually(lambda: not self.clock.timers)
        for keeper in (self.scheduler, *vars(self.scheduler).values()):
            if isinstance(keeper, Scheduler | WaitingRoom | Departures):
                assert not [kept for kept in vars(keeper).values() if isinstance(kept, dict) and kept]
        assert self.scheduler.parties == 0

    async def crash(self) -> None:
        """The scheduler goes, whatever it is doing; programs stay."""
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    async def leave(self) -> None:
        await self.crash()
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self) -> None:
        async with self._hub.subscribe() as stream:
            while True:
                self.events += [published.event for published in await stream.read()]


@asynccontextmanager
async def opened_house(
    runtime: Runtime,
    *,
    store: JobStore | None = None,
    clock: ManualClock | None = None,
    limits: SlotLimits = NO_LIMITS,
    images: ImageSource = ANY_IMAGE,
) -> AsyncIterator[House]:
    """A house at work. In the end its recorded history is checked; the scheduler must not have died of anything."""
    store, clock = store or MemoryStore(), clock or ManualClock()
    async with AsyncExitStack() as stack:
        hub = Hub(store)
        await hub.open()
        stack.push_async_callback(hub.close)
        scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=images, clock=clock, limits=limits)
        await scheduler.open()
        house = House(store=store, hub=hub, scheduler=scheduler, clock=clock)
        stack.push_async_callback(house.leave)
        yield house
        assert not house.running.done() or house.running.cancelled(), house.running.exception()
        check_history(house.events)


def check_history(events: Sequence[JobEvent]) -> None:
    """What every watcher may rely on, of each job."""
    last: dict[int, JobStatus] = {}
    for event in events:
        status = event.job.status
        if event.type is EventType.MODIFIED:
            _check_step(last[event.job.number], status)
        if event.type is not EventType.ERROR:
            last[event.job.number] = status


def _check_step(before: JobStatus, status: JobStatus) -> None:
    assert status != before
    assert before.state is status.state or (before.state, status.state) in job_moves()
    assert before.state not in (JobState.SUCCEEDED, JobState.CANCELLED, JobState.APPROVAL_REJECT)
    assert status.state is not JobState.FAILED or status.message
    assert (status.phase.ended_at is None) == (status.state in ("Pending", "Running", "Suspended", "AwaitingApproval"))
    for old, task in zip(before.tasks, status.tasks, strict=True):
        if task.state is TaskState.SUCCEEDED:
            assert old.state in (TaskState.RUNNING, TaskState.SUCCEEDED), "it was never seen running"
        if task.state is TaskState.RUNNING and old.state is not TaskState.RUNNING:
            assert (old.state, old.attempt) == (TaskState.STARTING, task.attempt)
        if task.phase.ended_at is not None and task.phase.started_at is not None and not is_as_it_was(old, task):
            assert old.state is TaskState.RUNNING, "it was never seen running"


def is_as_it_was(old: TaskStatus, task: TaskStatus) -> bool:
    """Whether an ended task has not changed, but for its text: a suspended job that is stopped tells of the stop."""
    if old.message == "Job was suspended" and task.message in ("Job was stopped", "Job was cancelled"):
        return (task.phase, task.attempt) == (old.phase, old.attempt)
    return task == old


def _names_of_tasks(*prefixes: str) -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(prefixes)]
