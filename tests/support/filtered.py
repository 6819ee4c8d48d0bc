"""Filtered watching under load: writers that change all that filters look at, watchers with random filters, and what
each of them must have been told, found by looking at the whole log.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import JobStore, WatchStream
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.errors import JobExists, JobNotFound, StaleJob
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, Job, JobEvent, JobState, JobSummary
from kusciajob.wire.v1.events import told
from tests.support import steps
from tests.support.builders import NOW, job_spec, new_job
from tests.support.stores import JitteryStore
from tests.support.streams import Pace, opened_hub

DOMAINS = ("alice", "bob", "carol", "dave")
IMAGES = ("psi", "train")
TEAMS = ("red", "blue")
PREFIXES = ("a", "b")
SURE_FILTERS = (JobFilter(states=frozenset({JobState.RUNNING})), JobFilter(initiator="nobody"))
"""Jobs come and leave, and there is nothing to tell. A watcher of each kind has one, whatever the others have."""


def random_spec(job_id: str, random: Random) -> JobSpec:
    """Something for every filter."""
    parties = tuple(Party(domain) for domain in random.sample(DOMAINS, random.randint(1, 2)))
    return replace(
        job_spec(
            job_id,
            initiator=random.choice(DOMAINS),
            tasks=[Task(alias="only", app_image=random.choice(IMAGES), parties=parties)],
            custom_fields={"team": random.choice(TEAMS)},
        ),
        labels={"size": random.choice(("s", "m"))},
    )


def random_filter(random: Random, job_ids: Sequence[str]) -> JobFilter:
    """One condition or a few, seldom none."""
    conditions: list[dict[str, object]] = [
        {"states": frozenset(random.sample(list(JobState), random.randint(1, 3)))},
        {"states": frozenset({JobState.RUNNING})},
        {"initiator": random.choice(DOMAINS)},
        {"party": random.choice(DOMAINS)},
        {"job_ids": frozenset(random.sample(job_ids, 5))},
        {"job_id_prefix": random.choice(PREFIXES)},
        {"app_image": random.choice(IMAGES)},
        {"custom_fields": (("team", random.choice(TEAMS)),)},
        {"labels": (("size", "s"),)},
        {"created_after": NOW + random.randrange(100)},
        {"ended_after": NOW + random.randrange(100)},
        {"visible_to": random.choice(DOMAINS)},
    ]
    chosen: dict[str, object] = {}
    for condition in random.sample(conditions, random.choice((0, 1, 1, 2, 2, 3))):
        chosen |= condition
    return JobFilter(**chosen)  # type: ignore[arg-type]


def step(job: Job, random: Random, now: float) -> Job:
    """What a job may come to next."""
    state = job.status.state
    if state is JobState.PENDING and random.random() < 0.7:
        return steps.start(job, now=now)
    if state is JobState.RUNNING and job.status.tasks[0].phase.started_at and random.random() < 0.7:
        return steps.move_all(job, random.choice((PartyEvent.SUCCEEDED, PartyEvent.FAILED)), now=now)
    if state is JobState.FAILED and random.random() < 0.5:
        return steps.ask(job, Operation.RESTART, now=now)
    return transitions.explain(job, 0, f"at {now}")


async def write_at_random(store: JobStore, pace: Pace, random: Random, *, job_ids: Sequence[str], changes: int) -> None:
    """Create jobs and lead them through their states; where another writer was faster, its change stands."""
    for serial in range(changes):
        job_id, now = random.choice(job_ids), NOW + serial
        with suppress(StaleJob, JobExists, JobNotFound):
            try:
                job = await store.get(job_id)
            except JobNotFound:
                await store.create(new_job(random_spec(job_id, random), now=now))
            else:
                if random.random() < 0.15:
                    await store.delete(job)
                else:
                    fault = "broken" if random.random() < 0.1 else ""
                    await store.replace(step(job, random, now), fault=fault)
        pace.count_change()


class Told(Struct, frozen=True):
    """What a watcher was told: the type's name, and the event."""

    name: str
    event: JobEvent


class FilteredHistory(Struct, frozen=True):
    """What one watcher was told: existing jobs, if it asked for them, then what came after `start`.

    `positions`: where it could have been resumed, with how many live events it had been told by then.
    """

    chosen: JobFilter
    start: int
    existing: list[JobEvent]
    live: list[Told]
    positions: list[tuple[int, int]]


class FilteredRecording(Struct, frozen=True):
    """All that was committed in a run, and what its watchers were told."""

    log: Sequence[JobEvent]
    jobs: list[JobSummary]
    replays: list[FilteredHistory]
    resumed: list[FilteredHistory]
    pieces: list[FilteredHistory]

    @property
    def histories(self) -> list[FilteredHistory]:
        return [*self.replays, *self.resumed, *self.pieces]

    def expected(self, chosen: JobFilter, after: int) -> list[Told]:
        """What must be told of the log after a revision, found without what events tell of the phase before."""
        known: dict[int, JobSummary] = {}
        found: list[Told] = []
        for event in self.log:
            number = event.job.number
            before = number in known and chosen.matches(known[number])
            inside = event.type is not EventType.DELETED and chosen.matches(event.job)
            if event.type is EventType.DELETED:
                del known[number]
            elif event.type is not EventType.ERROR:
                known[number] = event.job
            if event.revision > after and (before or inside):
                found.append(Told(_name(event, before=before, inside=inside), event))
        return found


