"""All time of the server is the test's."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kusciajob.api import kuscia as messages
from kusciajob.client import Client, JobFailed, JobNotFound, JobSpec, State, Task
from kusciajob.testing import Clock
from kusciajob.testing.session import TestKit

START = datetime(2030, 1, 1, tzinfo=UTC)


def spec(job_id: str = "j1", **more: object) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("train", "app", ["alice", "bob"])], **more)  # type: ignore[arg-type]


@pytest.mark.kuscia(clock="stopped")
def test_a_stopped_clock_moves_when_it_is_told_only(
    kuscia: TestKit, kuscia_client: Client, kuscia_clock: Clock
) -> None:
    kuscia.task("train").succeeds(after="1h")
    job = kuscia_client.create(spec())
    kuscia.settle()
    assert (kuscia_clock.now, job.status().state) == (START, State.RUNNING)
    kuscia_clock.advance(minutes=59)
    assert job.status().state == State.RUNNING
    assert kuscia_clock.advance("2min") == START + timedelta(minutes=61)
    assert job.status().end_time == START + timedelta(hours=1)


def test_hours_pass_by_themselves_in_milliseconds(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").succeeds(after="40h")
    status = kuscia_client.create(spec()).result(timeout=30)
    assert status.end_time == START + timedelta(hours=40)


def test_a_job_is_deleted_30_days_after_its_end(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia_client.create(spec()).result(timeout=30)
    began = time.monotonic()
    kuscia.clock.advance(days=29)
    assert kuscia_client.job("j1").status().state == State.SUCCEEDED
    kuscia.clock.advance(days=2)
    with pytest.raises(JobNotFound):
        kuscia_client.job("j1").status()
    assert time.monotonic() - began < 5  # rounds every 10 s of 31 days would take minutes


def test_the_deadline_and_the_time_to_live_of_a_job_are_kept(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").hangs()
    job = kuscia_client.create(spec(deadline=7200, ttl=600))
    with pytest.raises(JobFailed) as failure:
        job.result(timeout=30)
    assert failure.value.status.end_time == START + timedelta(hours=2)
    kuscia.clock.advance("9min")
    job.status()
    kuscia.clock.advance("2min")
    with pytest.raises(JobNotFound):
        job.status()


@pytest.mark.kuscia(clock="stopped", require_approval=True)
def test_a_job_that_nobody_approves_ends_at_its_deadline(kuscia: TestKit, kuscia_client: Client) -> None:
    job = kuscia_client.create(spec(deadline=3600))
    kuscia.clock.advance(days=3)
    status = job.status()
    assert status.state == State.FAILED
    assert status.end_time
    assert status.end_time <= START + timedelta(hours=1, seconds=20)


def test_a_scheduling_time_out_passes_in_no_time(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").never_scheduled("no room")
    request = messages.CreateJobRequest(job_id="j1", initiator="alice")
    task = request.tasks.add(alias="train", app_image="app", parties=[messages.Party(domain_id="alice")])
    task.schedule_config.task_timeout_seconds = 900
    with pytest.raises(JobFailed, match="900") as failure:
        kuscia_client.create(request).result(timeout=30)
    assert failure.value.status.end_time == START + timedelta(seconds=900)


@pytest.mark.kuscia(clock="stopped")
def test_a_watch_ends_when_its_time_is_over(kuscia: TestKit) -> None:
    with kuscia.client() as client:
        stub: Any = client._client._calling.stubs.jobs  # the time-out of the wire, not the client's
        events = stub.WatchJob(messages.WatchJobRequest(timeout_seconds=3600), timeout=30)
        events.initial_metadata()
        kuscia.settle()
        kuscia.clock.advance("61min")
        assert list(events) == []


@pytest.mark.kuscia(clock="machine")
def test_a_clock_can_run_as_the_machines(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").succeeds(after="300ms")
    began = time.monotonic()
    kuscia_client.create(spec()).result(timeout=30)
    assert time.monotonic() - began > 0.25
