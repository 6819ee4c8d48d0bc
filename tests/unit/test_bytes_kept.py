"""What is kept in memory is bounded in bytes, and what large inputs cost is paid only by who needs them."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls.encoded import EncodedResponse
from kusciajob.api.calls.job import JobCalls
from kusciajob.events.hub import Hub
from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.model import transitions, weight
from kusciajob.model.errors import LogTruncated
from kusciajob.model.job import Party, Task
from kusciajob.model.status import EventType, Job, JobEvent
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.store.tail import Tail
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from kusciajob.usecases.retention import Retention
from tests.support.builders import job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.memory import MIB
from tests.support.outputs import FixedOutput
from tests.support.runtimes import ManualRuntime
from tests.support.stores import FaultyStore
from tests.support.streams import opened_hub


def event(revision: int, parties: int = 2) -> JobEvent:
    members = tuple(Party(f"domain-{number}") for number in range(parties))
    job = new_job(job_spec(tasks=[Task("t", "app", members)]))
    return JobEvent(revision, EventType.MODIFIED, replace(job, number=1, revision=revision).summary)


def test_a_ring_holds_few_events_that_are_heavy_but_one() -> None:
    ring = Ring(100, max_bytes=10 * SharedEvent(event(1)).weight)
    ring.open(0)
    ring.append([SharedEvent(event(revision)) for revision in range(1, 31)])
    assert [shared.event.revision for shared in ring.after(20, 100)] == list(range(21, 31))
    assert not ring.reaches(19)
    ring.append([SharedEvent(event(31, parties=1000))])
    assert [shared.event.revision for shared in ring.after(30, 100)] == [31]
    assert not ring.reaches(29)
    ring.append([SharedEvent(event(revision)) for revision in range(32, 36)])
    assert ring.reaches(31)
    assert not ring.reaches(30)
    assert ring.weight == 4 * SharedEvent(event(1)).weight


def test_a_tail_holds_few_events_that_are_heavy() -> None:
    job = event(1).job
    tail = Tail(100, 10 * (weight.status_bytes(job.status) + weight.traits_bytes(job.traits)))
    tail.extend([event(revision) for revision in range(1, 31)])
    assert tail.after(19, 100) is None
    assert [each.revision for each in tail.after(20, 3) or ()] == [21, 22, 23]
    tail.extend([event(31, parties=1000)])
    assert tail.after(30, 100) is None  # from the file then
    tail.extend([event(32)])
    tail.forget(32)
    assert tail.after(31, 100) is None


async def test_replayed_jobs_are_kept_up_to_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    jobs = [await store.create(new_job(f"job-{number}")) for number in range(10)]
    one = SharedEvent(JobEvent(1, EventType.ADDED, jobs[0].summary)).weight
    monkeypatch.setattr(weight, "KEPT_BYTES", 3 * one)
    async with opened_hub(store) as hub, hub.subscribe() as first, hub.subscribe() as second:
        told, again = await first.read(), await second.read()
        assert [shared.event for shared in told] == [shared.event for shared in again]
        assert hub._replayed.currsize <= 3 * one


def test_the_weight_of_a_status_grows_with_its_texts_and_parties() -> None:
    job = new_job()
    light = weight.status_bytes(job.status)
    assert weight.status_bytes(transitions.explain(job, 0, "x" * 1000).status) >= light + 1000
    assert weight.status_bytes(replace(job.status, message="x" * 10_000)) >= light + 10_000
    assert weight.status_bytes(event(1, parties=1000).job.status) >= light + 900 * 64
    assert weight.spec_bytes(job_spec(tasks=[task(input_config="ü" * 1000)])) >= 1000


async def test_the_log_is_truncated_to_so_many_bytes() -> None:
    store = MemoryStore()
    for number in range(10):
        await store.create(new_job(f"job-{number}"))
    one = weight.status_bytes((await store.read_log(0, 1))[0].job.status)
    keeper = Retention(store=store, clock=ManualClock(), job_days=0, log_events=0, log_hours=0, log_bytes=4 * one)
    await keeper.round()
    assert [each.revision for each in await store.read_log(6, 100)] == [7, 8, 9, 10]
    with pytest.raises(LogTruncated):
        await store.read_log(5, 100)


async def test_changes_of_a_wide_job_take_little_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = await SqliteStore.open(path)
    members = tuple(Party(f"domain-{number}") for number in range(16_000))
    job = await store.create(new_job(job_spec(tasks=[Task("t", "app", members)])))
    for number in range(30):
        job = await store.replace(transitions.explain(job, 0, f"change {number}"))
    await store.close()
    assert path.stat().st_size < 12 * MIB  # 32 times 0.6 MiB as it was


async def test_logs_and_nodes_are_answered_without_the_specification() -> None:
    store = FaultyStore(MemoryStore())
    await store.create(new_job(job_spec(tasks=[task(task_id="the-task")])))
    store.fails = {"get"}
    output = TaskOutput(store=store, runtime=ManualRuntime(), source=FixedOutput(), images=AnyImage())
    assert (await output.node("the-task", domain="bob", replica=0, caller=MASTER)).name == "machine-1", (
        "the runtime is asked"
    )
    pieces = output.read("the-task", domain="", replica=0, caller=MASTER, follow=False)
    assert [piece async for piece in pieces] == []


def large_job() -> Job:
    return new_job(job_spec(tasks=[task(task_id="the-task", input_config="x" * (8 * MIB))]))


async def test_the_event_loop_goes_on_while_a_large_input_is_read(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    created = await store.create(large_job())
    await store.create(new_job("small"))
    store._cache.clear()
    large, small = asyncio.create_task(store.get("job-1")), asyncio.create_task(store.get("small"))
    await asyncio.sleep(0)
    assert small.done()  # read where it was asked for
    assert not large.done()
    assert await large == created
    await store.close()


async def test_those_who_ask_for_a_large_specification_share_it(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    await store.create(large_job())
    store._cache.clear()
    jobs = await asyncio.gather(*(store.get("job-1") for _ in range(10)))
    assert len({id(job.spec) for job in jobs}) == 1
    await store.close()


async def test_an_answer_that_is_too_heavy_to_be_kept_drives_out_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "KEPT_BYTES", 8192)
    store = MemoryStore()
    for job_id, size in (("light", 1), ("heavy", 8192)):
        await store.create(new_job(job_spec(job_id, tasks=[task(input_config="x" * size, task_id=job_id)])))
    service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
    calls = JobCalls(service)

    async def ask(job_id: str) -> object:
        response = await calls.QueryJob(pb.QueryJobRequest(job_id=job_id), MASTER)
        assert isinstance(response, EncodedResponse)
        assert job_id.encode() in response.to_json()
        return response

    light, heavy = await ask("light"), await ask("heavy")
    assert await ask("light") is light
    assert await ask("heavy") is not heavy


async def test_an_answer_is_made_once_for_all_who_ask_and_weighs_what_it_has_become() -> None:
    store = MemoryStore()
    await store.create(new_job("job-1"))
    calls = JobCalls(JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock()))
    first = await calls.QueryJob(pb.QueryJobRequest(job_id="job-1"), MASTER)
    assert await calls.QueryJob(pb.QueryJobRequest(job_id="job-1"), MASTER) is first, "no form of it has to be JSON"
    light = calls._responses.currsize
    assert isinstance(first, EncodedResponse)
    text = first.to_json()
    assert calls._responses.currsize == light + len(text)


def test_a_tail_counts_what_lists_want_to_know_of_a_job() -> None:
    tail = Tail(max_events=100, max_bytes=100_000)
    spec = replace(job_spec(), labels={"notes": "x" * 10_000})
    for revision in range(1, 51):
        tail.extend([JobEvent(revision, EventType.MODIFIED, replace(new_job(spec), revision=revision).summary)])
    kept = tail.after(49, 10)
    assert kept is not None
    assert tail.after(40, 10) is None
