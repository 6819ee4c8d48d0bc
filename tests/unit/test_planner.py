"""What a job does next."""

import pytest
from msgspec.structs import replace

from kusciajob.model import planner, transitions
from kusciajob.model.job import Party, ScheduleConfig, Task
from kusciajob.model.moves import Operation, PartyEvent
from kusciajob.model.planner import Plan, Stop
from kusciajob.model.status import Job, JobState
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.steps import admit_and_place, ask, fail, job_in, move_all, move_party, start, succeed


def prioritised(*priorities: int) -> list[Task]:
    return [replace(task(f"t{index}"), priority=priority) for index, priority in enumerate(priorities)]


def scheduled_job(timeout_seconds: int = 60) -> Job:
    """One task with a time-out."""
    return new_job(job_spec(tasks=[replace(task(), schedule_config=ScheduleConfig(timeout_seconds))]))


# --- what starts


@pytest.mark.parametrize(
    ("priorities", "max_parallelism", "expected"),
    [
        ((0,), 1, (0,)),
        ((0, 0, 0), 1, (0,)),
        ((0, 0, 0), 2, (0, 1)),
        ((0, 0, 0), 128, (0, 1, 2)),
        ((1, 3, 2), 2, (1, 2)),
        ((-1, 0, -1), 3, (1, 0, 2)),
        ((100, 100, 200, 100), 3, (2, 0, 1)),
    ],
)
def test_highest_priority_first_then_order_of_declaration(
    priorities: tuple[int, ...], max_parallelism: int, expected: tuple[int, ...]
) -> None:
    job = new_job(job_spec(tasks=prioritised(*priorities), max_parallelism=max_parallelism))
    assert planner.plan(job, NOW) == Plan(start=expected)


def test_priority_does_not_outrank_dependencies() -> None:
    tasks = [task("low"), replace(task("high", dependencies=["low"]), priority=9)]
    job = new_job(job_spec(tasks=tasks, max_parallelism=2))
    assert planner.plan(job, NOW).start == (0,)
    assert planner.plan(succeed(job), NOW).start == (1,)


def test_every_admitted_task_counts_towards_max_parallelism() -> None:
    job = new_job(job_spec(tasks=prioritised(0, 0, 0, 0), max_parallelism=3))
    waiting = transitions.admit(job, 0, now=NOW)
    assert planner.plan(waiting, NOW).start == (1, 2)
    starting = admit_and_place(waiting, 1)
    assert planner.plan(starting, NOW).start == (2,)
    running = start(starting, 2)
    assert planner.plan(running, NOW).start == ()
    assert planner.plan(move_all(running, PartyEvent.SUCCEEDED, 2), NOW).start == (3,)


def test_a_task_whose_party_failed_counts_until_the_others_are_gone() -> None:
    job = start(new_job(job_spec(tasks=prioritised(0, 0))))
    job = move_party(job, 0, 0, PartyEvent.FAILED, now=NOW, message="exit code 1")
    assert planner.plan(job, NOW).start == ()
    job = move_party(job, 0, 1, PartyEvent.FAILED, now=NOW, message="stopped")
    assert planner.plan(job, NOW).start == (1,)


def test_best_effort_starts_what_does_not_depend_on_the_failed_task() -> None:
    tasks = [task("a"), task("b", dependencies=["a"]), task("c", dependencies=["b"]), task("d")]
    assert planner.plan(fail(new_job(job_spec(tasks=tasks, max_parallelism=4))), NOW).start == (3,)


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.PENDING])
def test_nothing_new_starts_in_any_other_state(state: JobState) -> None:
    assert planner.plan(job_in(state), NOW).start == ()


@pytest.mark.parametrize("operation", [Operation.STOP, Operation.CANCEL, Operation.SUSPEND])
def test_nothing_new_starts_once_the_job_is_to_end(operation: Operation) -> None:
    job = start(new_job(job_spec(tasks=prioritised(0, 0), max_parallelism=2)))
    assert planner.plan(job, NOW).start == (1,)
    assert planner.plan(ask(job, operation), NOW).start == ()


def test_a_restarted_job_starts_again() -> None:
    assert planner.plan(ask(job_in(JobState.SUSPENDED), Operation.RESTART), NOW).start == (0,)


# --- what stops


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Operation.STOP, "Job was stopped"),
        (Operation.CANCEL, "Job was cancelled"),
        (Operation.SUSPEND, "Job was suspended"),
    ],
)
def test_an_ending_job_stops_what_runs_and_what_is_starting(operation: Operation, text: str) -> None:
    job = start(new_job(job_spec(tasks=prioritised(0, 0), max_parallelism=2)))
    job = ask(admit_and_place(job, 1), operation)
    assert planner.plan(job, NOW).stop == (Stop(0, 0, text), Stop(0, 1, text), Stop(1, 0, text), Stop(1, 1, text))
    job = move_party(job, 0, 1, PartyEvent.FAILED, now=NOW, message=text)
    assert planner.plan(job, NOW).stop == (Stop(0, 0, text), Stop(1, 0, text), Stop(1, 1, text))


def test_a_failed_party_stops_its_partners_at_once() -> None:
    parties = tuple(Party(domain) for domain in ("alice", "bob", "carol", "dave"))
    job = start(new_job(job_spec(tasks=[Task(alias="psi", app_image="app", parties=parties)])))
    job = move_party(job, 0, 3, PartyEvent.SUCCEEDED, now=NOW)
    job = move_party(job, 0, 1, PartyEvent.FAILED, now=NOW, message="exit code 1")
    text = "stopped because party bob failed"
    assert planner.plan(job, NOW).stop == (Stop(0, 0, text), Stop(0, 2, text))


