"""A task that does not move says why."""

import pytest

from kusciajob.model import transitions, waiting
from kusciajob.model.failures import MAX_MESSAGE_CHARACTERS
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import JobState, TaskState
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.house import opened_house
from tests.support.runtimes import ManualRuntime
from tests.support.steps import ask, move_party


async def test_parties_that_have_not_started_are_named() -> None:
    runtime = ManualRuntime()
    runtime.start_gate.close()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await house.until_message("waiting for alice, bob to start")
        runtime.start_gate.open()
        assert (await house.until_task(TaskState.RUNNING)).message == ""
        runtime.end()
        await house.until(JobState.SUCCEEDED)


def test_of_two_parties_the_late_one_is_named() -> None:
    job = transitions.place(transitions.admit(new_job(), 0, now=NOW), 0, [(), ()], now=NOW)
    job = move_party(job, 0, 0, PartyEvent.STARTED, now=NOW)
    assert job.status.tasks[0].message == "waiting for bob to start"


async def test_a_ready_task_waits_for_its_turn() -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.create(job_spec(tasks=[task("a"), task("b")]))
        await house.until_task(TaskState.RUNNING)
        status = house.status()
        assert status is not None
        assert [each.message for each in status.tasks] == ["", "waiting for its turn (max_parallelism is 1)"]
        assert waiting.reason(status) == ""
        await house.ask(Operation.SUSPEND)
        status = await house.until(JobState.SUSPENDED)
        assert status.tasks[1].message == "waiting for a restart: the job is suspended"
        assert waiting.reason(status) == "it is suspended and waits for a restart"
        await house.ask(Operation.RESTART)
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        assert (await house.until_task(TaskState.RUNNING, 1)).message == ""
        runtime.end()
        await house.until(JobState.SUCCEEDED)


@pytest.mark.parametrize(
    ("operation", "text"), [(None, "waiting for approval"), (Operation.REJECT, "never started: the job was rejected")]
)
def test_what_keeps_the_whole_job_is_told_before_what_a_task_depends_on(operation: Operation | None, text: str) -> None:
    job = new_job(job_spec(tasks=[task("a"), task("b", dependencies=["a"])]), awaited=("bob",))
    if operation is not None:
        job = ask(job, operation)
    assert [each.message for each in job.status.tasks] == [text, text]


def test_a_reason_of_any_length_is_told_shortened() -> None:
    reason = "x" * 10_000
    admitted = transitions.admit(new_job(), 0, now=NOW)
    told = transitions.explain(admitted, 0, reason)
    assert len(told.status.tasks[0].message) == MAX_MESSAGE_CHARACTERS
    assert transitions.explain(told, 0, reason) is told, "it is known"
    failed = transitions.fail_waiting(admitted, 0, reason, now=NOW).status.tasks[0]
    assert {len(party.message) for party in failed.parties} == {MAX_MESSAGE_CHARACTERS}
