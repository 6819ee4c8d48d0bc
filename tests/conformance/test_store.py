"""What every store promises (contracts.JobStore), each promise a test of its name."""

import asyncio

import pytest
from msgspec.structs import replace

from kusciajob.contracts import JobStore
from kusciajob.model import transitions
from kusciajob.model.errors import (
    JobError,
    JobExists,
    JobNotFound,
    LogTruncated,
    StaleJob,
    StoreFailed,
    TaskExists,
    TaskNotFound,
)
from kusciajob.model.moves import Operation
from kusciajob.model.status import EventType, Job, JobEvent, JobState
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.polling import PATIENCE_SECONDS


def stopped(job: Job) -> Job:
    return transitions.request(job, Operation.STOP, by="alice", reason="enough", now=NOW + 1)


def explained(job: Job, text: str) -> Job:
    return transitions.explain(job, 0, text)


async def whole_log(store: JobStore) -> list[JobEvent]:
    return list(await store.read_log(0, 1_000_000))


async def test_a_created_job_is_read_back_as_it_was_given(store: JobStore) -> None:
    spec = job_spec(
        "job-1",
        tasks=[task("psi", input_config='{"ü": "\\u0000"}'), task("train", task_id="my-task", dependencies=["psi"])],
        custom_fields={"owner": "lab"},
    )
    given = new_job(spec)

    created = await store.create(given)

    assert created == replace(given, number=1, revision=1)
    assert await store.get("job-1") == created


async def test_an_unknown_job_is_named(store: JobStore) -> None:
    with pytest.raises(JobNotFound, match=r'^job "nowhere" not found$'):
        await store.get("nowhere")


async def test_nobody_shares_what_is_stored(store: JobStore) -> None:
    given = new_job(job_spec(custom_fields={"owner": "lab"}))
    await store.create(given)
    given.spec.custom_fields["owner"] = "thief"
    (await store.get("job-1")).spec.custom_fields.clear()

    assert (await store.get("job-1")).spec.custom_fields == {"owner": "lab"}
    (unfinished,) = await store.unfinished()
    unfinished.spec.custom_fields.clear()
    assert (await store.get("job-1")).spec.custom_fields == {"owner": "lab"}


async def test_a_taken_job_id_is_refused_and_nothing_is_kept(store: JobStore) -> None:
    first = await store.create(new_job(job_spec("job-1", tasks=[task(task_id="one")])))

    with pytest.raises(JobExists, match=r'^job "job-1" already exists$'):
        await store.create(new_job(job_spec("job-1", tasks=[task(task_id="two")])))

    assert await store.get("job-1") == first
    assert await store.head() == 1
    with pytest.raises(TaskNotFound):
        await store.job_of_task("two")


async def test_a_taken_task_id_is_refused_and_nothing_is_kept(store: JobStore) -> None:
    await store.create(new_job(job_spec("job-1", tasks=[task(task_id="shared")])))

    second = job_spec("job-2", tasks=[task("a", task_id="own"), task("b", task_id="shared")])
    with pytest.raises(JobExists, match=r'^task "shared" already exists: it belongs to job "job-1"$'):
        await store.create(new_job(second))

    with pytest.raises(JobNotFound):
        await store.get("job-2")
    assert await store.page(0, 10) == await store.summaries(["job-1"])
    assert await store.head() == 1
    assert await store.job_of_task("shared") == "job-1"
    assert (await store.create(new_job(job_spec("job-2", tasks=[task(task_id="own")])))).number == 2


async def test_a_task_id_used_twice_in_one_job_is_refused(store: JobStore) -> None:
    generated_twice = job_spec("job-1", tasks=[task("a"), task("b", task_id="job-1-a")])

    with pytest.raises(JobExists, match=r'^task "job-1-a" already exists: it belongs to job "job-1"$'):
        await store.create(new_job(generated_twice))

    assert await whole_log(store) == []
    assert await store.page(0, 10) == []


