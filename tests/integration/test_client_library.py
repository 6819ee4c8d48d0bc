"""kusciajob.client against a real server: the same promises for asyncio and for blocking calls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from inspect import iscoroutinefunction, signature
from typing import Any

import grpc.aio
import pytest

from kusciajob import client as library
from kusciajob.api import v1
from kusciajob.client import (
    AsyncClient,
    AsyncJob,
    Change,
    ChangeType,
    Client,
    ClientClosed,
    InvalidJob,
    InvalidTransition,
    Job,
    JobCancelled,
    JobDeleted,
    JobExists,
    JobFailed,
    JobNotFound,
    JobSpec,
    LimitReached,
    State,
    Task,
    Unavailable,
    WaitTimeout,
)
from kusciajob.testing import AsyncJobServer, Clock
from kusciajob.testing.session import TestKit
from tests.support.polling import eventually
from tests.support.ports import free_range

pytestmark = pytest.mark.kuscia(clock="machine")


def never(_: Any) -> bool:
    return False


class Either:
    """The methods of a client, blocking ones on a thread of their own, so that a test is written once."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name == "job":
            return lambda job_id: Either(method(job_id))

        async def call(*args: Any, **keywords: Any) -> Any:
            if iscoroutinefunction(method):
                found = await method(*args, **keywords)
            else:
                found = await asyncio.to_thread(method, *args, **keywords)
            return Either(found) if isinstance(found, Job | AsyncJob) else found

        async def items(*args: Any, until: Callable[[Any], bool] = never, **keywords: Any) -> list[Any]:
            if name == "watch":
                keywords.setdefault("timeout", 60)  # what does not come is not waited for for ever
            source, found = method(*args, **keywords), []

            def is_last(item: Any) -> bool:
                found.append(item)
                return until(item)

            if isinstance(source, Iterator):
                await asyncio.to_thread(lambda: any(map(is_last, source)))
            else:
                async with aclosing(source):
                    async for item in source:
                        if is_last(item):
                            break
            return found

        return items if name in ("jobs", "watch", "logs") else call


@asynccontextmanager
async def opened(kind: Any, address: str) -> AsyncIterator[Any]:
    client = kind(address)
    yield Either(client)
    if isinstance(client, AsyncClient):
        await client.close()
    else:
        client.close()


@pytest.fixture(params=[AsyncClient, Client])
async def client(request: pytest.FixtureRequest, kuscia: TestKit) -> AsyncIterator[Any]:
    async with opened(request.param, kuscia.address) as either:
        yield either


def spec(job_id: str = "j1", **script: Any) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("psi", "any", ["alice", "bob"], input=script or "")])


@pytest.mark.parametrize(("waiting", "blocking"), [(AsyncClient, Client), (AsyncJob, Job)])
def test_both_clients_have_the_same_methods(waiting: type, blocking: type) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: [str(p).partition(":")[0] for p in signature(member).parameters.values()]
            for name, member in vars(kind).items()
            if isinstance(member, Callable) and not name.startswith("_")  # type: ignore[arg-type]
        }

    assert methods(waiting) == methods(blocking)
    assert all(getattr(blocking, name).__doc__ for name in methods(blocking))


async def test_a_job_is_created_and_awaited(client: Any) -> None:
    job = await client.create(spec())
    status = await job.result(timeout=60)
    assert (status.state, status.has_ended) == (State.SUCCEEDED, True)
    assert status.end_time is not None
    assert [party.domain for party in status.task("psi").parties] == ["alice", "bob"]
    assert (await job.history())[0].event == "created"
    await client.create(spec())  # identical
    assert list(await client.statuses("j1", "none", missing="skip")) == ["j1"]


async def test_errors_are_types(client: Any) -> None:
    await client.create(spec())
    with pytest.raises(JobExists):
        await client.create(spec(seconds=1))
    with pytest.raises(InvalidJob) as caught:
        await client.create(JobSpec("", "alice", []))
    assert {"job_id", "tasks"} <= {problem.field.removeprefix("job.") for problem in caught.value.problems}
    with pytest.raises(JobNotFound):
        await client.statuses("j1", "none")
    await client.job("j1").wait(timeout=60)
    with pytest.raises(InvalidTransition):
        await client.job("j1").suspend()
    await client.job("j1").delete()
    with pytest.raises(JobNotFound):
        await client.job("j1").status()


async def test_a_failed_job_tells_which_party_and_why(client: Any, kuscia: TestKit) -> None:
    kuscia.task("psi", party="bob").fails(code=3, message="no disk")
    job = await client.create(spec())
    with pytest.raises(JobFailed, match=r"task psi, party bob: .*no disk") as caught:
        await job.result(timeout=60)
    assert [(each.domain, each.exit_code) for each in caught.value.failures] == [("bob", 3)]


async def test_waiting_ends_in_time_and_for_what_will_not_come(client: Any, kuscia: TestKit) -> None:
    kuscia.task(job="j1").hangs()
    kuscia.task(job="j2", party="alice").starts(after="1h", waiting="pulling the image")
    job = await client.create(spec())
    await job.wait("Running", timeout=60)
    with pytest.raises(WaitTimeout, match=r"is Running after 0\.2 s, not Succeeded"):
        await job.result(timeout=0.2)
    await client.create(spec("j2"))
    with pytest.raises(WaitTimeout, match="pulling the image") as caught:
        await client.job("j2").wait("Running", timeout=0.5)
    assert caught.value.waiting
    await job.cancel("enough")
    with pytest.raises(JobCancelled):
        await job.result()


