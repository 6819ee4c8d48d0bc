"""A task that does not move says why."""

from kusciajob.model import transitions
from kusciajob.model.status import JobState, TaskState
from kusciajob.model.transitions import Operation, PartyEvent
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.house import opened_house
from tests.support.runtimes import ManualRuntime
from tests.support.steps import move_party


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
    job = transitions.place(transitions.admit(new_job(), 0, now=NOW), 0, [(), ()])
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
        await house.ask(Operation.SUSPEND)
        status = await house.until(JobState.SUSPENDED)
        assert status.tasks[1].message == "waiting for a restart: the job is suspended"
        await house.ask(Operation.RESTART)
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        assert (await house.until_task(TaskState.RUNNING, 1)).message == ""
        runtime.end()
        await house.until(JobState.SUCCEEDED)
