"""A runtime says why a party has not started yet: the task tells it, once per reason."""

import pytest
from msgspec import json

from kusciajob.contracts import PartyKey
from kusciajob.model import planner, transitions
from kusciajob.model.job import Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import JobState, TaskState
from kusciajob.runtime.simulated import SimulatedRuntime
from kusciajob.scheduler.worker import NEWS_SECONDS
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock
from tests.support.house import House, opened_house
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime
from tests.support.steps import admit_and_place, move_party


def scripted(**script: object) -> Task:
    return task(input_config=json.encode(script).decode())


def test_each_party_is_named_with_its_reason() -> None:
    job = transitions.explain_start(admit_and_place(new_job()), 0, 1, "pulling the image")
    assert job.status.tasks[0].message == "waiting for alice, bob (pulling the image) to start"
    assert "not started: alice, bob (pulling the image)" in planner.expiry_text(job, 0)
    assert transitions.explain_start(job, 0, 1, "pulling the image") is job
    assert transitions.explain_start(job, 0, 1, "").status.tasks[0].message == "waiting for alice, bob to start"


def test_a_reason_is_forgotten_by_the_start() -> None:
    job = transitions.explain_start(admit_and_place(new_job()), 0, 1, "pulling the image")
    job = move_party(job, 0, 1, PartyEvent.STARTED, now=NOW)
    assert job.status.tasks[0].message == "waiting for alice to start"
    assert job.status.tasks[0].parties[1].message == ""
    assert transitions.explain_start(job, 0, 1, "too late") is job


def test_a_reason_does_not_hide_that_a_partner_has_failed() -> None:
    job = move_party(admit_and_place(new_job()), 0, 0, PartyEvent.FAILED, now=NOW, message="no such program")
    assert transitions.explain_start(job, 0, 1, "pulling the image") is job


def test_a_long_reason_is_cut() -> None:
    job = transitions.explain_start(admit_and_place(new_job()), 0, 0, "x" * 100_000)
    assert len(job.status.tasks[0].parties[0].message) == 1024
    assert len(job.status.tasks[0].message) < 1100


@pytest.fixture
def runtime() -> ManualRuntime:
    runtime = ManualRuntime()
    runtime.start_gate.close()
    return runtime


async def test_only_a_new_reason_is_an_event(house: House, runtime: ManualRuntime) -> None:
    job = await house.create("job-1")
    await house.until_message("to start")
    for text in ("pulling the image", "pulling the image", "no node has 8 GPUs"):
        before = len(house.events)
        house.scheduler.report_waiting(PartyKey(job.number, 0, 1, 0), text)
        await house.until_message(f"waiting for alice ({text}), bob to start")
        house.clock.advance(NEWS_SECONDS)
        assert len(house.events) - before <= 1
    messages = [status.tasks[0].message for status in house.statuses()]
    assert len(messages) == len(set(messages)), messages


async def test_reasons_that_come_fast_are_told_together(house: House, runtime: ManualRuntime) -> None:
    job = await house.create("job-1")
    await house.until_message("to start")
    key = PartyKey(job.number, 0, 1, 0)
    house.scheduler.report_waiting(key, "0 % of the image")
    await house.until_message("(0 % of the image)")
    count = len(house.events)
    for percent in range(1, 100):
        house.scheduler.report_waiting(key, f"{percent} % of the image")
    house.clock.advance(NEWS_SECONDS)
    await house.until_message("(99 % of the image)")
    assert len(house.events) == count + 1


async def test_what_nobody_waits_for_is_ignored(house: House, runtime: ManualRuntime) -> None:
    job = await house.create("job-1")
    await house.until_message("to start")
    house.scheduler.report_waiting(PartyKey(job.number, 0, 7, 0), "another attempt")
    house.scheduler.report_waiting(PartyKey(job.number + 1, 0, 1, 0), "another job")
    runtime.start_gate.open()
    await house.until_task(TaskState.RUNNING)
    house.clock.advance(NEWS_SECONDS)
    house.scheduler.report_waiting(PartyKey(job.number, 0, 1, 0), "it runs")
    runtime.end()
    await house.until(JobState.SUCCEEDED)
    assert not [status for status in house.statuses() if "(" in status.tasks[0].message]


async def test_a_script_says_how_long_a_start_takes_and_why() -> None:
    def report(key: PartyKey, text: str) -> None:
        houses[0].scheduler.report_waiting(key, text)

    clock = ManualClock()
    runtime = SimulatedRuntime(clock=clock, on_progress=lambda *_: None, on_waiting=report)
    houses: list[House] = []
    async with opened_house(runtime, clock=clock) as house:
        houses.append(house)
        bob = {"start_seconds": 30, "waiting": "no node is free"}
        script = scripted(waiting="pulling the image", start_seconds=10, seconds=100, parties={"bob": bob})
        await house.create(job_spec(tasks=[script]))
        await house.until_message("waiting for alice (pulling the image), bob (no node is free) to start")
        clock.advance(10)
        await eventually(lambda: clock.timers >= 3)  # until bob has started, alice has ended, and alice's start is told
        clock.advance(NEWS_SECONDS)
        await house.until_message("waiting for bob (no node is free) to start")
        clock.advance(20)
        await house.until_task(TaskState.RUNNING)
        clock.advance(100)
        await house.until(JobState.SUCCEEDED)
        await house.until_idle()


async def test_a_party_that_is_being_started_can_be_stopped() -> None:
    clock = ManualClock()
    async with opened_house(SimulatedRuntime(clock=clock, on_progress=lambda *_: None), clock=clock) as house:
        await house.create(job_spec(tasks=[scripted(start_seconds=1000)]))
        await house.until_message("to start")
        await house.ask(Operation.STOP)
        await house.until(JobState.FAILED)
        await house.until_idle()