async def test_a_job_that_is_deleted_while_awaited_is_told(client: Any, kuscia: TestKit) -> None:
    kuscia.task().hangs()
    job = await client.create(spec())
    await job.wait("Running", timeout=60)
    waiting = asyncio.ensure_future(job.result(timeout=60))
    await asyncio.sleep(0)
    await client.job("j1").delete()
    with pytest.raises((JobDeleted, JobNotFound)):
        await waiting


async def test_the_reason_of_a_deletion_is_kept_in_the_audit(client: Any, kuscia: TestKit) -> None:
    await (await client.create(spec("unwanted"))).delete("a trial")
    async with grpc.aio.insecure_channel(kuscia.address) as channel:
        audited = await v1.JobsServiceStub(channel).ListAuditEntries(v1.ListAuditEntriesRequest(job_id="unwanted"))
    newest = audited.entries[0]
    assert (newest.method, newest.code, newest.reason) == ("DeleteJob", 0, "a trial")


async def test_jobs_are_listed_over_all_pages(
    client: Any, kuscia_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kusciajob.client.aio.PAGE", 2)
    monkeypatch.setattr("kusciajob.client.calling.BATCH", 2)
    for number in range(5):
        await client.create(spec(f"job-{number}"))
    assert [job.job_id for job in await client.jobs()] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert len(await client.jobs(limit=3)) == 3
    assert await client.jobs(limit=0) == []
    ids = [f"job-{number}" for number in range(7)]
    assert list(await client.statuses(*ids, missing="skip")) == ids[:5]
    assert await client.jobs(created_after=kuscia_clock.now + timedelta(hours=1)) == []


async def test_a_watch_tells_what_exists_and_what_changes(client: Any) -> None:
    await client.create(spec())
    await client.job("j1").wait(timeout=60)
    (first,) = await client.watch(until=lambda _: True)
    assert (first.type, first.status.state) == (ChangeType.ADDED, State.SUCCEEDED)
    revision = (await client.server_info()).revision
    await client.create(spec("j2"))
    changes = await client.watch(since=revision, jobs="j2", timeout=1)
    assert changes[0].type is ChangeType.ADDED
    assert changes[-1].status.state == State.SUCCEEDED
    assert {change.job_id for change in changes} == {"j2"}


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_waits_and_watches_survive_a_kill(kind: Any) -> None:
    async with AsyncJobServer(process=True, durable=True) as server, opened(kind, server.address) as client:
        await wait_and_watch_over_a_kill(client, server)


async def wait_and_watch_over_a_kill(client: Any, server: AsyncJobServer) -> None:
    job = await client.create(spec(seconds=1000))
    seen: list[Change] = []

    def is_last(change: Change) -> bool:
        seen.append(change)
        return change.type is ChangeType.DELETED

    watching = asyncio.ensure_future(client.watch(["j1", "j2"], timeout=60, until=is_last))
    await eventually(lambda: seen)
    waiting = asyncio.ensure_future(job.wait("Cancelled", timeout=60))
    await job.wait("Running", timeout=60)
    await server.kill()
    await server.start()
    await job.cancel()
    assert (await waiting).state == State.CANCELLED
    await client.job("j1").delete()
    told = [(change.type, change.status.state) for change in await watching]
    assert told[0][0] is ChangeType.ADDED
    assert told[-1][0] is ChangeType.DELETED
    assert len([kind for kind, _ in told if kind is ChangeType.ADDED]) == 1


async def test_a_server_that_is_away_is_tried_within_the_deadline() -> None:
    address = f"127.0.0.1:{free_range(1)[0]}"
    async with AsyncClient(address, timeout=0.5) as client, AsyncClient(address, timeout=3600) as patient:
        with pytest.raises(Unavailable):
            await client.create(spec())
        for work in (patient.job("j1").wait(timeout=0.5), anext(patient.watch(timeout=0.5)), patient.wait_ready(0.5)):
            with pytest.raises(Unavailable):
                await work


async def test_a_watch_of_a_client_that_is_closed_ends_with_an_error(kuscia: TestKit) -> None:
    client = AsyncClient(kuscia.address)
    watching = asyncio.create_task(anext(client.watch("no-such-job")))
    await client.server_info()
    await client.close()
    with pytest.raises(ClientClosed):
        await watching


async def test_mappings_and_files_are_jobs(client: Any, tmp_path: Any) -> None:
    task = {"alias": "psi", "app_image": "any", "parties": [{"domain_id": "alice"}]}
    await client.create({"job_id": "j1", "initiator": "alice", "tasks": [task]})
    (tmp_path / "job.yaml").write_text(
        "job_id: j2\ninitiator: alice\ntasks: [{alias: psi, app_image: any, parties: [{domain_id: alice}]}]"
    )
    await client.create(tmp_path / "job.yaml")
    assert set(await client.statuses("j1", "j2")) == {"j1", "j2"}
    assert await client.validate({"job_id": "j3", "initiator": "alice", "tasks": [task | {"parties": []}]})


@pytest.mark.kuscia(max_jobs=1)
async def test_a_limit_of_the_server_has_a_type(client: Any) -> None:
    await client.create(spec())
    with pytest.raises(LimitReached):
        await client.create(spec("j2"))


def test_every_public_name_exists() -> None:
    assert all(hasattr(library, name) for name in library.__all__)
