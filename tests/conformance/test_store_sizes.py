"""What every store promises of large jobs and of many bytes; see test_store for the rest."""

import asyncio

import pytest
from msgspec.structs import replace

from kusciajob.contracts import JobStore
from kusciajob.model import transitions
from kusciajob.model.errors import JobNotFound, LogTruncated
from kusciajob.model.job import Party, Task
from kusciajob.model.status import Job
from tests.support.builders import NOW, job_spec, new_job, task

LARGE = '{"ü": "\\u0000"}' * 20_000


def large_job(job_id: str = "large") -> Job:
    """Of three tasks, two of which have a large input."""
    tasks = [task("a", input_config=LARGE), task("b", input_config="small"), task("c", input_config=LARGE + "c")]
    return new_job(job_spec(job_id, tasks=tasks, custom_fields={"owner": "lab"}))


def wide_job(job_id: str, parties: int = 5_000) -> Job:
    """With a status of hundreds of KiB."""
    members = tuple(Party(f"domain-{number}") for number in range(parties))
    return new_job(job_spec(job_id, tasks=[Task("wide", "app", members)]))


async def test_a_job_with_large_inputs_is_read_back_as_it_was_given(store: JobStore) -> None:
    given = large_job()
    created = await store.create(given)
    assert created == replace(given, number=1, revision=1)
    changed = await store.replace(transitions.explain(created, 0, "waits"))
    for _ in range(2):
        assert await store.get("large") == changed
    assert await store.unfinished() == [changed]
    (await store.get("large")).spec.custom_fields.clear()
    assert (await store.get("large")).spec.custom_fields == {"owner": "lab"}


async def test_many_reads_of_a_large_job_beside_its_deletion_are_answered(store: JobStore) -> None:
    created = await store.create(large_job())
    results = await asyncio.gather(
        *(store.get("large") for _ in range(5)), store.delete(created), store.get("large"), return_exceptions=True
    )
    assert all(result == created or isinstance(result, JobNotFound | int) for result in results)
    with pytest.raises(JobNotFound):
        await store.get("large")
    again = await store.create(new_job("large"))
    assert await store.get("large") == again


async def test_large_statuses_are_read_back_from_every_place(store: JobStore) -> None:
    jobs = [await store.create(wide_job(f"wide-{number}")) for number in range(3)]
    summaries = [job.summary for job in jobs]
    assert await store.summaries([job.job_id for job in jobs]) == summaries
    assert [event.job for event in await store.read_log(0, 3)] == summaries
    assert await store.get("wide-1") == jobs[1]


async def test_lists_of_large_jobs_and_events_may_end_early_and_go_on(store: JobStore) -> None:
    jobs = [await store.create(wide_job(f"wide-{number}", 40_000)) for number in range(6)]
    told: list[str] = []
    while page := await store.page(len(told), 100):
        told += [job.job_id for job in page]
    assert told == [job.job_id for job in jobs]
    revisions: list[int] = []
    while events := await store.read_log(len(revisions), 100):
        revisions += [event.revision for event in events]
    assert revisions == [1, 2, 3, 4, 5, 6]


async def test_the_log_tells_what_to_forget_to_keep_within_its_bytes(store: JobStore) -> None:
    assert await store.log_excess(0) == 0
    for number in range(20):
        await store.create(new_job(f"job-{number}"))
    assert await store.log_excess(1 << 30) == 0
    sizes = [await store.log_excess(size) for size in (20_000, 10_000, 5_000)]
    assert 0 <= sizes[0] <= sizes[1] < sizes[2] < 20
    await store.truncate_log(sizes[2])
    assert await store.log_excess(5_000) == 0
    with pytest.raises(LogTruncated):
        await store.read_log(sizes[2] - 1, 100)


async def test_a_log_of_one_large_event_keeps_it(store: JobStore) -> None:
    await store.create(wide_job("wide"))
    await store.truncate_log(await store.log_excess(1))
    assert [event.revision for event in await store.read_log(0, 10)] == [1]


async def test_a_stored_time_is_kept(store: JobStore) -> None:
    assert (await store.create(wide_job("wide"))).status.created_at == NOW