async def test_a_refused_call_leaves_those_beside_it_alone(store: JobStore) -> None:
    await store.create(new_job("taken"))
    stale = replace(await store.get("taken"), revision=77)

    results = await asyncio.gather(
        store.create(new_job("before")),
        store.create(new_job("taken")),
        store.create(new_job(job_spec("thief", tasks=[task(task_id="taken-psi")]))),
        store.replace(stale),
        store.create(new_job("after")),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [Job, JobExists, TaskExists, StaleJob, Job]
    assert [event.job.job_id for event in await whole_log(store)] == ["taken", "before", "after"]
    assert [event.revision for event in await whole_log(store)] == [1, 2, 3]


async def test_summaries_come_in_the_order_asked_for(store: JobStore) -> None:
    jobs = {job_id: await store.create(new_job(job_id)) for job_id in ("a", "b", "c")}

    assert await store.summaries(["c", "a", "c"]) == [jobs["c"].summary, jobs["a"].summary, jobs["c"].summary]
    assert await store.summaries([]) == []


async def test_summaries_name_all_that_are_missing(store: JobStore) -> None:
    await store.create(new_job("a"))

    with pytest.raises(JobNotFound) as caught:
        await store.summaries(["z", "a", "y", "z"])

    assert caught.value.job_ids == ("z", "y")


async def test_pages_follow_each_other_oldest_first(store: JobStore) -> None:
    jobs = [await store.create(new_job(job_id)) for job_id in ("c", "a", "b", "d")]
    await store.delete(jobs[1])

    first = await store.page(0, 2)
    second = await store.page(first[-1].number, 2)

    assert [summary.job_id for summary in first + second] == ["c", "b", "d"]
    assert first[0] == jobs[0].summary
    assert await store.page(second[-1].number, 2) == []


async def test_unfinished_are_all_that_are_not_over_oldest_first(store: JobStore) -> None:
    pending = await store.create(new_job("z"))
    ended = await store.replace(stopped(await store.create(new_job("b"))))
    awaiting = await store.create(new_job("a", awaited=("bob",)))

    assert ended.status.state is JobState.FAILED
    assert await store.unfinished() == [pending, awaiting]
    await store.delete(pending)
    assert await store.unfinished() == [awaiting]


async def test_missing_are_the_numbers_without_a_job(store: JobStore) -> None:
    jobs = [await store.create(new_job(job_id)) for job_id in ("a", "b")]
    await store.delete(jobs[0])

    assert await store.missing([1, 2, 99]) == {1, 99}
    assert await store.missing({2}) == set()
    assert await store.missing([]) == set()


async def test_a_change_is_kept_and_logged_with_the_next_revision(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))

    changed = await store.replace(explained(created, "waiting"))

    assert changed == replace(explained(created, "waiting"), revision=2)
    assert await store.get("job-1") == changed
    assert await whole_log(store) == [
        JobEvent(1, EventType.ADDED, created.summary),
        JobEvent(2, EventType.MODIFIED, changed.summary),
    ]


async def test_a_change_to_an_older_revision_is_stale(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))
    changed = await store.replace(explained(created, "first"))

    with pytest.raises(StaleJob, match=r'^job "job-1" is at revision 2, the change was made to revision 1$'):
        await store.replace(explained(created, "second"))
    with pytest.raises(StaleJob):
        await store.delete(created)

    assert await store.get("job-1") == changed
    assert await store.head() == 2


async def test_of_concurrent_changes_to_one_revision_one_is_kept(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))

    results = await asyncio.gather(
        *(store.replace(explained(created, f"writer {number}")) for number in range(10)), return_exceptions=True
    )

    (kept,) = [result for result in results if isinstance(result, Job)]
    assert sum(isinstance(result, StaleJob) for result in results) == 9
    assert await store.get("job-1") == kept
    assert await store.head() == 2


async def test_what_a_job_has_passed_on_the_way_is_logged_before_the_change(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))
    waiting, ended = explained(created, "waiting"), stopped(created)

    changed = await store.replace(ended, passed=[created.status, waiting.status], fault="fork failed")

    assert changed == await store.get("job-1") == replace(ended, revision=5)
    told = (await whole_log(store))[1:]
    assert [event.revision for event in told] == [event.job.revision for event in told] == [2, 3, 4, 5]
    assert [event.type for event in told] == [EventType.MODIFIED] * 3 + [EventType.ERROR]
    assert [event.job.status for event in told] == [created.status, waiting.status, ended.status, ended.status]
    assert [event.before for event in told] == [None, None, created.status.phase, None]


async def test_nothing_that_a_job_has_passed_is_logged_of_a_change_that_is_refused(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))
    await store.replace(explained(created, "first"))

    with pytest.raises(StaleJob):
        await store.replace(stopped(created), passed=[explained(created, "second").status])

    assert await store.head() == 2
    assert (await store.create(new_job("job-2"))).revision == 3


async def test_a_fault_is_logged_as_an_error_after_the_change(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))

    changed = await store.replace(created, fault="fork failed")

    modified, error = (await whole_log(store))[1:]
    assert (modified.revision, modified.type, modified.job.status.message) == (2, EventType.MODIFIED, "")
    assert (error.revision, error.type, error.job.status.message) == (3, EventType.ERROR, "fork failed")
    assert (await store.get("job-1")).status.message == ""
    assert await store.get("job-1") == changed


async def test_an_error_shows_the_message_that_the_job_has(store: JobStore) -> None:
    ended = stopped(await store.create(new_job("job-1")))

    await store.replace(ended, fault="fork failed")

    assert ended.status.message
    assert (await whole_log(store))[-1].job.status == ended.status


