"""A reset leaves nothing behind, and settling means that nothing more comes."""

import threading
import time
from contextlib import suppress

import pytest

from kusciajob.client import Client, ClientError, JobSpec, State, Task, Unavailable
from kusciajob.testing import KitError
from kusciajob.testing.session import TestKit
from tests.support.metrics import metrics_of
from tests.support.polling import eventually_sync


def spec(job_id: str = "j1") -> JobSpec:
    return JobSpec(job_id, "alice", [Task("train", "app", ["alice", "bob"])])


def test_after_a_reset_everything_is_as_at_the_start(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").hangs()
    kuscia.faults.answer("StopJob", grpc="UNAVAILABLE")
    kuscia_client.create(spec())
    kuscia.clock.advance(days=3)
    kuscia.reset()
    assert list(kuscia_client.jobs()) == []
    assert [call.method for call in kuscia.calls] == ["ListJobs"]
    assert kuscia.clock.now.isoformat() == "2030-01-01T00:00:00+00:00"
    assert (kuscia.problems(), kuscia.faults.matched) == ([], [])
    job = kuscia_client.create(spec())
    kuscia.settle()
    assert job.status().state == State.SUCCEEDED


def test_a_reset_can_change_settings_until_the_next(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.reset(require_approval=True, max_jobs=1)
    assert kuscia_client.create(spec()).status().state == State.AWAITING_APPROVAL
    kuscia.reset()
    assert kuscia_client.create(spec()).result(timeout=60).state == State.SUCCEEDED
    with pytest.raises(KitError, match=r"settings\.host cannot be set here"):
        kuscia.reset(host="0.0.0.0")
    with pytest.raises(KitError, match="max_jobs"):
        kuscia.reset(max_jobs="many")


def test_a_reset_takes_no_longer_than_tests_can_spare(kuscia: TestKit, kuscia_client: Client) -> None:
    taken = []
    for number in range(10):
        for job in range(3):
            kuscia_client.create(spec(f"j{number}-{job}"))
        kuscia.settle()
        began = time.process_time()
        kuscia.reset(clock="auto")
        taken.append(time.process_time() - began)
    # Of this process, in which the server runs: other load of the machine decides nothing.
    assert min(taken) < 0.05  # `make bench` tells how long it takes


def test_a_watcher_of_before_a_reset_is_told_that_its_jobs_are_gone(kuscia: TestKit) -> None:
    told: list[tuple[str, str]] = []
    with kuscia.client() as client:

        def follow() -> None:
            with suppress(ClientError):  # it is closed in the end
                for change in client.watch():
                    told.append((change.job_id, change.type))
                    if {("first", "DELETED"), ("last", "ADDED")} <= set(told):
                        return

        follower = threading.Thread(target=follow)
        follower.start()
        eventually_sync(lambda: "WatchJob" in [call.method for call in kuscia.calls])
        client.create(spec("first")).result(timeout=60)
        kuscia.settle()
        kuscia.reset()
        client.create(spec("last"))
        follower.join(timeout=30)
    assert told.count(("first", "DELETED")) == 1
    assert told.count(("last", "ADDED")) == 1


def test_settled_means_that_watchers_have_been_sent_all(kuscia: TestKit, kuscia_client: Client) -> None:
    seen: list[str] = []

    def follow() -> None:
        def leave(error: ClientError) -> None:
            raise error

        with suppress(Unavailable):  # what was sent before the cut is still read
            seen.extend(change.status.state for change in client.watch(timeout=60, on_outage=leave))

    with kuscia.client() as client:
        follower = threading.Thread(target=follow)
        follower.start()
        eventually_sync(lambda: "WatchJob" in [call.method for call in kuscia.calls])
        for number in range(10):
            kuscia_client.create(spec(f"j{number}"))
        revision = kuscia.settle()
        assert kuscia.settle() == revision
        assert kuscia.faults.cut_watches() == 1
        follower.join(timeout=60)
    assert seen.count("Succeeded") >= 10


@pytest.mark.kuscia(clock="stopped")
def test_what_is_not_settled_is_named(kuscia: TestKit) -> None:
    kuscia.clock.run()
    kuscia.faults.delay("QueryJob", "1h")
    with pytest.raises(KitError, match="no party holds that was to: task"):
        kuscia.task("train").optional().waits().reached(timeout="50ms")
    kuscia.faults.clear()


async def test_what_is_counted_for_the_metrics_is_that_of_the_present(kuscia: TestKit, kuscia_client: Client) -> None:
    for count in (1, 2):
        for number in range(count):
            kuscia_client.create(spec(f"j{number}")).result(timeout=60)
        assert (await metrics_of(kuscia))['kusciajob_jobs{state="Succeeded"}'] == count
        kuscia.reset()
