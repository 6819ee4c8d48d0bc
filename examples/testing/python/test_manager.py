"""Tests of an application that drives jobs, against a real server whose programs, time and network they control."""

import pytest
from manager import Manager, TrainingFailed

from kusciajob.testing import assert_job


@pytest.fixture
def manager(kuscia):
    manager = Manager(kuscia.address, kuscia.cert_dir)
    kuscia.watched()  # its page follows the jobs from now on
    yield manager
    manager.close()


def test_a_model_is_trained(kuscia, manager):
    manager.train("j1")
    assert_job(kuscia.client(), "j1", state="Succeeded")


def test_bob_has_no_disk(kuscia, manager):
    kuscia.task("train", party="alice").hangs()
    kuscia.task("train", party="bob").fails(code=3, message="no disk", after="40min")
    with pytest.raises(TrainingFailed, match="no disk"):
        manager.train("j1")  # 40 minutes of the server's time, milliseconds of ours


def test_a_slow_job_succeeds_in_the_end(kuscia, manager):
    kuscia.task("train").progresses(0.5).succeeds(after="20h")
    manager.train("j1")
    assert kuscia.clock.now.hour == 20


def test_the_page_repairs_itself_after_a_lost_watch(kuscia, manager):
    gate = kuscia.task("train").waits()
    manager.start("j1")
    gate.reached()
    kuscia.faults.cut_watches()
    gate.release()
    kuscia.settle()
    assert manager.rows["j1"] == "Succeeded"


@pytest.mark.kuscia(require_approval=True)
def test_a_job_runs_once_bob_approves_it(kuscia, manager):
    manager.start("j1")
    kuscia.settle()
    assert manager.rows["j1"] == "AwaitingApproval"
    kuscia.domain_client("bob").job("j1").approve()
    kuscia.settle()
    assert manager.rows["j1"] == "Succeeded"


def test_a_row_goes_after_30_days(kuscia, manager):
    manager.train("j1")
    kuscia.clock.advance(days=31)
    kuscia.settle()
    assert "j1" not in manager.rows
