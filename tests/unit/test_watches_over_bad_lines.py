"""Watch and wait over lines that are cut anywhere: held against what happened, here and on a plain Kuscia.

Never lost: in the end the consumer knows what there is, and of every job that it was told of and that went, that it
went. Never doubled: each job is added once and deleted once, and nothing is told that was told before.
"""

import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import Calling
from kusciajob.client.comparison import Sighting
from kusciajob.client.errors import JobDeleted, JobEnded, JobNotFound, RevisionGone
from kusciajob.client.transport import run
from kusciajob.client.values import ENDED, Change, ChangeType, JobStatus
from kusciajob.client.watching import Choice, plain_sighting, watch
from tests.support.lossy_world import JOBS, STATES, LossyTransport, Quiet, World

CHANCE = st.integers(0, 2**32).map(random.Random)
SERVERS = pytest.mark.parametrize("is_plain", [False, True], ids=["here", "plain Kuscia"])


def calling(world: World, chance: random.Random, *, is_plain: bool) -> Calling:
    return Calling(LossyTransport(world, chance, is_plain=is_plain), timeout=3600)


def told(
    calls: Calling, choice: Choice, *, since: int | None = None, known: Sequence[Sighting] = ()
) -> Iterator[Change]:
    """What a watch tells until nothing more happens."""
    changes = watch(calls, choice, since=since, known=known)
    try:
        while True:
            yield run(changes.asend(None))
    except Quiet:
        return


def commit_of(change: Change) -> tuple[int, int]:
    """The number of the job and the revision of the commit that the status is of."""
    number, _, revision = change.status.err_msg.partition(" ")
    return int(number), int(revision)


