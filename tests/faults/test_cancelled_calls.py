"""Every handler is cancelled at every await: its change is made as a whole or not at all, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls import build_calls
from kusciajob.api.calls.job import JobCalls
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc.handlers import generic_handler
from kusciajob.api.grpc.server import JOB_SERVICE
from kusciajob.api.grpc.uploads import Uploads
from kusciajob.events.hub import Hub
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.telemetry.metrics import Metrics
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from tests.support import steps
from tests.support.clock import ManualClock
from tests.support.database import read_checked
from tests.support.requests import job_request
from tests.support.stores import HesitantStore

pytestmark = pytest.mark.hostile

MOST_WAITS = 200


class CancelledAt:
    """Awaits a coroutine and cancels its task at the n-th wait: as it begins, or in the instant in which it is over."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], wait: int, *, when_over: bool) -> None:
        self._coroutine = coroutine
        self._wait = wait
        self._when_over = when_over
        self.waits = 0

    def __await__(self) -> Generator[Any, None, Any]:
        steps = self._coroutine.__await__()
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        while True:
            try:
                awaited = steps.throw(error) if error is not None else steps.send(None)
            except StopIteration as result:
                return result.value
            error = None
            self.waits += 1
            if self.waits == self._wait:
                if self._when_over and isinstance(awaited, asyncio.Future):
                    awaited.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield awaited
            except BaseException as thrown:  # the coroutine's to deal with
                error = thrown


class Desk(Struct):
    """The handlers over a store that takes its time."""

    store: SqliteStore
    calls: JobCalls
    watch: Callable[[object, Any], Coroutine[Any, Any, None]]
    """WatchJob over gRPC."""


class Details(Struct, frozen=True):
    """How gRPC asks for a handler."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Audience:
    """A gRPC context of a client that watches for a second and takes one event after the other."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4711"

    async def read(self) -> bytes:
        return pb.WatchJobRequest(timeout_seconds=1).SerializeToString()

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, _: object) -> None:
        pass

    async def send_initial_metadata(self, _: object) -> None:
        await asyncio.sleep(0)

    async def write(self, _: bytes) -> None:
        await asyncio.sleep(0)


@asynccontextmanager
async def opened_desk(file: Path) -> AsyncIterator[Desk]:
    """At the end no stream is left, and what was begun in the store is finished."""
    store = await SqliteStore.open(file)
    hub = Hub(store)
    gate, _ = open_gates(Limits(), Metrics())
    await hub.open()
    service = JobService(store=HesitantStore(store), hub=hub, images=AnyImage(), clock=ManualClock())
    try:
        calls = build_calls(service, cast(TaskOutput, None), app_images=cast(AppImageService, None))
        handlers: Any = generic_handler(JOB_SERVICE, calls, gate, Uploads(gate.bodies))
        watch = handlers.service(Details(f"/{JOB_SERVICE.full_name}/WatchJob")).stream_stream
        yield Desk(store, calls.JobService, watch)
        assert hub.lags == []
    finally:
        await hub.close()
        await store.close()


class Case(Struct, frozen=True):
    """A call, and what must have happened to the new job that it is about."""

    call: Callable[[Desk], Coroutine[Any, Any, Any]]
    prepare: Callable[[Desk], Coroutine[Any, Any, Any]] | None = None


def stop(desk: Desk) -> Coroutine[Any, Any, Any]:
    return desk.calls.StopJob(pb.StopJobRequest(job_id="job"), MASTER)


async def run(desk: Desk) -> None:
    await desk.store.replace(steps.start(await desk.store.get("job")))


def watch(desk: Desk) -> Coroutine[Any, Any, Any]:
    """It ends by itself when nothing has happened for its time."""
    return desk.watch(None, Audience())


CASES = {
    "create": Case(lambda desk: desk.calls.CreateJob(job_request("new"), MASTER)),
    "create again": Case(lambda desk: desk.calls.CreateJob(job_request("job"), MASTER)),
    "query": Case(lambda desk: desk.calls.QueryJob(pb.QueryJobRequest(job_id="job"), MASTER)),
    "batch query": Case(
        lambda desk: desk.calls.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["job"]), MASTER)
    ),
    "stop": Case(stop),
    "suspend": Case(
        lambda desk: desk.calls.SuspendJob(pb.SuspendJobRequest(job_id="job"), MASTER),
        prepare=run,
    ),
    "cancel": Case(lambda desk: desk.calls.CancelJob(pb.CancelJobRequest(job_id="job"), MASTER)),
    "restart": Case(
        lambda desk: desk.calls.RestartJob(pb.RestartJobRequest(job_id="job"), MASTER),
        prepare=stop,
    ),
    "delete": Case(lambda desk: desk.calls.DeleteJob(pb.DeleteJobRequest(job_id="job"), MASTER)),
    "watch": Case(watch),
}


@pytest.mark.parametrize("when_over", [False, True], ids=["as a wait begins", "as it ends"])
@pytest.mark.parametrize("name", CASES)
async def test_a_call_cancelled_anywhere_makes_its_whole_change_or_none(
    tmp_path: Path, name: str, when_over: bool
) -> None:
    case = CASES[name]
    before, _ = await jobs_after(case, tmp_path / "before", cancel_at=0, when_over=False)
    outcomes: list[dict[str, str]] = []
    is_cancelled = True
    while is_cancelled:
        assert len(outcomes) < MOST_WAITS
        cancel_at = len(outcomes) + 1
        jobs, is_cancelled = await jobs_after(case, tmp_path / str(cancel_at), cancel_at=cancel_at, when_over=when_over)
        outcomes.append(jobs)
    *partial, complete = outcomes
    assert partial, "it was never cancelled"
    assert [jobs for jobs in partial if jobs not in (before, complete)] == []


async def jobs_after(case: Case, directory: Path, *, cancel_at: int, when_over: bool) -> tuple[dict[str, str], bool]:
    """The state of each job, and whether the call was cancelled, at its n-th wait; 0 is before it begins."""
    directory.mkdir()
    file = directory / "jobs.db"
    async with opened_desk(file) as desk:
        await desk.calls.CreateJob(job_request("job"), MASTER)
        if case.prepare is not None:
            await case.prepare(desk)
        call = case.call(desk)
        if cancel_at:
            is_cancelled = await cancelled_at(call, cancel_at, when_over=when_over)
        else:
            call.close()
            is_cancelled = True
        assert (await desk.calls.QueryJob(pb.QueryJobRequest(job_id="job"), MASTER)).status.code in (0, 11202)
    jobs = read_checked(file).jobs.values()
    return {job.job_id: f"{job.status.state} {job.status.stage.kind}" for job in jobs}, is_cancelled


async def cancelled_at(call: Coroutine[Any, Any, Any], wait: int, *, when_over: bool) -> bool:
    async def serve() -> None:
        await CancelledAt(call, wait, when_over=when_over)

    task = asyncio.create_task(serve())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()
