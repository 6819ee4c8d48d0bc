"""Tests as a team writes them for an application that drives jobs: the page that promises the kit, line by line."""

import threading
from collections.abc import Iterator

import pytest

from kusciajob.client import Client, ClientError, JobFailed, JobSpec, Retry, Task
from kusciajob.testing import assert_job
from kusciajob.testing.durations import seconds_of
from kusciajob.testing.session import TestKit
from tests.support.polling import PATIENCE_SECONDS

pytest_plugins = ("pytester",)


class TrainingFailed(Exception):
    pass


class Manager:
    """The code under test: it trains models, and keeps a table of them. Nothing in it knows of tests."""

    def __init__(self, address: str) -> None:
        self._client = Client(address)
        self.rows: dict[str, str] = {}
        self._page = threading.Thread(target=self._follow, daemon=True)
        self._page.start()

    def close(self) -> None:
        self._client.close()
        self._page.join()

    def start(self, job_id: str, timeout: str | None = None) -> None:
        task = Task("train", "model-image", ["alice", "bob"], retry=Retry(2, exit_codes=(75,)))
        deadline = seconds_of(timeout) if timeout else None
        self._client.create(JobSpec(job_id, "alice", [task], deadline=deadline))

    def train(self, job_id: str, timeout: str | None = None) -> None:
        self.start(job_id, timeout)
        try:
            self._client.job(job_id).result(timeout=PATIENCE_SECONDS)
        except JobFailed as error:
            raise TrainingFailed(str(error)) from error

    def _follow(self) -> None:
        try:
            for change in self._client.watch():
                if change.type == "DELETED":
                    self.rows.pop(change.job_id, None)
                else:
                    self.rows[change.job_id] = change.status.state
        except ClientError:
            return  # it was closed


@pytest.fixture
def manager(kuscia: TestKit) -> Iterator[Manager]:
    manager = Manager(kuscia.address)
    kuscia.watched()
    yield manager
    manager.close()


def test_bob_has_no_disk(kuscia: TestKit, manager: Manager) -> None:
    kuscia.task("train", party="bob").fails(code=3, message="no disk", after="40min")
    with pytest.raises(TrainingFailed, match="no disk"):
        manager.train("j1", timeout="2h")


def test_page_repairs_itself(kuscia: TestKit, manager: Manager) -> None:
    gate = kuscia.task("train").waits()
    manager.start("j1")
    gate.reached()
    kuscia.faults.cut_watches()
    gate.release()
    kuscia.settle()
    assert manager.rows["j1"] == "Succeeded"


def test_row_goes_after_30_days(kuscia: TestKit, manager: Manager) -> None:
    manager.train("j1")
    kuscia.clock.advance(days=31)
    kuscia.settle()
    assert "j1" not in manager.rows


def test_create_is_tried_again(kuscia: TestKit, manager: Manager) -> None:
    kuscia.faults.answer("CreateJob", grpc="UNAVAILABLE", times=2)
    manager.train("j1")
    assert [call.method for call in kuscia.calls].count("CreateJob") == 3


def test_a_party_that_hangs_is_ended_by_the_deadline(kuscia: TestKit, manager: Manager) -> None:
    kuscia.task("train", party="bob").hangs()
    with pytest.raises(TrainingFailed, match="party bob"):
        manager.train("j1", timeout="2h")
    assert kuscia.clock.now.hour == 2


def test_what_bob_prints_is_in_his_log(kuscia: TestKit, manager: Manager, kuscia_client: Client) -> None:
    kuscia.task("train", party="bob").prints("no disk", stream="stderr")
    manager.train("j1")
    assert [(line.text, line.stream) for line in kuscia_client.job("j1").logs("train", "bob")] == [
        ("no disk", "stderr")
    ]


def test_a_peer_is_told_where_alice_listens(kuscia: TestKit, manager: Manager, kuscia_client: Client) -> None:
    gate = kuscia.task("train", party="alice").listens(peer="10.0.0.1:5000").waits()
    manager.start("j1")
    gate.reached()
    (task,) = kuscia_client.job("j1").status().tasks
    assert task.parties[0].endpoints == ("10.0.0.1:5000",)


def test_bob_is_killed(kuscia: TestKit, manager: Manager) -> None:
    kuscia.task("train", party="bob").killed(signal=9)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        manager.train("j1")


def test_there_is_no_port_for_bob(kuscia: TestKit, manager: Manager, kuscia_client: Client) -> None:
    kuscia.task("train", party="bob").never_scheduled("no port")
    manager.start("j1")
    kuscia.settle()
    assert "no port" in kuscia_client.job("j1").status().tasks[0].err_msg
    assert manager.rows["j1"] in ("Pending", "Running")


def test_the_next_attempt_succeeds(kuscia: TestKit, manager: Manager, kuscia_client: Client) -> None:
    kuscia.task("train", party="bob").fails(code=75).then.succeeds()
    manager.train("j1")
    assert_job(kuscia_client, "j1")
    assert [entry.event for entry in kuscia_client.job("j1").history()].count("task_started") == 2


@pytest.mark.kuscia(require_approval=True)
def test_a_job_waits_for_approval(kuscia: TestKit, manager: Manager) -> None:
    manager.start("j1")
    kuscia.settle()
    assert manager.rows["j1"] == "AwaitingApproval"


DOMAINS = """
import pytest
from kusciajob.client import JobSpec, NotAllowed, Task

@pytest.fixture(scope="session")
def kuscia_domains():
    return ("alice", "bob", "carol")

@pytest.mark.kuscia(require_approval=True)
def test_a_job_runs_once_bob_approves_it(kuscia):
    job = kuscia.domain_client("alice").create(JobSpec("j1", "alice", [Task("train", "app", ["alice", "bob"])]))
    kuscia.settle()
    assert job.status().state == "AwaitingApproval"
    with pytest.raises(NotAllowed, match="carol"):
        kuscia.domain_client("carol").job("j1").approve()
    kuscia.domain_client("bob").job("j1").approve("a good model")
    job.result(timeout=60)
    assert [(call.domain, call.outcome) for call in kuscia.calls if call.method == "ApproveJob"] == [
        ("carol", "11102"), ("bob", "OK")]
"""


def test_domains_have_tokens_of_their_own(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p kusciajob.pytest_plugin -p no:schemathesis\n")
    pytester.makepyfile(DOMAINS)
    pytester.runpytest_subprocess("-n", "0").assert_outcomes(passed=1)
