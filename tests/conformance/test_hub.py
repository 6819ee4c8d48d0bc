"""What the hub promises to its streams (contracts.EventHub), each guarantee a test of its name, over every store."""

import asyncio
import gc
import logging
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from kusciajob.contracts import HubClosed, JobStore, Published, WatchStream
from kusciajob.events.hub import Hub
from kusciajob.events.stream import Stream
from kusciajob.model.errors import LogTruncated
from kusciajob.model.status import EventType, Job, JobEvent, JobSummary
from tests.support.builders import new_job
from tests.support.polling import eventually, give_way
from tests.support.stores import RECORDINGS, STORES, FaultyStore, GuardedStore, JitteryStore, SlowStore, open_store
from tests.support.streams import Recording, change, fold, is_increasing, opened_hub, record, state_at

AT_MOST_SECONDS = 60.0
"""What ends a test that hangs; what happens at once may take a while on a machine with much else to do."""

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
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Made once for all the tests that look at it."""
    name, seed = request.param
    return run_with_store(
        name,
        tmp_path_factory.mktemp("recording"),
        lambda store: record(store, seed=seed, watchers=6, writers=4, changes=60),
    )


def told(batch: Sequence[Published]) -> list[tuple[EventType, str, int]]:
    return [(published.event.type, published.event.job.job_id, published.event.revision) for published in batch]


async def create_jobs(store: JobStore, *job_ids: str) -> list[Job]:
    return [await store.create(new_job(job_id)) for job_id in job_ids]


async def next_one(stream: WatchStream) -> Published:
    (only,) = await stream.read()
    return only


async def read_all(stream: Stream) -> list[JobEvent]:
    """Everything up to the head of the hub; the last of the log may be nothing that this stream tells."""
    events: list[JobEvent] = []
    while stream.lag:
        events += [shared.event for shared in await stream.read(timeout=0.1)]
    return events


async def published(hub: Hub, revision: int) -> None:
    await eventually(lambda: hub.head >= revision)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What this program has logged: asyncio's debug mode adds warnings of its own on a slow machine."""
    ours = [record for record in caplog.records if record.name.startswith("kusciajob")]
    return [(record.levelname, record.getMessage()) for record in ours]


# The named guarantees


def test_ordered(recording: Recording) -> None:
    for history in recording.histories:
        assert is_increasing(history.live)
        assert history.live == [recording.log[event.revision - 1] for event in history.live]


def test_unique(recording: Recording) -> None:
    for history in recording.histories:
        replayed = {event.job.number: event.revision for event in history.replayed}
        assert len(replayed) == len(history.replayed)
        assert len({event.revision for event in history.live}) == len(history.live)
        for event in history.live:
            assert event.job.number > history.start or event.revision > replayed.get(event.job.number, 0)


def test_reliable(recording: Recording) -> None:
    stored = {job.number: job for job in recording.jobs}
    for history in recording.replays:
        assert fold(history) == stored
        assert all(event.job == state_at(recording.log, event.revision) for event in history.replayed)
        replayed = {event.job.number: event.revision for event in history.replayed}
        # Nothing between the replay and the end is left out, be it ever so short-lived.
        assert history.live == [
            event
            for event in recording.log[history.start :]
            if event.job.number > history.start or event.revision > replayed.get(event.job.number, event.revision)
        ]


def test_resumable(recording: Recording) -> None:
    for history in [*recording.resumed, *recording.pieces]:
        assert history.live == list(recording.log[history.start :])


def test_the_recordings_hold_what_is_hard(recording: Recording) -> None:
    """Else the tests above would prove nothing."""
    deleted = {event.job.number: event.revision for event in recording.log if event.type is EventType.DELETED}
    changed_meanwhile = deleted_meanwhile = 0
    for history in recording.replays:
        replayed = {event.job.number for event in history.replayed}
        changed_meanwhile += sum(event.revision > history.start for event in history.replayed)
        existed = {event.job.number for event in recording.log[: history.start] if event.type is EventType.ADDED}
        deleted_meanwhile += sum(deleted.get(number, 0) > history.start for number in existed - replayed)
    assert changed_meanwhile > 5
    assert deleted_meanwhile > 5


@pytest.mark.hostile
@pytest.mark.parametrize("store_name", STORES)
def test_bounded(store_name: str, tmp_path: Path) -> None:
    """10,000 events pass streams that do not read: next to nothing is kept for them, and they miss nothing."""
    run_with_store(store_name, tmp_path, let_ten_thousand_events_pass)


