"""Watching under load: random writers, watchers that record what they are told, and what must be true of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise, takewhile
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.errors import JobExists, JobNotFound, StaleJob
from kusciajob.model.status import EventType, Job, JobEvent, JobSummary
from tests.support.builders import new_job
from tests.support.stores import JitteryStore

LAST_JOB = "the-end"


@asynccontextmanager
async def opened_hub(store: JobStore, *, ring_events: int = 1024, batch_events: int = 128) -> AsyncIterator[Hub]:
    hub = Hub(store, ring_events=ring_events, batch_events=batch_events)
    await hub.open()
    try:
        yield hub
    finally:
        await hub.close()


async def change(store: JobStore, job: Job, text: str, *, fault: str = "") -> Job:
    """Commit a change that can be told by its text."""
    return await store.replace(transitions.explain(job, 0, text), fault=fault)


class History(Struct, frozen=True):
    """What one watcher was told: what existed at `start`, if it asked for that, and what came after."""

    start: int
    replayed: list[JobEvent]
    live: list[JobEvent]


class Pace:
    """How slow a watcher is: in changes that it lets pass, so that it does not depend on the speed of the store."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._changes = 0
        self._is_over = False
        self._news = asyncio.Event()

    def count_change(self) -> None:
        self._changes += 1
        self._wake_all()

    def finish(self) -> None:
        """No more is going to change: nobody needs to wait."""
        self._is_over = True
        self._wake_all()

    async def pause(self, *most: int) -> None:
        """Let up to one of these numbers of changes pass."""
        wanted = self._changes + self._random.randint(0, self._random.choice(most))
        while self._changes < wanted and not self._is_over:
            await self._news.wait()

    def _wake_all(self) -> None:
        self._news.set()
        self._news.clear()


async def write_at_random(store: JobStore, pace: Pace, random: Random, *, job_ids: Sequence[str], changes: int) -> None:
    """Create, change and delete jobs; where another writer was faster, its change stands."""
    for serial in range(changes):
        job_id = random.choice(job_ids)
        with suppress(StaleJob, JobExists, JobNotFound):
            try:
                job = await store.get(job_id)
            except JobNotFound:
                await store.create(new_job(job_id))
            else:
                if random.random() < 0.3:
                    await store.delete(job)
                else:
                    await change(store, job, f"change {serial}", fault="broken" if random.random() < 0.2 else "")
        pace.count_change()


async def watch(hub: Hub, pace: Pace, *, after: int | None = None) -> History:
    """Read, with pauses, until the job LAST_JOB is told."""
    events: list[JobEvent] = []
    async with hub.subscribe(after=after) as stream:
        start = hub.head if after is None else after
        while not (events and events[-1].job.job_id == LAST_JOB):
            await pace.pause(0, 2, 15)
            batch = await stream.read()
            assert batch
            events += [published.event for published in batch]
    replayed = list(takewhile(lambda event: event.type is EventType.ADDED and event.job.number <= start, events))
    return History(start, replayed, events[len(replayed) :])


async def watch_in_pieces(hub: Hub, pace: Pace, random: Random, *, after: int) -> History:
    """Read until LAST_JOB is told, but leave all the time and come back for what follows."""
    events: list[JobEvent] = []
    while not (events and events[-1].job.job_id == LAST_JOB):
        async with hub.subscribe(after=events[-1].revision if events else after) as stream:
            for _ in range(random.randrange(4)):
                events += [published.event for published in await stream.read()]
                if events[-1].job.job_id == LAST_JOB:
                    break
        await pace.pause(1, 10)
    return History(after, [], events)


class Recording(Struct, frozen=True):
    """All that was committed in a run, and what its watchers were told."""

    log: Sequence[JobEvent]
    jobs: list[JobSummary]
    replays: list[History]
    resumed: list[History]
    pieces: list[History]

    @property
    def histories(self) -> list[History]:
        return [*self.replays, *self.resumed, *self.pieces]


async def record(store: JobStore, *, seed: int, watchers: int, writers: int, changes: int) -> Recording:
    """Watchers of every kind on a hub that keeps one event, while writers work; all of them come at random moments."""
    random = Random(seed)
    pace = Pace(random)
    jittery = JitteryStore(store, random)
    job_ids = [f"job-{index}" for index in range(60)]
    await asyncio.gather(*(store.create(new_job(job_id)) for job_id in job_ids[:40]))
    async with opened_hub(jittery, ring_events=1, batch_events=3) as hub:

        async def replay() -> History:
            await pace.pause(changes * writers // 2)
            return await watch(hub, pace)

        async with asyncio.TaskGroup() as group:
            replays = [group.create_task(replay()) for _ in range(watchers)]
            resumed = [group.create_task(watch(hub, pace, after=random.randrange(41))) for _ in range(watchers)]
            pieces = [group.create_task(watch_in_pieces(hub, pace, random, after=40)) for _ in range(watchers)]
            await asyncio.gather(
                *(write_at_random(jittery, pace, random, job_ids=job_ids, changes=changes) for _ in range(writers))
            )
            await store.create(new_job(LAST_JOB))
            pace.finish()
    return Recording(
        log=await store.read_log(0, 1_000_000),
        jobs=await store.page(0, 1_000),
        replays=[task.result() for task in replays],
        resumed=[task.result() for task in resumed],
        pieces=[task.result() for task in pieces],
    )


def is_increasing(events: Sequence[JobEvent]) -> bool:
    return all(first.revision < second.revision for first, second in pairwise(events))


def state_at(log: Sequence[JobEvent], revision: int) -> JobSummary:
    """The job that was changed at that revision, as it was stored then: an ERROR shows another text."""
    told = log[revision - 1].job
    if log[revision - 1].type is EventType.ERROR:
        status = next(e.job.status for e in reversed(log[: revision - 1]) if e.job.number == told.number)
        return replace(told, status=status)
    return told


def fold(history: History) -> dict[int, JobSummary]:
    """What a watcher knows in the end. AssertionError where an event contradicts what it was told before."""
    known: dict[int, JobSummary] = {}
    for event in [*history.replayed, *history.live]:
        number = event.job.number
        assert (event.type is EventType.ADDED) == (number not in known), event
        assert number not in known or event.revision > known[number].revision, event
        if event.type is EventType.DELETED:
            del known[number]
        elif event.type is EventType.ERROR:
            before = known[number]
            known[number] = replace(before, revision=event.revision)
        else:
            known[number] = event.job
    return known
