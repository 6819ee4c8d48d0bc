"""What the hub promises to streams with a filter, each guarantee a test of its name, over every store."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from kusciajob.contracts import JobStore, WatchStream
from kusciajob.events import filtered, selection
from kusciajob.events.hub import Hub
from kusciajob.events.selection import BOOKMARK_EVENTS, RECENT_EVENTS
from kusciajob.model.errors import LogTruncated
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import Job, JobEvent, JobState
from tests.support.builders import job_spec, new_job
from tests.support.filtered import FilteredRecording, fold, is_increasing, record_filtered
from tests.support.polling import eventually, give_way
from tests.support.steps import fail, start
from tests.support.stores import RECORDINGS, STORES, GuardedStore, SlowStore, open_store
from tests.support.streams import change, opened_hub, state_at

A_MOMENT = 0.01
AT_MOST_SECONDS = 60.0
"""What ends a test that hangs."""
FEW_EVENTS = 20
CAROLS = JobFilter(visible_to="carol")
"""Of the jobs that these tests make, those that are made for it only."""

T = TypeVar("T")


def run_with_store(name: str, directory: Path, use: Callable[[JobStore], Awaitable[T]]) -> T:
    """For much at once: outside asyncio's debug mode, which takes ten times as long."""

    async def run() -> T:
        store = await open_store(name, directory)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.fixture(scope="module", params=RECORDINGS, ids=str)
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FilteredRecording:
    """Made once for all the tests that look at it."""
    name, seed = request.param
    # A read is a round trip in a database: fewer are made, and each may take longer.
    effort = (
        {"watchers": 6, "changes": 40, "read_seconds": 0.2} if name == "postgres" else {"watchers": 25, "changes": 80}
    )

    async def make(store: JobStore) -> FilteredRecording:
        return await record_filtered(store, seed=seed, writers=4, **effort)

    return run_with_store(name, tmp_path_factory.mktemp("recording"), make)


async def published(hub: Hub, revision: int) -> None:
    await eventually(lambda: hub.head >= revision)


async def revisions(stream: WatchStream, timeout: float | None = AT_MOST_SECONDS) -> list[int]:
    """Where nothing is to come, the time-out is A_MOMENT."""
    return [each.event.revision for each in await stream.read(timeout)]


async def read_through(stream: WatchStream, revision: int) -> list[int]:
    """What the stream has until it is there."""
    found: list[int] = []
    while (stream.position or 0) < revision:
        found += await revisions(stream, 1.0)
    return found


async def create_carols(store: JobStore, job_id: str) -> Job:
    return await store.create(new_job(job_spec(job_id, initiator="carol")))


# The named guarantees


def test_ordered(recording: FilteredRecording) -> None:
    for history in recording.histories:
        assert is_increasing(history.live)
        assert [each.event for each in history.live] == [
            recording.log[each.event.revision - 1] for each in history.live
        ]
        assert history.positions == sorted(history.positions)


def test_unique(recording: FilteredRecording) -> None:
    for history in recording.histories:
        existing = {event.job.number: event.revision for event in history.existing}
        assert len(existing) == len(history.existing)
        assert len({each.event.revision for each in history.live}) == len(history.live)
        for each in history.live:
            assert each.event.revision > existing.get(each.event.job.number, history.start)


def test_reliable(recording: FilteredRecording) -> None:
    for history in recording.replays:
        stored = {job.number: job for job in recording.jobs if history.chosen.matches(job)}
        assert fold(history) == stored
        assert all(event.job == state_at(recording.log, event.revision) for event in history.existing)
        assert all(history.chosen.matches(event.job) for event in history.existing)
        existing = {event.job.number: event.revision for event in history.existing}
        wanted = recording.expected(history.chosen, history.start)
        for number in {each.event.job.number for each in wanted}:
            told = [each for each in history.live if each.event.job.number == number]
            of_job = [each for each in wanted if each.event.job.number == number]
            if number in existing:
                of_job = [each for each in of_job if each.event.revision > existing[number]]
            elif number <= history.start:  # it did not pass when its page was read, and may have passed before
                of_job = of_job[len(of_job) - len(told) :]
                assert not told or told[0].name == "added"
            assert told == of_job


