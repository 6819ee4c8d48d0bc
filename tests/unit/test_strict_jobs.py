"""scheduleMode Strict: the failure of a task that is not tolerable stops the job."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from kusciajob.model import planner, transitions
from kusciajob.model.errors import InvalidJob
from kusciajob.model.job import ScheduleMode, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.status import Job, JobState, TaskState
from kusciajob.wire import codec
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.requests import job_request
from tests.support.steps import ask, fail, move_all, start

WAITED = 'never started: task "first" failed (scheduleMode Strict)'
STOPPED = 'stopped because task "first" failed (scheduleMode Strict)'


def strict_job(*tasks: Task, parallelism: int = 2, mode: ScheduleMode = ScheduleMode.STRICT) -> Job:
    return new_job(job_spec(tasks=tasks, max_parallelism=parallelism, schedule_mode=mode))


def states(job: Job) -> Sequence[TaskState]:
    return [status.state for status in job.status.tasks]


def test_nothing_more_starts_and_the_job_fails() -> None:
    failed = fail(strict_job(task("first"), task("second"), parallelism=1))
    assert planner.plan(failed, NOW) == planner.Plan()
    assert failed.status.state is JobState.FAILED
    assert [status.message for status in failed.status.tasks][1] == WAITED


def test_a_best_effort_job_goes_on() -> None:
    failed = fail(strict_job(task("first"), task("second"), parallelism=1, mode=ScheduleMode.BEST_EFFORT))
    assert planner.plan(failed, NOW).start == (1,)
    assert failed.status.state is JobState.RUNNING


def test_what_runs_is_stopped_with_the_reason() -> None:
    job = start(start(strict_job(task("first"), task("second")), 0), 1)
    failed = move_all(job, PartyEvent.FAILED, message="exit code 1")
    assert planner.plan(failed, NOW).stop == (planner.Stop(1, 0, STOPPED), planner.Stop(1, 1, STOPPED))
    assert failed.status.state is JobState.RUNNING
    ended = move_all(failed, PartyEvent.FAILED, 1, message=STOPPED)
    assert ended.status.state is JobState.FAILED
    assert planner.plan(ended, NOW) == planner.Plan()


def test_what_waits_for_room_is_given_up_and_blames_the_first_failure() -> None:
    tasks = [task("before"), task("first"), task("after")]
    job = start(strict_job(*tasks, parallelism=3), 1)
    for index in (0, 2):
        job = transitions.admit(job, index, now=NOW)
    job = move_all(job, PartyEvent.FAILED, 1, message="exit code 1")
    assert planner.plan(job, NOW).expired == (0, 2)
    for index in (0, 2):
        assert planner.expiry_text(job, index) == STOPPED
        job = transitions.fail_waiting(job, index, STOPPED, now=NOW)
    assert transitions.settle(job, NOW).status.state is JobState.FAILED


def test_a_tolerable_task_may_fail() -> None:
    job = fail(strict_job(replace(task("first"), tolerable=True), task("second"), parallelism=1))
    assert planner.plan(job, NOW).start == (1,)


def test_what_a_stop_ends_is_no_failure_that_others_are_told_of() -> None:
    job = start(start(strict_job(task("first"), task("second"), task("third")), 0), 1)
    job = move_all(ask(job, Operation.STOP), PartyEvent.FAILED, message="Job was stopped")
    assert states(job) == [TaskState.FAILED, TaskState.RUNNING, TaskState.PENDING]
    assert job.status.tasks[2].message == ""


def test_a_restart_runs_it_all_again() -> None:
    job = ask(fail(strict_job(task("first"), task("second"), parallelism=1)), Operation.RESTART)
    assert planner.plan(job, NOW).start == (0,)
    assert states(job) == [TaskState.PENDING, TaskState.PENDING]


def test_the_mode_is_read_from_the_custom_header() -> None:
    request = job_request("job-1")
    assert codec.decode_spec(request).schedule_mode is ScheduleMode.BEST_EFFORT
    request.header.custom_headers["schedule_mode"] = "Strict"
    assert codec.decode_spec(request).schedule_mode is ScheduleMode.STRICT
    request.header.custom_headers["schedule_mode"] = "Lax"
    with pytest.raises(InvalidJob, match=r'"schedule_mode"\] "Lax" is not one of BestEffort, Strict'):
        codec.decode_spec(request)
