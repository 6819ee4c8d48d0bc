"""After `settle` nothing is on its way: not to watchers that were cut off, and not to those of this process."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from kusciajob.api import kuscia as messages
from kusciajob.client import Change, Client, ClientError, JobSpec, Task
from kusciajob.testing import AsyncJobServer, KitError
from kusciajob.testing.session import TestKit
from tests.support.polling import PATIENCE_SECONDS, passed_sync

AWAY_SECONDS = 0.3


def spec(job_id: str = "j1") -> JobSpec:
    return JobSpec(job_id, "alice", [Task("train", "app", ["alice"])])


class PlainWatcher(threading.Thread):
    """Watches by the stubs of gRPC, and takes a while to come back."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._stub: Any = messages.JobServiceStub(self._channel)  # type: ignore[arg-type]  # typed for grpc.aio
        self.is_open = True

    def run(self) -> None:
        while self.is_open:
            try:
                for _ in self._stub.WatchJob(messages.WatchJobRequest()):
                    pass
            except (grpc.RpcError, ValueError):
                passed_sync(AWAY_SECONDS)

    def close(self) -> None:
        self.is_open = False
        self._channel.close()
        self.join()


@pytest.fixture
def plain_watcher(kuscia: TestKit) -> Iterator[PlainWatcher]:
    watcher = PlainWatcher(kuscia.address)
    watcher.start()
    kuscia.watched()
    yield watcher
    watcher.close()


def watches(kuscia: TestKit) -> int:
    return [call.method for call in kuscia.calls].count("WatchJob")


@pytest.mark.parametrize("how", ["cut", "refused"])
def test_a_watcher_that_was_cut_off_is_waited_for(kuscia: TestKit, plain_watcher: PlainWatcher, how: str) -> None:
    refusals = 2 if how == "refused" else 0
    if refusals:
        kuscia.faults.answer("WatchJob", grpc="UNAVAILABLE", times=refusals)
    assert kuscia.faults.cut_watches() == 1
    kuscia.settle()
    assert watches(kuscia) == 2 + refusals


def test_another_watcher_does_not_count_as_the_one_that_is_away(
    kuscia: TestKit, plain_watcher: PlainWatcher, kuscia_client: Client
) -> None:
    kuscia.faults.cut_watches()
    kuscia_client.create(spec()).result(timeout=PATIENCE_SECONDS)
    list(kuscia_client.watch("j1", timeout=0.01))
    kuscia.settle()
    assert kuscia.faults.cut_watches() == 1


def test_a_watcher_that_does_not_come_back_is_given_up(kuscia: TestKit, plain_watcher: PlainWatcher) -> None:
    plain_watcher.is_open = False
    kuscia.faults.cut_watches()
    kuscia.settle(patience=0.5)
    kuscia.settle(patience=3600)


def test_nobody_is_waited_for_while_the_network_is_partitioned(kuscia: TestKit, plain_watcher: PlainWatcher) -> None:
    with kuscia.faults.partition():
        kuscia.settle(patience=PATIENCE_SECONDS)
        assert watches(kuscia) == 1
    kuscia.settle()
    assert watches(kuscia) == 2


def test_a_reader_of_this_process_has_dealt_with_all(kuscia: TestKit) -> None:
    """Also with what comes of that: it restarts what has failed."""
    kuscia.task("train").fails().then.fails().then.succeeds()
    dealt_with: list[str] = []

    def read() -> None:
        try:
            for change in client.watch():
                passed_sync(0.05)
                if change.status.state == "Failed":
                    client.job(change.job_id).restart(wait=False)
                dealt_with.append(change.status.state)
        except ClientError:
            return

    with kuscia.client() as client:
        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        client.create(spec())
        kuscia.settle()
        assert dealt_with[-1:] == ["Succeeded"]
        assert dealt_with.count("Failed") == 2
    reading.join()


def test_who_reads_is_not_waited_for_by_itself(kuscia: TestKit, kuscia_client: Client) -> None:
    gate = kuscia.task("train").waits()
    watching = kuscia_client.watch(timeout=PATIENCE_SECONDS)
    kuscia_client.create(spec())
    gate.reached()
    next(watching)
    gate.release()
    kuscia.settle(patience=3600)
    assert next(watching).status.state == "Succeeded"


def test_a_reader_that_has_gone_is_not_waited_for(kuscia: TestKit, kuscia_client: Client) -> None:
    gate = kuscia.task("train").waits()
    watching = kuscia_client.watch()
    kuscia_client.create(spec())
    gate.reached()
    reading = threading.Thread(target=next, args=(watching,))
    reading.start()
    reading.join()
    gate.release()
    kuscia.settle(patience=PATIENCE_SECONDS)


async def test_tasks_of_asyncio_have_dealt_with_all_and_the_caller_is_not_waited_for() -> None:
    async with AsyncJobServer(clock="auto") as server, server.client() as client:
        changes: list[Change] = []

        async def follow() -> None:
            async for change in client.watch():
                changes.append(change)

        following = asyncio.create_task(follow())
        own = client.watch()
        await client.create(spec())
        await anext(own)
        await server.settle()
        assert changes[-1].status.state == "Succeeded"
        following.cancel()
        await own.aclose()


def test_watches_that_do_not_come_are_counted(kuscia: TestKit, plain_watcher: PlainWatcher) -> None:
    with pytest.raises(KitError, match="1 of 2 watches were opened within"):
        kuscia.watched(2, patience=0.1)