async def test_a_job_has_the_revision_of_its_newest_event_and_can_be_changed_from_there(store: JobStore) -> None:
    faulty = await store.replace(await store.create(new_job("job-1")), fault="fork failed")
    assert faulty.revision == await store.head() == 3

    changed = await store.replace(explained(faulty, "again"))

    assert changed.revision == 4
    assert [event.job.revision for event in await whole_log(store)] == [1, 2, 3, 4]


async def test_a_deleted_job_is_gone_and_its_last_status_is_logged(store: JobStore) -> None:
    ended = await store.replace(stopped(await store.create(new_job("job-1"))))

    assert await store.delete(ended) == 3

    event = (await whole_log(store))[-1]
    assert event == JobEvent(3, EventType.DELETED, replace(ended, revision=3).summary)
    for read in (store.get("job-1"), store.summaries(["job-1"])):
        with pytest.raises(JobNotFound):
            await read
    with pytest.raises(TaskNotFound):
        await store.job_of_task("job-1-psi")
    assert await store.page(0, 10) == []


async def test_a_deleted_job_is_not_found_by_later_changes(store: JobStore) -> None:
    created = await store.create(new_job("job-1"))
    await store.delete(created)

    with pytest.raises(JobNotFound, match="job-1"):
        await store.replace(created)
    with pytest.raises(JobNotFound, match="job-1"):
        await store.delete(created)


async def test_the_same_id_created_again_is_another_job(store: JobStore) -> None:
    old = await store.create(new_job("job-1"))
    await store.delete(old)

    new = await store.create(new_job("job-1"))

    assert (old.number, new.number) == (1, 3)
    assert await store.missing([1, 3]) == {1}
    assert await store.job_of_task("job-1-psi") == "job-1"
    with pytest.raises(JobNotFound):
        await store.replace(explained(old, "late"))
    with pytest.raises(JobNotFound):
        await store.delete(old)
    assert await store.get("job-1") == new


async def test_a_task_leads_to_its_job(store: JobStore) -> None:
    await store.create(new_job(job_spec("job-1", tasks=[task("a"), task("b", task_id="mine")])))

    assert await store.job_of_task("job-1-a") == "job-1"
    assert await store.job_of_task("mine") == "job-1"
    with pytest.raises(TaskNotFound, match='task "nowhere" not found'):
        await store.job_of_task("nowhere")


async def test_revisions_have_no_gaps_under_concurrent_writers(store: JobStore) -> None:
    async def life(number: int) -> None:
        job = await store.create(new_job(f"job-{number}"))
        job = await store.replace(explained(job, "waiting"))
        with pytest.raises(JobError):
            await store.create(new_job(f"job-{number}"))
        job = await store.replace(job, fault="fork failed")
        if number % 2:
            await store.delete(job)

    await asyncio.gather(*(life(number) for number in range(50)))

    log = await whole_log(store)
    assert [event.revision for event in log] == list(range(1, 50 * 4 + 25 + 1))
    assert await store.head() == len(log)
    by_number: dict[int, list[EventType]] = {}
    for event in log:
        by_number.setdefault(event.job.number, []).append(event.type)
    kept = [EventType.ADDED, EventType.MODIFIED, EventType.MODIFIED, EventType.ERROR]
    assert sorted(by_number.values()) == [kept] * 25 + [[*kept, EventType.DELETED]] * 25
    # The log and the jobs tell the same story.
    stored = {summary.number: summary for summary in await store.page(0, 100)}
    assert set(stored) == {number for number, kinds in by_number.items() if kinds == kept}
    last = {event.job.number: event.revision for event in log}
    assert {number: summary.revision for number, summary in stored.items()} == {
        number: last[number] for number in stored
    }


async def test_the_log_is_read_in_parts_from_any_revision(store: JobStore) -> None:
    for number in range(5):
        await store.create(new_job(f"job-{number}"))

    assert [event.revision for event in await store.read_log(0, 2)] == [1, 2]
    assert [event.revision for event in await store.read_log(2, 2)] == [3, 4]
    assert [event.revision for event in await store.read_log(4, 2)] == [5]
    assert list(await store.read_log(5, 2)) == []
    assert list(await store.read_log(99, 2)) == []


async def test_an_empty_log_has_head_0(store: JobStore) -> None:
    assert await store.head() == 0
    assert await whole_log(store) == []
    await store.truncate_log(10)
    assert (await store.create(new_job())).revision == 1


async def test_reading_what_is_truncated_is_refused(store: JobStore) -> None:
    for number in range(5):
        await store.create(new_job(f"job-{number}"))

    await store.truncate_log(3)

    for after in (0, 2):
        with pytest.raises(LogTruncated, match=f"begins at revision 4: what followed revision {after} "):
            await store.read_log(after, 10)
    assert [event.revision for event in await store.read_log(3, 10)] == [4, 5]
    assert len(await store.page(0, 10)) == 5


