"""What is forgotten with time, and what is not."""

import pytest
from msgspec.structs import replace

from kusciajob.contracts import JobStore
from kusciajob.model import transitions
from kusciajob.model.errors import LogTruncated
from kusciajob.model.history import AuditEntry
from kusciajob.model.moves import Operation
from kusciajob.model.status import EventType, JobState
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases import retention
from kusciajob.usecases.retention import DAY_SECONDS, HOUR_SECONDS, Retention
from tests.support.builders import job_spec, new_job
from tests.support.clock import ManualClock


async def finish(store: JobStore, job_id: str, clock: ManualClock) -> None:
    job = await store.create(new_job(job_id, now=clock.now()))
    await store.replace(transitions.request(job, Operation.STOP, by="alice", reason="", now=clock.now()))


async def ids(store: JobStore) -> list[str]:
    return [job.job_id for job in await store.page(0, 1000)]


def kept(store: JobStore, clock: ManualClock, *, days: float = 0, events: int = 0, hours: float = 0) -> Retention:
    return Retention(store=store, clock=clock, job_days=days, log_events=events, log_hours=hours)


async def test_finished_jobs_go_after_their_days_and_their_watchers_are_told() -> None:
    store, clock = MemoryStore(), ManualClock()
    await finish(store, "old", clock)
    await store.create(new_job("waiting", now=clock.now()))
    clock.advance(29 * DAY_SECONDS)
    await finish(store, "young", clock)
    keeper = kept(store, clock, days=30)
    await keeper.round()
    assert await ids(store) == ["old", "waiting", "young"]
    clock.advance(DAY_SECONDS + 1)
    head = await store.head()
    await keeper.round()
    assert await ids(store) == ["waiting", "young"]
    (event,) = await store.read_log(head, 10)
    assert (event.type, event.job.job_id) == (EventType.DELETED, "old")


async def test_a_round_looks_at_so_many_jobs_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "JOBS_PER_ROUND", 4)
    store, clock = MemoryStore(), ManualClock()
    for number in range(10):
        await finish(store, f"job-{number}", clock)
    clock.advance(2 * DAY_SECONDS)
    keeper = kept(store, clock, days=1)
    left = []
    for _ in range(3):
        await keeper.round()
        left.append(len(await ids(store)))
    assert left == [6, 2, 0]
    await finish(store, "later", clock)
    clock.advance(2 * DAY_SECONDS)
    await keeper.round()
    assert await ids(store) == []


async def test_the_log_keeps_so_many_events() -> None:
    store, clock = MemoryStore(), ManualClock()
    for number in range(10):
        await store.create(new_job(f"job-{number}"))
    await kept(store, clock, events=4).round()
    assert [event.revision for event in await store.read_log(6, 100)] == [7, 8, 9, 10]
    with pytest.raises(LogTruncated):
        await store.read_log(5, 100)


async def test_the_log_keeps_events_so_long_and_not_much_longer() -> None:
    store, clock = MemoryStore(), ManualClock()
    keeper = kept(store, clock, hours=64)
    for hour in range(200):
        await store.create(new_job(f"job-{hour}"))
        await keeper.round()
        clock.advance(HOUR_SECONDS)
    # At the last round, hour 199, event n was (200 - n) hours old.
    with pytest.raises(LogTruncated):
        await store.read_log(200 - 64 - 2, 100)
    assert len(await store.read_log(200 - 64, 100)) == 64


async def test_zero_keeps_for_ever() -> None:
    store, clock = MemoryStore(), ManualClock()
    await finish(store, "old", clock)
    clock.advance(10_000 * DAY_SECONDS)
    await kept(store, clock).round()
    assert await ids(store) == ["old"]
    assert len(await store.read_log(0, 10)) == 2


async def test_audit_entries_go_by_age_and_number() -> None:
    store, clock = MemoryStore(), ManualClock()

    async def called() -> list[str]:
        return [entry.subject for entry in await store.audit(limit=100)]

    for day in range(6):
        await store.note(AuditEntry(clock.now(), "alice", "", "StopJob", f"job-{day}"))
        clock.advance(DAY_SECONDS)

    def keeper(*, days: float = 0.0, entries: int = 0) -> Retention:
        return Retention(
            store=store,
            clock=clock,
            job_days=0,
            log_events=0,
            log_hours=0,
            audit_days=days,
            audit_entries=entries,
        )

    await keeper().round()
    assert len(await called()) == 6
    await keeper(days=4.5).round()
    assert await called() == ["job-5", "job-4", "job-3", "job-2"]
    await keeper(entries=2).round()
    assert await called() == ["job-5", "job-4"]


async def test_all_jobs_whose_time_is_over_go_in_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "JOBS_PER_ROUND", 3)
    store, clock = MemoryStore(), ManualClock()
    for number in range(8):
        spec = replace(job_spec(f"job-{number}"), ttl_seconds=50.0, deadline_seconds=100.0)
        await store.create(new_job(spec, awaited=("bob",), now=clock.now()))
    keeper = kept(store, clock)
    clock.advance(100)
    await keeper.round()
    assert {job.status.state for job in await store.page(0, 100)} == {JobState.FAILED}
    clock.advance(50)
    await keeper.round()
    assert await ids(store) == []