def _name(event: JobEvent, *, before: bool, inside: bool) -> str:
    if event.type in (EventType.ERROR, EventType.DELETED):
        return "fault" if event.type is EventType.ERROR else "deleted"
    if not inside:
        return "left"
    return "modified" if before else "added"


class Watcher:
    """Reads streams, one after the other, with pauses, until it has passed the end of the recording."""

    def __init__(
        self, hub: Hub, pace: Pace, chosen: JobFilter, end: "asyncio.Future[int]", *, read_seconds: float
    ) -> None:
        self._read_seconds = read_seconds
        self._hub = hub
        self._pace = pace
        self._chosen = chosen
        self._end = end
        self._existing: list[JobEvent] = []
        self._live: list[Told] = []
        self._positions: list[tuple[int, int]] = []

    async def watch(self, *, after: int | None) -> FilteredHistory:
        """One stream to the end."""
        async with self._hub.subscribe(after=after, chosen=self._chosen) as stream:
            start = self._hub.head if after is None else after
            while not self._is_over:
                await self._pace.pause(0, 2, 15)
                await self._read(stream, start, is_replay=after is None)
        return self._history(start)

    async def watch_in_pieces(self, random: Random, *, after: int) -> FilteredHistory:
        """Leave all the time and come back for what follows the last position, also where that was a bookmark."""
        self._positions.append((after, 0))
        while not self._is_over:
            async with self._hub.subscribe(after=self._positions[-1][0], chosen=self._chosen) as stream:
                for _ in range(random.randrange(4)):
                    await self._read(stream, after, is_replay=False)
            await self._pace.pause(1, 10)
        return self._history(after)

    @property
    def _is_over(self) -> bool:
        return self._end.done() and bool(self._positions) and self._positions[-1][0] >= self._end.result()

    async def _read(self, stream: WatchStream, start: int, *, is_replay: bool) -> None:
        for published in await stream.read(timeout=self._read_seconds):
            event = published.event
            is_created_before = event.type is EventType.ADDED and event.job.number <= start
            if is_replay and is_created_before:
                assert stream.position is None
                self._existing.append(event)
            else:
                told_event = told(published, self._chosen, revision=event.revision)
                self._live.append(Told(told_event.event, event))
        if stream.position is not None:
            self._positions.append((stream.position, len(self._live)))

    def _history(self, start: int) -> FilteredHistory:
        return FilteredHistory(self._chosen, start, self._existing, self._live, self._positions)


async def record_filtered(
    store: JobStore, *, seed: int, watchers: int, writers: int, changes: int, read_seconds: float = 0.01
) -> FilteredRecording:
    """Watchers of every kind on a hub that keeps one event, while writers work; all of them come at random moments.

    `read_seconds`: how long a read may take; a store must be able to answer in that time.
    """
    random = Random(seed)
    pace = Pace(random)
    jittery = JitteryStore(store, random)
    job_ids = [f"{random.choice(PREFIXES)}-{index}" for index in range(60)]
    for job_id in job_ids[:40]:
        await store.create(new_job(random_spec(job_id, random)))
    async with opened_hub(jittery, ring_events=random.choice((1, 1, 64)), batch_events=3) as hub:
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def watcher(index: int) -> Watcher:
            chosen = SURE_FILTERS[index] if index < len(SURE_FILTERS) else random_filter(random, job_ids)
            return Watcher(hub, pace, chosen, end, read_seconds=read_seconds)

        async def replay(index: int) -> FilteredHistory:
            await pace.pause(changes * writers // 2)
            return await watcher(index).watch(after=None)

        async with asyncio.TaskGroup() as group:
            indices = range(watchers)
            replays = [group.create_task(replay(index)) for index in indices]
            resumed = [group.create_task(watcher(index).watch(after=random.randrange(41))) for index in indices]
            pieces = [group.create_task(watcher(index).watch_in_pieces(random, after=40)) for index in indices]
            await asyncio.gather(
                *(write_at_random(jittery, pace, random, job_ids=job_ids, changes=changes) for _ in range(writers))
            )
            end.set_result(await store.head())
            pace.finish()
    return FilteredRecording(
        log=await store.read_log(0, 1_000_000),
        jobs=await store.page(0, 1_000),
        replays=[task.result() for task in replays],
        resumed=[task.result() for task in resumed],
        pieces=[task.result() for task in pieces],
    )


def fold(history: FilteredHistory) -> dict[int, JobSummary]:
    """The jobs that pass the filter, as the watcher knows them. AssertionError where it is told what cannot be."""
    inside = {event.job.number: event.job for event in history.existing}
    assert len(inside) == len(history.existing)
    for each in history.live:
        job = each.event.job
        assert (each.name == "added") == (job.number not in inside), each
        if each.name in ("left", "deleted"):
            del inside[job.number]
        elif each.name == "fault":
            inside[job.number] = replace(inside[job.number], revision=job.revision)
        else:
            inside[job.number] = job
    return inside


def is_increasing(told_events: Sequence[Told]) -> bool:
    return all(first.event.revision < second.event.revision for first, second in pairwise(told_events))