async def let_ten_thousand_events_pass(store: JobStore) -> None:
    jobs = await asyncio.gather(*(store.create(new_job(f"job-{index}")) for index in range(500)))
    async with opened_hub(store, ring_events=16, batch_events=32) as hub, AsyncExitStack() as stack:
        live = await stack.enter_async_context(hub.subscribe(after=hub.head))
        replaying = [await stack.enter_async_context(hub.subscribe()) for _ in range(100)]
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

        assert hub.lags == [10_000] * 101
        assert sum(trace.size for trace in kept.traces) < 10 * 1024  # 100 bytes per stream
        assert [event.revision for event in await read_all(live)] == list(range(501, 10_501))
        assert {len(page) for page in first_pages} == {32}
        rest = await read_all(replaying[0])
        assert {event.job.status.tasks[0].message for event in rest[:468]} == {"change 19"}
        # The jobs on the page that it read at first are the only ones of which it is told every change.
        assert [event.revision for event in rest[468:]] == [
            event.revision for event in await store.read_log(500, 10_000) if event.job.number <= 32
        ]


async def test_an_event_is_encoded_once_for_all_streams(store: JobStore) -> None:
    calls: list[tuple[EventType, int]] = []

    def encode(event: JobEvent) -> bytes:
        calls.append((event.type, event.revision))
        return event.job.job_id.encode()

    async with opened_hub(store) as hub, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(hub.subscribe()) for _ in range(30)]
        await create_jobs(store, "a", "b", "c")
        await published(hub, 3)
        streams += [await stack.enter_async_context(hub.subscribe()) for _ in range(30)]
        forms = [[shared.encoded(encode) for shared in await stream.read()] for stream in streams]
        other_form = [shared.encoded(lambda event: b"other") for shared in await streams[0].read(timeout=0)]

    assert forms == [[b"a", b"b", b"c"]] * 60
    assert other_form == []
    # Once as what happened, once as what exists.
    assert calls == [(EventType.ADDED, revision) for revision in (1, 2, 3)] * 2


async def test_each_form_is_encoded_apart(store: JobStore) -> None:
    async with opened_hub(store) as hub, hub.subscribe() as stream:
        await create_jobs(store, "a")
        (shared,) = await stream.read()

    assert shared.encoded(lambda event: b"one") == b"one"
    assert shared.encoded(lambda event: b"other") == b"other"


# Replay


async def test_an_empty_store_replays_nothing(store: JobStore) -> None:
    async with opened_hub(store) as hub, hub.subscribe() as stream:
        assert await stream.read(timeout=0.01) == []
        await create_jobs(store, "a")
        assert told(await stream.read()) == [(EventType.ADDED, "a", 1)]


async def test_existing_jobs_come_first_as_they_are(store: JobStore) -> None:
    jobs = await create_jobs(store, "a", "b", "c")
    await change(store, jobs[1], "waits", fault="broken")
    await store.delete(jobs[2])
    async with opened_hub(store) as hub, hub.subscribe() as stream:
        await create_jobs(store, "d")
        batch = [*await stream.read(), *await stream.read()]

    assert told(batch) == [(EventType.ADDED, "a", 1), (EventType.ADDED, "b", 5), (EventType.ADDED, "d", 7)]
    assert batch[1].event.job == (await store.summaries(["b"]))[0]


async def test_what_changes_between_two_pages_is_told_once(store: JobStore) -> None:
    """A job deleted unseen is never mentioned, one that took its id is new, a change that a page shows is not told."""
    told_of, gone, changed, replaced = await create_jobs(store, "told-of", "gone", "changed", "replaced")
    async with opened_hub(store, batch_events=1) as hub, hub.subscribe() as stream:
        first = told(await stream.read())
        await change(store, gone, "about to go")
        await store.delete(await store.get("gone"))
        await change(store, changed, "changed")  # 7
        await store.delete(replaced)
        await create_jobs(store, "replaced")  # 9
        await store.delete(told_of)  # 10
        rest = told([await next_one(stream) for _ in range(3)])
        assert await stream.read(timeout=0.01) == []

    assert first == [(EventType.ADDED, "told-of", 1)]
    assert rest == [
        (EventType.ADDED, "changed", 7),
        (EventType.ADDED, "replaced", 9),
        (EventType.DELETED, "told-of", 10),
    ]


