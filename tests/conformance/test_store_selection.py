"""What every store promises of lists (JobStore.select), and of what events and summaries tell beside the status."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from kusciajob.contracts import JobPage, JobStore
from kusciajob.model import transitions
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, Job, JobState, JobSummary
from tests.support import steps
from tests.support.builders import NOW, job_spec, new_job, task

DOMAINS = ("alice", "bob", "carol", "dave")
IMAGES = ("psi", "train", "serve")


def stopped(job: Job, now: float) -> Job:
    return transitions.request(job, Operation.STOP, by="alice", reason="enough", now=now)


def random_spec(random: Random, job_id: str) -> JobSpec:
    tasks = [
        Task(
            alias=f"t{index}",
            app_image=random.choice(IMAGES),
            parties=tuple(Party(domain) for domain in random.sample(DOMAINS, random.randint(1, 3))),
        )
        for index in range(random.randint(1, 2))
    ]
    spec = job_spec(job_id, tasks=tasks, initiator=random.choice(DOMAINS))
    fields = {"owner": random.choice(["lab", "shop"])} if random.random() < 0.5 else {}
    labels = {"run": "x" * 4000, "team": random.choice("ab")} if random.random() < 0.5 else {}
    return replace(spec, custom_fields=fields, labels=labels)


def random_filter(random: Random, jobs: list[JobSummary]) -> JobFilter:
    def some(most: float = 0.25) -> bool:
        return random.random() < most

    moments = sorted(random.uniform(NOW - 50, NOW + 250) for _ in range(4))
    return JobFilter(
        states=frozenset(random.sample(list(JobState), random.randint(1, 3))) if some() else frozenset(),
        initiator=random.choice(DOMAINS) if some() else "",
        party=random.choice(DOMAINS) if some() else "",
        job_ids=frozenset({random.choice(jobs).job_id, "nowhere", random.choice(jobs).job_id})
        if some(0.1)
        else frozenset(),
        job_id_prefix=random.choice(["a", "b", "a-1", "zzz"]) if some() else "",
        app_image=random.choice(IMAGES) if some() else "",
        custom_fields=(("owner", "lab"),) if some() else (),
        labels=(("run", "x" * 4000), ("team", "a")) if some(0.1) else (),
        created_after=moments[0] if some() else None,
        created_before=moments[3] if some() else None,
        ended_after=moments[1] if some() else None,
        ended_before=moments[2] if some() else None,
        visible_to=random.choice(DOMAINS) if some() else "",
    )


async def populate(store: JobStore, random: Random, count: int) -> None:
    """Random jobs in all states; now and then one is deleted, and the clock goes back at times."""
    now = NOW
    for number in range(count):
        now += random.choice([0.0, 1.0, 5.0, -7.0])
        spec = random_spec(random, f"{random.choice('ab')}-{number}")
        job = await store.create(new_job(spec, awaited=("bob",) if random.random() < 0.2 else (), now=now))
        chance = random.random()
        if job.status.state is JobState.PENDING and chance < 0.3:
            job = await store.replace(steps.start(job))
        if chance > 0.6:
            job = await store.replace(stopped(job, now + random.choice([-20, 0, 30])))
        if random.random() < 0.15:
            await store.delete(job)


async def listed(
    store: JobStore, chosen: JobFilter, *, limit: int = 1000, newest_first: bool = False
) -> list[JobSummary]:
    """All pages, one after the other."""
    found: list[JobSummary] = []
    page = JobPage((), 0, 0, is_last=False)
    while not page.is_last:
        after = page.through
        page = await store.select(chosen, limit=limit, after=after, newest_first=newest_first)
        assert len(page.jobs) <= limit
        assert page.is_last or page.through != after
        found += page.jobs
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_list_has_what_a_look_at_every_job_finds(store: JobStore, seed: int) -> None:
    random = Random(seed)
    await populate(store, random, 150)
    jobs = await store.page(0, 1000)
    matched = 0
    for _ in range(150):
        chosen = random_filter(random, jobs)
        expected = [job for job in jobs if chosen.matches(job)]
        limit = random.choice([1, 3, 1000])
        assert await listed(store, chosen, limit=limit) == expected, chosen
        assert await listed(store, chosen, limit=limit, newest_first=True) == expected[::-1], chosen
        matched += bool(expected)
    assert matched > 20


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_have_no_repeats_and_no_holes_while_jobs_come_and_go(store: JobStore, newest_first: bool) -> None:
    random = Random(7)
    await populate(store, random, 100)
    chosen = JobFilter(party="alice")
    stays = {job.number for job in await listed(store, chosen)}
    told: list[int] = []
    page = JobPage((), 0, 0, is_last=False)
    while not page.is_last:
        page = await store.select(chosen, limit=3, after=page.through, newest_first=newest_first)
        told += [job.number for job in page.jobs]
        if len(told) < 60:
            job = await store.create(new_job(f"new-{len(told)}"))
            assert job.spec.initiator == "alice"
            if told and len(told) % 2:
                (gone,) = await store.page(told[0] - 1, 1)
                if gone.number == told[0]:
                    await store.delete(gone)
                    stays.discard(told[0])
    assert len(set(told)) == len(told)
    assert told == sorted(told, reverse=newest_first)
    assert stays <= set(told)


async def test_a_page_is_of_the_moment_of_its_revision(store: JobStore) -> None:
    assert await store.select(JobFilter(), limit=10) == JobPage((), 0, 0, is_last=True)
    for number in range(5):
        await store.create(new_job(f"job-{number}"))

    first = await store.select(JobFilter(), limit=2)
    assert ([job.job_id for job in first.jobs], first.through, first.revision, first.is_last) == (
        ["job-0", "job-1"],
        2,
        5,
        False,
    )
    rest = await store.select(JobFilter(), limit=3, after=2)
    assert ([job.job_id for job in rest.jobs], rest.is_last) == (["job-2", "job-3", "job-4"], True)
    assert (await store.select(JobFilter(), limit=2, newest_first=True)).through == 4


async def test_a_list_shows_each_change_at_once(store: JobStore) -> None:
    running, ended = JobFilter(states=frozenset({JobState.RUNNING})), JobFilter(states=frozenset({JobState.SUCCEEDED}))
    job = await store.create(new_job("job-1"))
    assert await listed(store, running) == await listed(store, ended) == []
    job = await store.replace(steps.start(job))
    assert (await listed(store, running), await listed(store, ended)) == ([job.summary], [])
    job = await store.replace(steps.move_all(job, PartyEvent.SUCCEEDED))
    assert (await listed(store, running), await listed(store, ended)) == ([], [job.summary])
    await store.delete(job)
    assert await listed(store, ended) == []


def with_traits(job_id: str, **times: float) -> JobSpec:
    spec = job_spec(job_id, tasks=[task("a"), task("b")], custom_fields={"owner": "lab"})
    return replace(spec, labels={"notes": "long " * 500}, **times)


async def test_events_and_summaries_tell_the_traits_of_a_job_also_when_it_is_gone(store: JobStore) -> None:
    job = await store.create(new_job(with_traits("job-1")))
    traits = job.spec.traits
    assert traits.app_images == ("app",)
    await store.delete(await store.replace(stopped(job, NOW + 1)))
    again = await store.create(new_job(with_traits("job-1")))

    assert [event.job.traits for event in await store.read_log(0, 10)] == [traits] * 4
    for told in (await store.summaries(["job-1"]), await store.page(0, 10), await listed(store, JobFilter())):
        assert told == [again.summary]


async def test_an_event_tells_the_phase_before_only_where_it_is_another(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))
    same = await store.replace(transitions.explain(created, 0, "waiting"))
    running = await store.replace(steps.start(same), fault="fork failed")
    await store.delete(await store.replace(steps.move_all(running, PartyEvent.SUCCEEDED)))

    log = await store.read_log(0, 10)
    assert [(event.type, event.before) for event in log] == [
        (EventType.ADDED, None),
        (EventType.MODIFIED, None),
        (EventType.MODIFIED, created.status.phase),
        (EventType.ERROR, None),
        (EventType.MODIFIED, running.status.phase),
        (EventType.DELETED, None),
    ]
    assert store.phases_told_after == 0


async def test_a_job_whose_time_to_live_is_over_is_expired(store: JobStore) -> None:
    spec = with_traits("job-1", ttl_seconds=100)
    job = await store.create(new_job(spec))
    await store.create(new_job("kept"))
    assert await store.expired(NOW + 1e6, 10) == []
    ended = await store.replace(stopped(job, NOW + 10))
    assert await store.expired(NOW + 109, 10) == []
    assert await store.expired(NOW + 110, 10) == [ended.summary]
    restarted = await store.replace(transitions.request(ended, Operation.RESTART, by="alice", reason="", now=NOW + 20))
    assert await store.expired(NOW + 1e6, 10) == []
    await store.delete(await store.replace(stopped(restarted, NOW + 30)))
    assert await store.expired(NOW + 1e6, 10) == []


async def test_overdue_are_jobs_beyond_their_deadline_that_nobody_works_on(store: JobStore) -> None:
    awaiting = await store.create(new_job(with_traits("awaits", deadline_seconds=100), awaited=("bob",)))
    later = await store.create(new_job(with_traits("later", deadline_seconds=200), awaited=("bob",)))
    await store.create(new_job(with_traits("scheduled", deadline_seconds=100)))
    await store.create(new_job("without", awaited=("bob",)))

    assert await store.overdue(NOW + 99, 10) == []
    assert await store.overdue(NOW + 100, 10) == [awaiting.summary]
    assert await store.overdue(NOW + 1e6, 10) == [awaiting.summary, later.summary]
    assert len(await store.overdue(NOW + 1e6, 1)) == 1
    await store.replace(stopped(awaiting, NOW + 101))
    assert await store.overdue(NOW + 1e6, 10) == [later.summary]


async def test_a_page_takes_bounded_work_and_what_follows_is_found_all_the_same(store: JobStore) -> None:
    many = 12_000
    jobs = [new_job(job_spec(f"job-{number}", initiator="alice" if number % 2 else "bob")) for number in range(many)]
    for some in batches(jobs, 1000):
        await asyncio.gather(*(store.create(job) for job in some))
    # Of no job: both sequences are long, and have nothing in common.
    chosen = JobFilter(initiator="alice", job_id_prefix="job", created_after=NOW + 1)
    assert await listed(store, chosen) == []
    needle = await store.create(new_job(job_spec("needle", initiator="alice"), now=NOW + 5))
    wanted = JobFilter(initiator="alice", states=frozenset({JobState.PENDING}), party="carol")
    assert await listed(store, wanted) == []
    assert await listed(store, replace(wanted, party="", job_id_prefix="n")) == [needle.summary]


def batches(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]
