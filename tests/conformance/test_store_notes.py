"""What every store keeps beside jobs: their history and attempts, the audit of calls, and AppImages."""

import asyncio

import pytest
from msgspec.structs import replace

from kusciajob.contracts import JobStore
from kusciajob.model.errors import JobExists, JobNotFound, StaleJob, StoreFailed
from kusciajob.model.history import (
    MAX_ATTEMPTS_KEPT,
    MAX_HISTORY_ENTRIES,
    Attempt,
    AuditEntry,
    HistoryEntry,
    HistoryEvent,
    Notes,
)
from kusciajob.model.status import PartyStatus, TaskState
from kusciajob.store import kept
from tests.support.builders import NOW, new_job

CREATED = HistoryEntry(HistoryEvent.CREATED, NOW, caller="alice", peer="10.0.0.1")
STOPPED = HistoryEntry(HistoryEvent.STOPPED, NOW + 1, caller="bob", reason="enough ü\0")
CALL = AuditEntry(NOW, "alice", "10.0.0.1", "CreateJob", "job-1")


def attempt(number: int, *, task: int = 0, message: str = "") -> Attempt:
    parties = (PartyStatus("alice", state=TaskState.FAILED, exit_code=3),)
    return Attempt(task, number, TaskState.FAILED, NOW, NOW + 1, NOW + 2, message, parties)


async def audited(store: JobStore, limit: int = 100, **wanted: float | str) -> list[str]:
    """The subjects of the entries, newest first."""
    return [entry.subject for entry in await store.audit(limit=limit, **wanted)]  # type: ignore[arg-type]


async def test_what_is_noted_of_a_change_is_kept_with_the_revision_of_its_commit(store: JobStore) -> None:
    notes = Notes(history=(CREATED,), audit=CALL)
    job = await store.create(new_job("job-1"), notes=notes)
    faulty = await store.replace(job, fault="fork failed", notes=Notes((STOPPED,), (attempt(1), attempt(2))))

    told = await store.history(job.number, after=0, limit=10)
    assert [entry for _, entry in told] == [replace(CREATED, revision=1), replace(STOPPED, revision=faulty.revision)]
    positions = [position for position, _ in told]
    assert 0 < positions[0] < positions[1]
    assert await store.history(job.number, after=0, limit=1) == list(told[:1])
    assert await store.history(job.number, after=positions[0], limit=10) == list(told[1:])
    assert list(await store.attempts(job.number)) == [attempt(1), attempt(2)]
    assert [replace(entry, id=0) for entry in await store.audit(limit=10)] == [CALL]
    assert await store.history(99, after=0, limit=10) == [] == list(await store.attempts(99))


async def test_nothing_is_noted_of_a_change_that_is_refused(store: JobStore) -> None:
    job = await store.create(new_job("job-1"))
    notes = Notes((CREATED,), (attempt(1),), CALL)
    for refused, error in (
        (store.create(new_job("job-1"), notes=notes), JobExists),
        (store.replace(replace(job, revision=9), notes=notes), StaleJob),
        (store.delete(replace(job, number=9), notes=notes), JobNotFound),
    ):
        with pytest.raises(error):
            await refused
    assert list(await store.history(job.number, after=0, limit=10)) == []
    assert list(await store.attempts(job.number)) == []
    assert list(await store.audit(limit=10)) == []


async def test_history_and_attempts_go_with_their_job_and_its_audit_stays(store: JobStore) -> None:
    job = await store.create(new_job("job-1"), notes=Notes((CREATED,), (attempt(1),), CALL))
    other = await store.create(new_job("job-2"), notes=Notes((CREATED,), (attempt(1),)))
    await store.delete(job, notes=Notes((STOPPED,), (), replace(CALL, method="DeleteJob")))

    assert list(await store.history(job.number, after=0, limit=10)) == []
    assert list(await store.attempts(job.number)) == []
    assert len(await store.history(other.number, after=0, limit=10)) == len(await store.attempts(other.number)) == 1
    assert [entry.method for entry in await store.audit(limit=10, subject="job-1")] == ["DeleteJob", "CreateJob"]


async def test_history_survives_the_truncation_of_the_log(store: JobStore) -> None:
    job = await store.create(new_job("job-1"), notes=Notes((CREATED,)))
    job = await store.replace(job, notes=Notes((STOPPED,)))
    await store.truncate_log(job.revision)
    assert len(await store.history(job.number, after=0, limit=10)) == 2


