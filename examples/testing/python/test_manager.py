"""Tests of an application that drives jobs, against a real server whose programs, time and network they control."""

from collections.abc import Iterator

import pytest
from manager import Manager, TrainingFailed

from kusciajob.testing import assert_job


@pytest.fixture
def manager(kuscia) -> Iterator[Manager]:
    manager = Manager(kuscia.address)
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


def test_the_page_repairs_itself_after_a_lost_watch(kuscia, manager, until):
    gate = kuscia.task("train").waits()
    manager.start("j1")
    gate.reached()
    kuscia.faults.cut_watches()
    gate.release()
    until(lambda: manager.rows.get("j1") == "Succeeded")


@pytest.mark.kuscia(require_approval=True)
def test_a_job_waits_for_bobs_approval(kuscia, manager, until):
    manager.start("j1")
    until(lambda: manager.rows.get("j1") == "AwaitingApproval")


def test_a_row_goes_after_30_days(kuscia, manager, until):
    manager.train("j1")
    until(lambda: manager.rows.get("j1") == "Succeeded")
    kuscia.clock.advance(days=31)
    until(lambda: "j1" not in manager.rows)
