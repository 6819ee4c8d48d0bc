"""Programs do what a test says, whatever the job under test has in its input configs."""

import pytest

from kusciajob.client import Client, InvalidJob, JobFailed, JobSpec, Party, Retry, State, Task
from kusciajob.testing import KitError
from kusciajob.testing.session import TestKit


def spec(job_id: str = "j1", *tasks: Task) -> JobSpec:
    return JobSpec(job_id, "alice", tasks or [Task("train", "app", ["alice", "bob"])])


def test_a_party_fails_as_told_and_the_other_is_stopped(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train", party="bob").fails(code=3, message="no disk", after="40min")
    kuscia.task("train", party="alice").hangs()
    with pytest.raises(JobFailed, match="no disk") as failure:
        kuscia_client.create(spec()).result(timeout=60)
    status = failure.value.status
    assert status.start_time
    assert status.end_time
    assert (status.end_time - status.start_time).total_seconds() == 2400
    assert "exit code 3" in status.err_msg


def test_the_first_rule_that_matches_counts(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("t*", job="j[12]").succeeds()
    kuscia.task("train").fails(message="second rule")
    kuscia_client.create(spec("j2")).result(timeout=60)
    with pytest.raises(JobFailed, match="second rule"):
        kuscia_client.create(spec("j3")).result(timeout=60)


def test_rules_select_by_image_role_and_attempt(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task(image="psi*", role="server").fails(code=7, after="1h").then.succeeds(after="1h")
    parties = [Party("alice", "client"), Party("bob", "server")]
    job = kuscia_client.create(spec("j1", Task("psi", "psi-image", parties, retry=Retry(2, first_backoff=60))))
    status = job.result(timeout=60)
    assert status.start_time
    assert status.end_time
    assert (status.end_time - status.start_time).total_seconds() == 2 * 3600 + 60


def test_a_party_that_holds_ends_when_it_is_released(kuscia: TestKit, kuscia_client: Client) -> None:
    gate = kuscia.task("train", party="bob").waits()
    with pytest.raises(KitError, match="no party holds"):
        gate.release()
    job = kuscia_client.create(spec())
    gate.reached()
    assert job.status().state == State.RUNNING
    gate.release()
    assert job.result(timeout=60).state == State.SUCCEEDED


def test_what_a_program_writes_can_be_read(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task(party="bob").prints("begin").prints("trouble", stream="stderr", after="10min").fails(
        message="the end", after="20min"
    )
    job = kuscia_client.create(spec())
    job.wait(State.FAILED, timeout=60)
    lines = [(line.text, line.stream) for line in job.logs("train", "bob")]
    assert lines == [("begin", "stdout"), ("trouble", "stderr"), ("the end", "stderr")]


def test_endpoints_progress_and_signals_are_told(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task(party="alice").listens(peer="10.0.0.1:5000").progresses(0.25, 0.75).succeeds(after="3h")
    kuscia.task(party="bob").killed(signal=9, after="2h")
    kuscia.clock.stop()
    job = kuscia_client.create(spec())
    kuscia.clock.advance("61min")
    (task,) = job.status().tasks
    assert (task.progress, task.parties[0].endpoints) == (0.25, ("10.0.0.1:5000",))
    kuscia.clock.advance("60min")
    with pytest.raises(JobFailed, match="SIGKILL"):
        job.result(timeout=60)


def test_a_task_that_is_never_scheduled_says_why(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train").never_scheduled("no port is free")
    job = kuscia_client.create(spec())
    kuscia.settle()
    assert "no port is free" in job.status().tasks[0].err_msg
    assert job.status().state in (State.PENDING, State.RUNNING)


def test_a_start_can_take_long_or_fail(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.clock.stop()
    kuscia.task("train", party="bob").starts(after="5min", waiting="pulling the image")
    kuscia.task("fit").start_fails("no such image")
    slow = kuscia_client.create(spec())
    kuscia.settle()
    assert "bob (pulling the image)" in slow.status().tasks[0].err_msg
    kuscia.clock.advance(minutes=6)
    slow.result(timeout=60)
    with pytest.raises(JobFailed, match="no such image"):
        kuscia_client.create(spec("j2", Task("fit", "app", ["alice"]))).result(timeout=60)


def test_a_lost_machine_is_a_fault_of_the_orchestration(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train", party="bob").crashes(after="1h")
    before = kuscia.settle()
    with pytest.raises(JobFailed, match="machine was lost"):
        kuscia_client.create(spec()).result(timeout=60)
    assert "ERROR" in [change.type for change in kuscia_client.watch(since=before, timeout=0.5)]


def test_wrong_rules_are_refused_at_once(kuscia: TestKit) -> None:
    with pytest.raises(KitError, match="exit_code 300"):
        kuscia.task("train").fails(code=300)
    with pytest.raises(ValueError, match="unit 'parsec'"):
        kuscia.task("train").succeeds(after="3parsec")


def test_a_rule_that_never_matched_and_a_party_that_no_job_has_are_told(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.task("train", party="bobb").fails()
    kuscia.task("fit").fails().optional()
    kuscia_client.create(spec()).result(timeout=60)
    (problem,) = kuscia.problems()
    assert 'no job has a party "bobb"' in problem
    assert '"alice"' in problem
    kuscia.reset()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"second": 5}, "seconds"),
        ({"seconds": 5, "exit_cod": 3}, "exit_code"),
        ({"simulate": {"second": 5}}, "second"),
        ({"simulate": {"exit_code": "three"}}, "exit_code"),
    ],
)
def test_a_misspelt_script_is_refused_when_the_job_is_created(
    kuscia_client: Client, config: dict[str, object], named: str
) -> None:
    job = spec("j1", Task("train", "app", ["alice"], input=config))
    with pytest.raises(InvalidJob, match=named):
        kuscia_client.create(job)
    assert next(problem.field for problem in kuscia_client.validate(job)) == "tasks[0].task_input_config"


@pytest.mark.parametrize(
    "config",
    [
        {"parties": ["alice", "bob"], "progress": 3},
        {"epochs": 3, "seconds": 5000},
        {"message": {"text": "hello"}},
    ],
)
def test_configs_of_other_programs_are_no_scripts(
    kuscia: TestKit, kuscia_client: Client, config: dict[str, object]
) -> None:
    kuscia.clock.stop()
    kuscia_client.create(spec("j1", Task("train", "app", ["alice"], input=config))).result(timeout=60)


def test_a_script_can_be_marked_as_one(kuscia: TestKit, kuscia_client: Client) -> None:
    config = {"epochs": 3, "simulate": {"exit_code": 4, "stderr": "by the mark"}}
    job = kuscia_client.create(spec("j1", Task("train", "app", ["alice"], input=config)))
    assert "exit code 4" in job.wait(State.FAILED, timeout=60).err_msg
    assert [line.text for line in job.logs("train")] == ["by the mark"]
