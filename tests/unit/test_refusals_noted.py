"""A refusal is in the audit before the caller has its answer, and a store that fails keeps nobody from the answer."""

import asyncio
from typing import Any

import pytest

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.calls.refusals import noting
from kusciajob.api.calls.v1.questions import QuestionCalls
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import NotAllowed
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.refusals import MAX_REASON_CHARACTERS, MAX_SUBJECT_CHARACTERS, RefusalLog
from kusciajob.wire.status import Code
from tests.support.questions import QuestionHouse
from tests.support.requests import job_request
from tests.support.stores import FaultyStore, SlowStore

METHODS = pb.DESCRIPTOR.services_by_name["JobsService"].methods_by_name
BOB = Caller("bob")


def submit(house: QuestionHouse, store: Any) -> Any:
    calls: QuestionCalls = house.calls
    return noting(METHODS["SubmitJob"], calls.SubmitJob, RefusalLog(store=store, clock=house.clock))


async def test_a_refusal_is_noted_with_bounded_texts_when_the_call_ends() -> None:
    store = MemoryStore()
    house = QuestionHouse(store)
    request = pb.SubmitJobRequest(job=job_request("x" * 5000))
    with pytest.raises(Exception, match="job_id"):
        await submit(house, store)(request, BOB)
    (entry,) = await store.audit(limit=10)
    assert (entry.caller, entry.method, entry.code) == ("bob", "SubmitJob", Code.INVALID_REQUEST)
    assert len(entry.subject) <= MAX_SUBJECT_CHARACTERS
    assert 0 < len(entry.reason) <= MAX_REASON_CHARACTERS


async def test_a_store_that_cannot_note_a_refusal_keeps_nobody_from_it(caplog: pytest.LogCaptureFixture) -> None:
    store = FaultyStore(MemoryStore())
    store.fails.add("note")
    house = QuestionHouse(store)
    with pytest.raises(NotAllowed):
        await submit(house, store)(pb.SubmitJobRequest(job=job_request("j")), BOB)
    assert "a refused SubmitJob of bob is not noted" in caplog.text


class SilentStore(SlowStore):
    """It is known to fail, and would not answer a note."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "note")
        self._failing = asyncio.Event()
        self._failing.set()

    @property
    def failing(self) -> asyncio.Event:
        return self._failing


async def test_a_store_that_is_known_to_fail_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    store = SilentStore()
    house = QuestionHouse(store)
    with pytest.raises(NotAllowed):
        await submit(house, store)(pb.SubmitJobRequest(job=job_request("j")), BOB)
    assert "a refused SubmitJob of bob is not noted" in caplog.text
    store.release()
    store.failing.clear()
    with pytest.raises(NotAllowed):
        await submit(house, store)(pb.SubmitJobRequest(job=job_request("j")), BOB)
    assert len(await store.audit(limit=10)) == 1


async def test_calls_that_change_nothing_are_not_noted() -> None:
    store = MemoryStore()
    house = QuestionHouse(store)
    call = house.calls.ValidateJob
    assert noting(METHODS["ValidateJob"], call, RefusalLog(store=store, clock=house.clock)) is call


async def test_the_history_of_a_damaged_job_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    house = QuestionHouse(store)
    await house.calls.SubmitJob(pb.SubmitJobRequest(job=job_request("j")), MASTER)
    jobs = await store.summaries(["j"])

    async def damaged(_: object) -> Any:
        raise JobDamaged(*jobs)

    monkeypatch.setattr(store, "summaries", damaged)
    answer = await house.calls.ListJobHistory(pb.ListJobHistoryRequest(job_id="j"), MASTER)
    assert [entry.event for entry in answer.entries] == ["created"]