def test_resumable(recording: FilteredRecording) -> None:
    for history in [*recording.resumed, *recording.pieces]:
        assert history.live == recording.expected(history.chosen, history.start)
    for history in recording.histories:
        rest = recording.expected(history.chosen, history.start)
        for position, count in history.positions:
            while rest and rest[0].event.revision <= position:
                rest.pop(0)
            assert history.live[count:] == rest


def test_the_recordings_hold_what_is_hard(recording: FilteredRecording) -> None:
    """Else the tests above would prove nothing."""
    names = [each.name for history in recording.histories for each in history.live]
    for name in ("added", "modified", "left", "deleted", "fault"):
        assert names.count(name) > 5, name
    silent = sum(
        position > history.start and not count
        for history in recording.histories
        for position, count in history.positions
    )
    assert silent > 5
    assert sum(event.revision > history.start for history in recording.replays for event in history.existing) > 5


@pytest.mark.hostile
@pytest.mark.parametrize("store_name", STORES)
def test_bounded(store_name: str, tmp_path: Path) -> None:
    """10,000 events pass streams that do not read: next to nothing is kept for them, and they miss nothing."""
    run_with_store(store_name, tmp_path, let_ten_thousand_events_pass)


async def let_ten_thousand_events_pass(store: JobStore) -> None:
    jobs = await asyncio.gather(*(store.create(new_job(f"job-{index}")) for index in range(500)))
    async with opened_hub(store, ring_events=16, batch_events=32) as hub, AsyncExitStack() as stack:

        async def subscribe(index: int, after: int | None) -> WatchStream:
            chosen = JobFilter(job_id_prefix="job-", created_after=float(index))
            return await stack.enter_async_context(hub.subscribe(after=after, chosen=chosen))

        live = await subscribe(0, hub.head)
        replaying = [await subscribe(index, None) for index in range(20)]
        few = await stack.enter_async_context(hub.subscribe(after=500, chosen=JobFilter(job_ids=frozenset({"job-7"}))))
        first_pages = [await stream.read() for stream in replaying]
        gc.collect()
        tracemalloc.start()
        try:
            for passed in range(20):
                jobs = await asyncio.gather(*(change(store, job, f"change {passed}") for job in jobs))
                await published(hub, max(job.revision for job in jobs))
            gc.collect()
            kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/kusciajob/events/*")])
        finally:
            tracemalloc.stop()

        assert sum(trace.size for trace in kept.traces) < 22 * (RECENT_EVENTS * 48 + 1024)
        assert await read_through(live, 10_500) == list(range(501, 10_501))
        assert {len(page) for page in first_pages} == {32}
        assert await read_through(few, 10_500) == list(range(508, 10_501, 500))


# What a filtered stream is told, and what it costs


async def test_a_job_that_enters_and_leaves_is_told_so_once(store: JobStore) -> None:
    job = await store.create(new_job("a"))
    async with (
        opened_hub(store) as hub,
        hub.subscribe(after=hub.head, chosen=JobFilter(states=frozenset({JobState.RUNNING}))) as stream,
    ):
        job = await change(store, job, "outside")  # 2
        job = await store.replace(start(job))  # 3
        job = await change(store, job, "inside")  # 4
        ended = await store.replace(fail_running(job))  # 5
        ended = await change(store, ended, "outside again")  # 6
        await store.delete(ended)  # 7
        await published(hub, 7)

        assert await revisions(stream) == [3, 4, 5]
        assert (await revisions(stream, A_MOMENT), stream.position) == ([], 7)


def fail_running(job: Job) -> Job:
    ended = fail(new_job(job.spec))
    return Job(job.spec, ended.status, job.number, job.revision)


async def test_only_who_wants_an_event_is_woken(store: JobStore) -> None:
    async with opened_hub(store) as hub, AsyncExitStack() as stack:

        async def reading(chosen: JobFilter) -> "asyncio.Task[list[int]]":
            stream = await stack.enter_async_context(hub.subscribe(after=hub.head, chosen=chosen))
            return asyncio.create_task(revisions(stream, None))

        uninterested = [
            await reading(chosen)
            for chosen in (
                JobFilter(initiator="bob"),
                JobFilter(party="carol"),
                JobFilter(job_ids=frozenset({"b"})),
                JobFilter(job_id_prefix="b"),
                JobFilter(app_image="other"),
                JobFilter(states=frozenset({JobState.RUNNING})),
                CAROLS,
            )
        ]
        interested = [
            await reading(chosen)
            for chosen in (
                JobFilter(),
                JobFilter(initiator="alice"),
                JobFilter(party="bob"),
                JobFilter(job_ids=frozenset({"a"})),
                JobFilter(job_id_prefix="a"),
                JobFilter(app_image="app"),
                JobFilter(states=frozenset({JobState.PENDING})),
                JobFilter(visible_to="bob"),
            )
        ]
        await give_way(3)
        await store.create(new_job("a"))

        assert [await reading for reading in interested] == [[1]] * len(interested)
        assert not any(reading.done() for reading in uninterested)
        for each in uninterested:
            each.cancel()


async def test_an_event_is_matched_once_for_all_equal_filters(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def wants(chosen: JobFilter, event: JobEvent) -> bool:
        asked.append(event.revision)
        return True

    monkeypatch.setattr(selection, "wants", wants)
    async with opened_hub(store) as hub, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(hub.subscribe(after=0, chosen=JobFilter(initiator="alice")))
            for _ in range(50)
        ]
        others = [
            await stack.enter_async_context(hub.subscribe(after=0, chosen=JobFilter(initiator=f"domain-{index}")))
            for index in range(50)
        ]
        await store.create(new_job("a"))
        await published(hub, 1)

        assert [await revisions(stream) for stream in streams] == [[1]] * 50
        assert [await revisions(stream, A_MOMENT) for stream in others] == [[]] * 50
    assert asked == [1]


async def test_a_stream_that_has_fallen_behind_finds_what_it_wants_in_the_ring(store: JobStore) -> None:
    async with opened_hub(store, batch_events=3) as hub, hub.subscribe(after=0, chosen=CAROLS) as stream:
        wanted = []
        for index in range(RECENT_EVENTS * 2):
            await store.create(new_job(f"a-{index}"))
            wanted.append((await create_carols(store, f"c-{index}")).number)
        await published(hub, wanted[-1])
        found: list[int] = []
        while len(found) < len(wanted):
            found += await revisions(stream)
    assert found == wanted


async def test_bookmarks_come_after_existing_jobs_and_after_many_unwanted_events(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BOOKMARK_EVENTS <= 1000
    for module in (selection, filtered):
        monkeypatch.setattr(module, "BOOKMARK_EVENTS", FEW_EVENTS)
    await create_carols(store, "c-1")
    job = await store.create(new_job("a"))
    async with opened_hub(store) as hub, hub.subscribe(chosen=CAROLS) as stream:
        assert (await revisions(stream), stream.position) == ([1], None)
        assert (await revisions(stream, None), stream.position) == ([], 2)
        positions = [2]
        for _ in range(3):
            reading = asyncio.create_task(revisions(stream, None))
            while not reading.done():
                job = await change(store, job, f"after {job.revision}")
                await published(hub, job.revision)
            assert await reading == []
            assert stream.position is not None
            positions.append(stream.position)
        # The first comes somewhat earlier, so that streams which begin together do not get theirs together.
        assert 2 < positions[1] <= 2 + FEW_EVENTS
        assert [positions[2] - positions[1], positions[3] - positions[2]] == [FEW_EVENTS] * 2


async def test_where_nothing_exists_the_bookmark_comes_at_once(store: JobStore) -> None:
    await store.create(new_job("a"))
    async with opened_hub(store) as hub, hub.subscribe(chosen=CAROLS) as stream, asyncio.timeout(AT_MOST_SECONDS):
        assert (await revisions(stream, None), stream.position) == ([], 1)


async def test_a_bookmark_is_where_a_watch_goes_on(store: JobStore) -> None:
    async with opened_hub(store) as hub:
        async with hub.subscribe(after=0, chosen=CAROLS) as stream:
            for index in range(5):
                await store.create(new_job(f"a-{index}"))
            await published(hub, 5)
            assert (await revisions(stream, A_MOMENT), stream.position) == ([], 5)
        await create_carols(store, "c")
        async with hub.subscribe(after=5, chosen=CAROLS) as stream:
            assert await revisions(stream) == [6]


async def test_a_page_of_existing_jobs_covers_exactly_what_came_before_it(store: JobStore) -> None:
    jobs = [await create_carols(store, f"c-{index}") for index in range(3)]

    class MeanwhileStore(GuardedStore):
        """A job changes just before each page of one job is read, and just after it."""

        async def select(self, chosen: JobFilter, *, limit: int, after: int = 0, newest_first: bool = False):  # type: ignore[no-untyped-def]
            jobs[0] = await change(store, jobs[0], "before a page")
            page = await store.select(chosen, limit=limit, after=after, newest_first=newest_first)
            jobs[0] = await change(store, jobs[0], "after a page")
            return page

    async with opened_hub(MeanwhileStore(store), batch_events=1) as hub, hub.subscribe(chosen=CAROLS) as stream:
        existing = [(each.event.job.job_id, each.event.revision) for _ in range(3) for each in await stream.read()]
        assert existing == [("c-0", 4), ("c-1", 2), ("c-2", 3)]
        assert await read_through(stream, 9) == [5, 6, 7, 8, 9]


async def test_the_bookmark_after_existing_jobs_comes_once_the_hub_is_where_they_were_read(store: JobStore) -> None:
    slow = SlowStore(store, "read_log")
    async with opened_hub(slow) as hub, hub.subscribe(chosen=CAROLS) as stream:
        await store.create(new_job("a"))  # the page is of this revision, to which the hub has yet to come
        reading = asyncio.create_task(revisions(stream, None))
        await give_way(100)
        assert not reading.done()
        slow.release()
        assert await asyncio.wait_for(reading, AT_MOST_SECONDS) == []
        assert stream.position == 1


async def test_the_bookmark_after_existing_jobs_comes_where_the_hub_was_faster(store: JobStore) -> None:
    slow = SlowStore(store, "select")
    async with opened_hub(slow) as hub, hub.subscribe(chosen=CAROLS) as stream:
        reading = asyncio.create_task(revisions(stream, None))
        await give_way(10)
        await store.create(new_job("a"))
        await published(hub, 1)
        slow.release()  # the page is of this revision, and no more happens
        assert await asyncio.wait_for(reading, AT_MOST_SECONDS) == []
        assert stream.position == 1


async def test_a_filtered_stream_that_fell_out_of_the_log_ends_with_an_error(store: JobStore) -> None:
    for job_id in ("a", "b", "c", "d"):
        await create_carols(store, job_id)
    async with opened_hub(store, ring_events=1) as hub, hub.subscribe(after=1, chosen=CAROLS) as late:
        await store.truncate_log(2)
        with pytest.raises(LogTruncated) as ended:
            await late.read()
    assert ended.value.usable == 2


async def test_who_leaves_is_forgotten(store: JobStore) -> None:
    async with opened_hub(store) as hub:
        for _ in range(3):
            async with hub.subscribe(chosen=CAROLS), hub.subscribe(chosen=CAROLS), hub.subscribe(chosen=JobFilter()):
                await give_way(1)
        kept = vars(hub._selection)  # no stream shows what would leak
        assert [kept[name] for name in ("_groups", "_candidates", "_due", "_due_of")] == [{}] * 4


async def test_what_a_stream_does_not_want_is_not_what_it_lags_behind(store: JobStore) -> None:
    async with opened_hub(store) as hub, hub.subscribe(after=0, chosen=CAROLS) as stream:
        await store.create(new_job("a"))
        await published(hub, 1)
        assert hub.lags == [0]
        await create_carols(store, "c")
        await published(hub, 2)
        assert hub.lags == [2]
        assert await revisions(stream) == [2]
        assert hub.lags == [0]


@pytest.mark.hostile
@pytest.mark.parametrize("store_name", STORES)
def test_ten_thousand_streams_are_told_what_they_want(store_name: str, tmp_path: Path) -> None:
    async def tell(store: JobStore) -> None:
        async with opened_hub(store) as hub, AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(hub.subscribe(after=0, chosen=JobFilter(job_id_prefix=f"{index}-")))
                for index in range(10_000)
            ]
            reads = 0

            async def first(stream: WatchStream) -> int:
                nonlocal reads
                while not (found := await revisions(stream, None)):
                    reads += 1  # a bookmark
                return found[0]

            tasks = [asyncio.create_task(first(stream)) for stream in streams]
            await give_way(2)
            for number in range(100):
                await store.create(new_job(f"{number * 97}-x"))
            assert await asyncio.gather(*[tasks[number * 97] for number in range(100)]) == list(range(1, 101))
            assert sum(task.done() for task in tasks) == 100
            assert reads <= 1_000  # of a thousand events that pass, each is a tenth's turn
            for task in tasks:
                task.cancel()

    run_with_store(store_name, tmp_path, tell)