async def test_what_changes_while_a_page_is_read_is_told_once(store: JobStore) -> None:
    jobs = await create_jobs(store, "changed", "gone", "changed-later")

    class MeanwhileStore(GuardedStore):
        """Its jobs change just before a page shows them, and once more just after."""

        async def page(self, after: int, limit: int) -> list[JobSummary]:
            job = jobs[0]
            for _ in range(4):
                job = await change(store, job, "before the page")  # 5 to 8
            await store.delete(jobs[1])  # 9
            page = await store.page(after, limit)
            await change(store, jobs[2], "after the page")  # 10
            return page

    # A page has room for the new job too and is thus the last; the events it covers take more than one batch.
    async with opened_hub(MeanwhileStore(store), batch_events=4) as hub, hub.subscribe() as stream:
        await create_jobs(store, "new")
        batches = [shared for _ in range(3) for shared in await stream.read()]
        assert await stream.read(timeout=0.01) == []

    assert told(batches) == [
        (EventType.ADDED, "changed", 8),
        (EventType.ADDED, "changed-later", 3),
        (EventType.ADDED, "new", 4),
        (EventType.MODIFIED, "changed-later", 10),
    ]


async def test_a_replay_ends_though_jobs_are_created_faster(store: JobStore) -> None:
    await create_jobs(store, "a", "b", "c")
    async with opened_hub(store, batch_events=1) as hub, hub.subscribe() as stream:
        seen = []
        for index in range(6):
            await create_jobs(store, f"x-{index}", f"y-{index}")
            await published(hub, 5 + 2 * index)
            seen += told(await stream.read())

    assert [revision for _, _, revision in seen] == [1, 2, 3, 4, 5, 6]


# Reading


async def test_nothing_new_is_an_empty_batch_and_loses_nothing(store: JobStore) -> None:
    async with opened_hub(store) as hub, hub.subscribe(after=0) as stream:
        assert await stream.read(timeout=0) == []
        assert await stream.read(timeout=0.01) == []
        await create_jobs(store, "a")
        assert told(await stream.read(timeout=AT_MOST_SECONDS)) == [(EventType.ADDED, "a", 1)]