class Consumer:
    """Believes what it is told, and refuses what cannot be."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int]] = {}
        self.added: list[int] = []
        self.deleted: list[int] = []

    def take(self, change: Change) -> None:
        number, revision = commit_of(change)
        before = self.known.get(change.job_id)
        match change.type:
            case ChangeType.ADDED:
                assert before is None, "added twice"
                self.added.append(number)
                self.known[change.job_id] = number, revision
            case ChangeType.MODIFIED:
                assert before is not None, "of a job that it was not told of"
                assert before[0] == number, "another job"
                assert before[1] < revision, "told before"
                self.known[change.job_id] = number, revision
            case ChangeType.DELETED:
                assert before is not None, "deleted twice"
                assert before[0] == number, "another job"
                self.deleted.append(number)
                del self.known[change.job_id]


@SERVERS
@given(chance=CHANCE, jobs=st.sampled_from([(), ("a",), ("a", "c")]))
@settings(max_examples=200)
def test_a_watch_loses_nothing_and_doubles_nothing(
    is_plain: bool, chance: random.Random, jobs: tuple[str, ...]
) -> None:
    world, consumer = World(), Consumer()
    for change in told(calling(world, chance, is_plain=is_plain), Choice(jobs=jobs)):
        consumer.take(change)
    there = {job_id: (entry.number, entry.revision) for job_id, entry in world.jobs.items()}
    assert consumer.known == {job_id: each for job_id, each in there.items() if job_id in (jobs or JOBS)}
    assert len(set(consumer.added)) == len(consumer.added)
    assert sorted(consumer.deleted) == sorted(set(consumer.added) - {number for number, _ in consumer.known.values()})


@given(chance=CHANCE, states=st.sets(st.sampled_from(STATES), min_size=1), forgets=st.booleans())
@settings(max_examples=200)
def test_a_filtered_watch_tells_what_enters_and_what_leaves(
    chance: random.Random, states: set[str], forgets: bool
) -> None:
    world, known = World(), dict[str, str]()
    for change in told(calling(world, chance, is_plain=False), Choice(states=tuple(states))):
        assert (change.type is ChangeType.ADDED) == (change.job_id not in known), change
        if change.type in (ChangeType.LEFT, ChangeType.DELETED):
            del known[change.job_id]
        else:
            assert change.status.state in states
            assert known.get(change.job_id) != change.status.err_msg, "told twice"
            known[change.job_id] = change.status.err_msg
        if forgets and chance.random() < 0.2:
            world.forgotten = world.revision
    assert known == {job_id: each.detail.err_msg for job_id, each in world.jobs.items() if each.state in states}


class Tardy(LossyTransport):
    """A plain Kuscia whose watch is in place late, when the client has asked already what is gone."""

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        return False

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        while "a" in self.world.jobs:
            self.world.move(self.chance)
        async for message in super().messages(stream):
            yield message


@given(chance=CHANCE)
def test_what_goes_before_a_watch_is_in_place_is_told_once_it_is(chance: random.Random) -> None:
    world = World()
    while "a" not in world.jobs:
        world.move(chance)
    known = plain_sighting("a", world.jobs["a"].detail)
    calls = Calling(Tardy(world, chance, is_plain=True, moves=0, cuts=0), timeout=3600)
    changes = [change for change in told(calls, Choice(), known=[known]) if change.job_id == "a"]
    assert [change.type for change in changes[:1]] == [ChangeType.DELETED]


@given(chance=CHANCE)
@settings(max_examples=200)
def test_each_commit_after_a_revision_is_told_once_and_in_order(chance: random.Random) -> None:
    world = World()
    for _ in range(chance.randrange(10)):
        world.move(chance)
    since = chance.randrange(world.revision + 1)
    changes = list(told(calling(world, chance, is_plain=False), Choice(), since=since))
    assert [change.revision for change in changes] == list(range(since + 1, world.revision + 1))
    assert [change.type.value for change in changes] == [entry.kind for entry in world.log[since:]]


@given(chance=CHANCE)
@settings(max_examples=200)
def test_a_log_that_was_cut_off_costs_no_job(chance: random.Random) -> None:
    world, consumer = World(), Consumer()
    for change in told(calling(world, chance, is_plain=False), Choice()):
        consumer.take(change)
        if chance.random() < 0.2:
            world.forgotten = world.revision
    assert consumer.known == {job_id: (each.number, each.revision) for job_id, each in world.jobs.items()}
    assert len(set(consumer.deleted)) == len(consumer.deleted)


@given(chance=CHANCE)
def test_a_revision_that_the_log_does_not_have_any_more_is_told(chance: random.Random) -> None:
    world = World()
    for _ in range(5):
        world.move(chance)
    world.forgotten = 5
    with pytest.raises(RevisionGone):
        list(told(calling(world, chance, is_plain=False), Choice(), since=2))


class Noting(LossyTransport):
    """Knows by number which jobs its answers were about: at any time a job may go, and another one get its id."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[int] = []

    async def unary(self, method: str, request: Any, *, timeout: float | None) -> Any:
        answer = await super().unary(method, request, timeout=timeout)
        if method in ("GetJob", "QueryJob"):
            status = answer.job.status if method == "GetJob" else answer.data.status
            self.told.append(int(status.err_msg.split()[0]))
        return answer


@SERVERS
@given(chance=CHANCE, wanted=st.sets(st.sampled_from(STATES)))
@settings(max_examples=200)
def test_a_wait_returns_what_was_and_misses_no_end(is_plain: bool, chance: random.Random, wanted: set[str]) -> None:
    world = World()
    while "a" not in world.jobs:
        world.move(chance)
    seen: list[JobStatus] = []
    transport = Noting(world, chance, is_plain=is_plain)
    job = AsyncJob(Calling(transport, timeout=3600), "a")
    states = wanted or {str(state) for state in ENDED}
    try:
        status = run(job.wait(*wanted, on_change=seen.append))
    except Quiet:  # it waits still: with reason?
        last = world.jobs["a"]
        assert last.state not in states | ENDED
        assert last.number == transport.told[0], "it waits for another job than it began with"
        return
    except JobNotFound:
        assert any(entry.kind == "DELETED" and entry.job_id == "a" for entry in world.log)
        return
    except JobDeleted as error:
        number = int(error.status.err_msg.split()[0])
        assert any(entry.kind == "DELETED" and entry.number == number for entry in world.log)
        return
    except JobEnded as error:
        status = error.status
        assert status.state in ENDED - states
    else:
        assert status.state in states
    assert any(
        (entry.job_id, entry.state, f"{entry.number} {entry.revision}") == ("a", status.state, status.err_msg)
        for entry in world.log
    )
    assert len({each.err_msg for each in seen}) == len(seen), "told twice"