def test_a_party_that_failed_to_start_stops_its_partners() -> None:
    job = move_party(admit_and_place(new_job()), 0, 0, PartyEvent.FAILED, now=NOW, message="no command")
    assert planner.plan(job, NOW).stop == (Stop(0, 1, "stopped because party alice failed"),)


def test_other_tasks_of_the_job_are_not_stopped() -> None:
    job = start(start(new_job(job_spec(tasks=prioritised(0, 0), max_parallelism=2))), 1)
    job = move_all(job, PartyEvent.FAILED, 0, message="exit code 1")
    assert planner.plan(job, NOW) == Plan()


# --- how long a task may wait


def test_without_a_schedule_config_there_is_no_time_out() -> None:
    job = transitions.admit(new_job(), 0, now=NOW)
    assert planner.plan(job, NOW + 1e9) == Plan()


def test_a_task_that_waits_for_room_is_given_up() -> None:
    job = transitions.explain(transitions.admit(scheduled_job(), 0, now=NOW), 0, "no free port")
    assert planner.plan(job, NOW + 59) == Plan(wake_at=NOW + 60)
    assert planner.plan(job, NOW + 60) == Plan(expired=(0,))
    assert planner.expiry_text(job, 0) == (
        "not scheduled within 60 s (schedule_config.task_timeout_seconds): not started: alice, bob: no free port"
    )


def test_parties_that_do_not_start_in_time_are_stopped() -> None:
    job = move_party(admit_and_place(scheduled_job()), 0, 0, PartyEvent.STARTED, now=NOW)
    assert planner.plan(job, NOW + 59) == Plan(wake_at=NOW + 60)
    text = "not scheduled within 60 s (schedule_config.task_timeout_seconds): not started: bob"
    assert planner.plan(job, NOW + 60) == Plan(stop=(Stop(0, 1, text),))


def test_a_task_that_has_started_has_all_the_time() -> None:
    assert planner.plan(start(scheduled_job()), NOW + 1e9) == Plan()


def test_a_task_that_is_not_admitted_has_no_time_out_yet() -> None:
    assert planner.deadline(scheduled_job(), 0) is None


def test_the_default_time_out_is_300_seconds() -> None:
    job = transitions.admit(scheduled_job(0), 0, now=NOW)
    assert planner.plan(job, NOW).wake_at == NOW + 300


def test_time_begins_with_the_admission_of_each_attempt() -> None:
    job = ask(fail(scheduled_job()), Operation.RESTART, now=NOW + 1000)
    assert planner.plan(transitions.admit(job, 0, now=NOW + 2000), NOW + 2000).wake_at == NOW + 2060


def test_the_earliest_time_out_wakes() -> None:
    tasks = [replace(task(f"t{seconds}"), schedule_config=ScheduleConfig(seconds)) for seconds in (9, 5, 7)]
    job = new_job(job_spec(tasks=tasks, max_parallelism=3))
    for index in range(3):
        job = transitions.admit(job, index, now=NOW)
    assert planner.plan(job, NOW).wake_at == NOW + 5


def test_tasks_that_need_no_time_out_hide_none_of_those_after_them() -> None:
    timed = [replace(task(alias), schedule_config=ScheduleConfig(60)) for alias in ("runs", "late")]
    job = new_job(job_spec(tasks=[timed[0], task("untimed"), timed[1]], max_parallelism=3))
    job = transitions.admit(admit_and_place(start(job), 1), 2, now=NOW)
    assert planner.plan(job, NOW) == Plan(wake_at=NOW + 60)
    assert planner.plan(job, NOW + 60) == Plan(expired=(2,))


def test_a_task_that_is_being_stopped_has_no_time_out() -> None:
    job = move_party(admit_and_place(scheduled_job()), 0, 0, PartyEvent.FAILED, now=NOW, message="bad")
    text = "stopped because party alice failed"
    assert planner.plan(job, NOW + 60) == Plan(stop=(Stop(0, 1, text),))


# --- why a task waits


def explained(*tasks: Task) -> list[str]:
    return [entry.message for entry in new_job(job_spec(tasks=tasks, max_parallelism=3)).status.tasks]


def test_a_waiting_task_names_what_it_waits_for() -> None:
    assert explained(task("a"), task("b"), task("c", dependencies=["b", "a", "b"])) == ["", "", 'waiting for "b", "a"']


def test_what_has_succeeded_is_not_waited_for() -> None:
    spec = job_spec(tasks=[task("a"), task("b"), task("c", dependencies=["a", "b"])], max_parallelism=3)
    job = succeed(new_job(spec))
    assert job.status.tasks[2].message == 'waiting for "b"'
    assert succeed(job, 1).status.tasks[2].message == ""


def test_a_task_that_can_never_run_names_the_failed_dependency_whatever_the_order_of_declaration() -> None:
    tasks = [task("d", dependencies=["c", "ok"]), task("c", dependencies=["b"]), task("b", dependencies=["a"])]
    job = fail(new_job(job_spec(tasks=[*tasks, task("a"), task("ok")], max_parallelism=5)), 3)
    assert [entry.message for entry in job.status.tasks] == [
        'never started: dependency "c" can never run',
        'never started: dependency "b" can never run',
        'never started: dependency "a" failed',
        "Party[alice]: exit code 1; Party[bob]: exit code 1",
        "",
    ]


def test_two_failed_dependencies_are_both_named() -> None:
    tasks = [task("a"), task("b"), task("c", dependencies=["a", "b"])]
    job = fail(fail(new_job(job_spec(tasks=tasks))), 1)
    assert job.status.tasks[2].message == 'never started: dependency "a" failed; dependency "b" failed'


def test_nothing_is_rebuilt_where_nothing_changes() -> None:
    job = job_in(JobState.FAILED)
    assert planner.explain_waiting(job) is job.status.tasks