async def test_truncating_again_or_less_changes_nothing(store: JobStore) -> None:
    for number in range(5):
        await store.create(new_job(f"job-{number}"))
    await store.truncate_log(3)

    await store.truncate_log(3)
    await store.truncate_log(0)

    assert [event.revision for event in await store.read_log(3, 10)] == [4, 5]


async def test_the_newest_event_is_always_kept(store: JobStore) -> None:
    job = await store.create(new_job("job-1"))
    await store.delete(job)

    await store.truncate_log(1_000)

    assert await store.head() == 2
    assert [event.type for event in await store.read_log(1, 10)] == [EventType.DELETED]
    assert (await store.create(new_job("job-1"))).number == 3


async def test_a_waiter_of_the_log_wakes_when_something_is_committed(store: JobStore) -> None:
    waiters = [asyncio.create_task(store.wait_log(0)) for _ in range(3)]
    await asyncio.wait(waiters, timeout=0.05)
    assert not any(waiter.done() for waiter in waiters)

    await store.create(new_job())

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*waiters)
    assert len(await store.read_log(0, 10)) == 1


async def test_waiting_for_what_is_there_returns_at_once(store: JobStore) -> None:
    await store.create(new_job())

    async with asyncio.timeout(PATIENCE_SECONDS):
        await store.wait_log(0)


async def test_a_cancelled_waiter_leaves_the_others_waiting(store: JobStore) -> None:
    cancelled, other = (asyncio.create_task(store.wait_log(0)) for _ in range(2))
    await asyncio.wait([cancelled, other], timeout=0.05)
    cancelled.cancel()

    await store.create(new_job())

    async with asyncio.timeout(PATIENCE_SECONDS):
        await other
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_follower_misses_nothing(store: JobStore) -> None:
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 200:
            await store.wait_log(len(seen))
            seen.extend(event.revision for event in await store.read_log(len(seen), 7))

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(follow())
        for number in range(200):
            group.create_task(store.create(new_job(f"job-{number}")))

    assert seen == list(range(1, 201))


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancelled_change_is_done_as_a_whole_or_not_at_all(store: JobStore, steps: int) -> None:
    created = await store.create(new_job("job-1"))
    beside = asyncio.create_task(store.create(new_job("beside")))
    cancelled = [
        asyncio.create_task(store.create(new_job("job-2"))),
        asyncio.create_task(store.replace(created, fault="fork failed")),
    ]
    for _ in range(steps):
        await asyncio.wait(cancelled, timeout=0)
    for change in cancelled:
        change.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
    await beside
    await store.create(new_job("after"))  # whatever was accepted is committed by now

    log = await whole_log(store)
    assert [event.revision for event in log] == list(range(1, len(log) + 1))
    kinds: dict[str, list[EventType]] = {}
    for event in log:
        kinds.setdefault(event.job.job_id, []).append(event.type)
    assert kinds["job-1"] in ([EventType.ADDED], [EventType.ADDED, EventType.MODIFIED, EventType.ERROR])
    assert (await store.get("job-1")).revision == max(e.revision for e in log if e.job.job_id == "job-1")
    assert {summary.job_id for summary in await store.page(0, 10)} == set(kinds)
    assert set(kinds) - {"job-2"} == {"job-1", "beside", "after"}


async def test_closing_finishes_what_was_accepted(store: JobStore) -> None:
    creating = [asyncio.create_task(store.create(new_job(f"job-{number}"))) for number in range(20)]
    await asyncio.wait(creating, timeout=0)

    await store.close()

    assert sorted(job.number for job in await asyncio.gather(*creating)) == list(range(1, 21))


async def test_a_closed_store_wakes_waiters_and_fails_calls(store: JobStore) -> None:
    waiter = asyncio.create_task(store.wait_log(0))
    await asyncio.wait([waiter], timeout=0)

    await store.close()
    await store.close()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiter
        await store.wait_log(0)
    for call in (store.create(new_job()), store.get("job-1"), store.page(0, 1), store.truncate_log(1)):
        with pytest.raises(StoreFailed):
            await call


async def test_the_jobs_of_an_initiator_are_counted(store: JobStore) -> None:
    first = await store.create(new_job(job_spec("a", initiator="alice")))
    await store.create(new_job(job_spec("b", initiator="alice")))
    await store.create(new_job(job_spec("c", initiator="bob")))
    await store.replace(stopped(first))
    assert [await store.initiated_by(domain) for domain in ("alice", "bob", "carol")] == [2, 1, 0]
    await store.delete(await store.get("a"))
    with pytest.raises(JobExists):
        await store.create(new_job(job_spec("b", initiator="alice")))
    assert [await store.initiated_by(domain) for domain in ("alice", "bob", "carol")] == [1, 1, 0]