async def test_of_a_long_history_the_oldest_progress_and_repeats_go_first(store: JobStore) -> None:
    job = await store.create(new_job("job-1"), notes=Notes((CREATED,)))
    once = [HistoryEntry(HistoryEvent.TASK_FAILED, NOW, alias=f"t{number}") for number in range(100)]
    job = await store.replace(job, notes=Notes(tuple(once)))
    waits = [HistoryEntry(HistoryEvent.TASK_WAITING, NOW + number, alias="t0") for number in range(500)]
    progress = [HistoryEntry(HistoryEvent.TASK_PROGRESSED, NOW, progress=number / 1000) for number in range(1000)]
    for start in range(0, 1000, 50):
        told = (*waits[start // 2 : start // 2 + 25], *progress[start : start + 50])
        job = await store.replace(job, notes=Notes(told))

    entries = [replace(entry, revision=0) for _, entry in await store.history(job.number, after=0, limit=10_000)]
    assert MAX_HISTORY_ENTRIES - kept.HISTORY_SLACK <= len(entries) <= MAX_HISTORY_ENTRIES
    assert entries[:101] == [CREATED, *once]
    assert entries[-1] == progress[-1]
    rest = {entry.event for entry in entries[101:]}
    assert rest == {HistoryEvent.TASK_WAITING, HistoryEvent.TASK_PROGRESSED}
    assert waits[-1] in entries
    assert waits[0] not in entries
    assert progress[0] not in entries


async def test_where_nothing_is_told_twice_the_oldest_goes_but_the_creation(store: JobStore) -> None:
    job = await store.create(new_job("job-1"), notes=Notes((CREATED,)))
    told = [HistoryEntry(HistoryEvent.PARTY_STARTED, NOW, alias=f"t{number}") for number in range(1100)]
    for start in range(0, 1100, 100):
        job = await store.replace(job, notes=Notes(tuple(told[start : start + 100])))
    entries = [replace(entry, revision=0) for _, entry in await store.history(job.number, after=0, limit=10_000)]
    assert len(entries) <= MAX_HISTORY_ENTRIES
    assert entries == [CREATED, *told[-len(entries) + 1 :]]


async def test_so_many_attempts_of_a_task_are_kept_the_newest(store: JobStore) -> None:
    job = await store.create(new_job("job-1"))
    job = await store.replace(job, notes=Notes(attempts=(attempt(1, task=1),)))
    for number in range(1, MAX_ATTEMPTS_KEPT + 3):
        job = await store.replace(job, notes=Notes(attempts=(attempt(number),)))
    told = await store.attempts(job.number)
    assert told[0] == attempt(1, task=1)
    assert [each.number for each in told[1:]] == list(range(3, MAX_ATTEMPTS_KEPT + 3))


async def test_attempts_take_bounded_space(store: JobStore) -> None:
    job = await store.create(new_job("job-1"))
    for number in range(1, 8):
        job = await store.replace(job, notes=Notes(attempts=(attempt(number, message="x" * 1_000_000),)))
    assert [each.number for each in await store.attempts(job.number)] == [4, 5, 6, 7]
    job = await store.replace(job, notes=Notes(attempts=(attempt(8, message="x" * 5_000_000),)))
    assert [each.number for each in await store.attempts(job.number)] == [8]


async def test_audit_entries_are_told_newest_first_by_caller_subject_and_time(store: JobStore) -> None:
    for number in range(6):
        caller = "alice" if number % 2 else "bob"
        await store.note(
            replace(CALL, at=NOW + number, caller=caller, subject=f"job-{number}", code=11202, reason="no")
        )

    entries = await store.audit(limit=100)
    assert [entry.subject for entry in entries] == [f"job-{number}" for number in range(5, -1, -1)]
    assert [entry.id for entry in entries] == sorted((entry.id for entry in entries), reverse=True)
    assert (entries[0].code, entries[0].reason) == (11202, "no")
    assert await audited(store, 2) == ["job-5", "job-4"]
    assert await audited(store, 2, before=entries[1].id) == ["job-3", "job-2"]
    assert await audited(store, caller="alice") == ["job-5", "job-3", "job-1"]
    assert await audited(store, caller="alice", subject="job-3") == ["job-3"]
    assert await audited(store, caller="bob", subject="job-3") == []
    assert await audited(store, since=NOW + 2, until=NOW + 4) == ["job-3", "job-2"]
    assert await audited(store, caller="alice", since=NOW + 2, until=NOW + 4, before=entries[1].id) == ["job-3"]
    assert await store.head() == 0


async def test_audit_entries_are_dropped_by_age_and_by_number(store: JobStore) -> None:
    await asyncio.gather(
        *(store.note(replace(CALL, at=NOW + number, subject=f"job-{number}")) for number in range(2500))
    )
    await store.forget_audit(before=0, keep=0)
    assert len(await store.audit(limit=10_000)) == 2500
    await store.forget_audit(before=0, keep=1200)
    assert len(await store.audit(limit=10_000)) == 1200
    await store.forget_audit(before=NOW + 2490, keep=1200)
    assert await audited(store) == [f"job-{number}" for number in range(2499, 2489, -1)]
    await store.forget_audit(before=NOW + 1e6, keep=0)
    assert await audited(store) == []
    await store.note(CALL)
    assert await audited(store) == ["job-1"]


async def test_app_images_are_kept_as_they_were_given(store: JobStore) -> None:
    assert dict(await store.app_images()) == {}
    call = replace(CALL, method="CreateAppImage", subject="psi")
    await store.put_app_image("psi", b"\xff\x00 one", notes=Notes(audit=call))
    await store.put_app_image("train", b"{}")
    await store.put_app_image("psi", b"two")
    assert dict(await store.app_images()) == {"psi": b"two", "train": b"{}"}
    await store.put_app_image("psi", None, notes=Notes(audit=replace(call, method="DeleteAppImage")))
    await store.put_app_image("psi", None)
    assert dict(await store.app_images()) == {"train": b"{}"}
    assert [entry.method for entry in await store.audit(limit=9)] == ["DeleteAppImage", "CreateAppImage"]


async def test_a_closed_store_keeps_and_tells_nothing_of_this(store: JobStore) -> None:
    await store.close()
    for call in (
        store.note(CALL),
        store.audit(limit=1),
        store.history(1, after=0, limit=1),
        store.attempts(1),
        store.app_images(),
        store.put_app_image("psi", b""),
        store.expired(NOW, 1),
    ):
        with pytest.raises(StoreFailed):
            await call