async def test_a_stream_may_begin_ahead_of_the_hub(store: JobStore) -> None:
    async with opened_hub(store) as hub, hub.subscribe(after=2) as stream:
        await create_jobs(store, "a", "b")
        await published(hub, 2)
        assert await stream.read(timeout=0.01) == []
        await create_jobs(store, "c")
        assert told(await stream.read()) == [(EventType.ADDED, "c", 3)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_cancelled_read_loses_nothing(store: JobStore, seed: int) -> None:
    random = Random(seed)
    await create_jobs(store, *(f"old-{index}" for index in range(10)))
    jittery = JitteryStore(store, random)
    seen: list[str] = []
    cancelled = 0
    async with opened_hub(jittery, ring_events=2, batch_events=2) as hub, hub.subscribe() as stream:
        while len(seen) < 40:
            if hub.head < 40:
                await create_jobs(store, f"new-{hub.head}")
                await published(hub, await store.head())
            reading = asyncio.create_task(stream.read())
            if random.random() < 0.8:
                await give_way(random.randrange(8))
            else:  # a database answers after some time, not after some turns
                await asyncio.wait([reading], timeout=random.uniform(0, 0.02))
            reading.cancel()
            await asyncio.wait([reading])
            cancelled += reading.cancelled()
            if not reading.cancelled():
                seen += [shared.event.job.job_id for shared in reading.result()]

    assert seen == [f"old-{index}" for index in range(10)] + [f"new-{index}" for index in range(10, 40)]
    assert cancelled > 5


async def test_who_leaves_frees_everything_at_once(store: JobStore) -> None:
    await create_jobs(store, "a")
    async with opened_hub(store) as hub:
        async with hub.subscribe() as stream:
            await stream.read()
            reading = asyncio.create_task(stream.read())
            await give_way(3)
            assert hub.lags == [0]
            reading.cancel()
            await asyncio.wait([reading])
        left = weakref.ref(stream)
        del stream, reading
        gc.collect()

        assert hub.lags == []
        assert left() is None


async def test_lag_is_what_is_left_to_read(store: JobStore) -> None:
    async with opened_hub(store, batch_events=2) as hub, hub.subscribe(after=0) as stream, hub.subscribe(after=7):
        await create_jobs(store, "a", "b", "c")
        await published(hub, 3)
        assert sorted(hub.lags) == [0, 3]
        await stream.read()
        assert sorted(hub.lags) == [0, 1]
        assert hub.head == 3


# The end of the log, and of the hub


async def test_a_stream_that_fell_out_of_the_log_ends_with_an_error(store: JobStore) -> None:
    await create_jobs(store, "a", "b", "c", "d")
    async with opened_hub(store, ring_events=1) as hub, hub.subscribe(after=1) as late, hub.subscribe(after=2) as last:
        await store.truncate_log(2)

        with pytest.raises(LogTruncated):
            await late.read()
        assert [revision for _, _, revision in told(await last.read())] == [3, 4]


async def test_a_replay_that_fell_out_of_the_log_ends_with_an_error(store: JobStore) -> None:
    jobs = await create_jobs(store, "a", "b", "c")
    async with opened_hub(store, ring_events=1, batch_events=2) as hub, hub.subscribe() as stream:
        assert len(await stream.read()) == 2
        await change(store, await change(store, jobs[0], "once"), "twice")
        await published(hub, 5)
        await store.truncate_log(4)

        assert told(await stream.read()) == [(EventType.ADDED, "c", 3)]
        with pytest.raises(LogTruncated):
            await stream.read()


async def test_the_hub_survives_a_log_cut_beyond_what_it_had_published(store: JobStore) -> None:
    faulty = FaultyStore(store)
    async with opened_hub(faulty) as hub, hub.subscribe(after=0) as stream:
        faulty.fails = {"wait_log", "read_log"}
        await create_jobs(store, "a", "b", "c")
        await store.truncate_log(2)
        faulty.fails = set()
        await published(hub, 3)

        with pytest.raises(LogTruncated):
            await stream.read()
        async with hub.subscribe() as fresh:
            assert len(await fresh.read()) == 3
            await create_jobs(store, "d")
            assert told(await fresh.read()) == [(EventType.ADDED, "d", 4)]


async def test_a_failing_store_is_waited_for(store: JobStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kusciajob.events")
    faulty = FaultyStore(store)
    await create_jobs(store, "a", "b")
    async with opened_hub(faulty, ring_events=1) as hub, hub.subscribe() as replaying, hub.subscribe(after=0) as late:
        faulty.fails = {"head", "page", "wait_log", "read_log"}
        readings = [asyncio.create_task(stream.read()) for stream in (replaying, late)]
        await create_jobs(store, "c")
        await eventually(lambda: faulty.fail_at <= -8)
        assert not any(reading.done() for reading in readings)
        faulty.fails = set()

        assert told(await readings[0]) == [(EventType.ADDED, "a", 1), (EventType.ADDED, "b", 2)]
        assert told(await readings[1])[:2] == [(EventType.ADDED, "a", 1), (EventType.ADDED, "b", 2)]
        assert told(await replaying.read()) == [(EventType.ADDED, "c", 3)]
        await eventually(lambda: len(logged(caplog)) >= 2)

    (level, text), answered = logged(caplog)
    assert (level, text.startswith("watchers wait for the store: the test lets ")) == ("WARNING", True)
    assert answered == ("INFO", "the store answers again, watchers go on")


async def test_close_ends_every_stream_at_once(store: JobStore) -> None:
    await create_jobs(store, "a", "b")
    held = SlowStore(store, "page")
    async with opened_hub(held, ring_events=1) as hub, AsyncExitStack() as stack:
        waiting, replaying, unread = [
            await stack.enter_async_context(hub.subscribe(after=after)) for after in (2, None, 1)
        ]
        readings = [asyncio.create_task(stream.read()) for stream in (waiting, replaying)]
        await give_way(3)

        await hub.close()

        for read in (*readings, unread.read()):
            with pytest.raises(HubClosed, match=r"^the event hub is closed$"):
                await asyncio.wait_for(read, AT_MOST_SECONDS)
        with pytest.raises(HubClosed):
            async with hub.subscribe():
                pass
        await hub.wait_failed()


async def test_nobody_subscribes_before_the_hub_is_open(store: JobStore) -> None:
    with pytest.raises(HubClosed, match=r"^the event hub is not open yet$"):
        async with Hub(store).subscribe():
            pass


async def test_a_hub_that_was_never_opened_can_be_closed(store: JobStore) -> None:
    hub = Hub(store)
    await hub.close()
    with pytest.raises(HubClosed, match="the event hub is closed"):
        async with hub.subscribe():
            pass


async def test_an_unexpected_error_closes_the_streams_and_is_surfaced(
    store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenStore(GuardedStore):
        async def read_log(self, after: int, limit: int) -> Sequence[JobEvent]:
            raise ZeroDivisionError("a defect")

    # A replay may need the log as well, and find the defect itself.
    async with opened_hub(BrokenStore(store)) as hub, hub.subscribe(after=hub.head) as stream:
        reading = asyncio.create_task(stream.read())
        await create_jobs(store, "a")

        with pytest.raises(ZeroDivisionError, match="a defect"):
            await asyncio.wait_for(hub.wait_failed(), AT_MOST_SECONDS)
        for read in (reading, stream.read()):
            with pytest.raises(HubClosed, match="the event hub has died") as ended:
                await asyncio.wait_for(read, AT_MOST_SECONDS)
            assert isinstance(ended.value.__cause__, ZeroDivisionError)

    assert logged(caplog) == [("ERROR", "the event hub has died")]
