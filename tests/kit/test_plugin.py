"""The pytest plugin: a run of pytest in a run of pytest."""

import pytest

from kusciajob.testing import JobServer

pytest_plugins = ("pytester",)
SUITE = """
import unittest
import pytest
from kusciajob.client import Client, JobSpec, Task
from kusciajob.testing import JobServer, assert_job

def spec():
    return JobSpec("j1", "alice", [Task("train", "app", ["alice", "bob"])])

def test_it_succeeds(kuscia, kuscia_client, kuscia_clock):
    kuscia.task("train").succeeds(after="3h")
    kuscia_client.create(spec()).result(timeout=60)
    assert kuscia_clock.now.hour == 3
    assert_job(kuscia_client, "j1")

@pytest.mark.kuscia(require_approval=True)
def test_settings_are_those_of_the_mark(kuscia, kuscia_client):
    assert kuscia_client.create(spec()).status().state == "AwaitingApproval"

def test_nothing_is_left_of_the_test_before(kuscia_client):
    assert list(kuscia_client.jobs()) == []

class OfUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _server(self, kuscia):
        self.kuscia = kuscia

    def test_it_works_in_classes(self):
        with self.kuscia.client() as client:
            self.assertEqual(client.create(spec()).result(timeout=60).state, "Succeeded")
"""
STRICT = """
import pytest

def test_a_rule_that_never_matched(kuscia):
    kuscia.task("train", party="bobb").fails()

@pytest.mark.kuscia(strict=False)
def test_lenient(kuscia):
    kuscia.task("train").fails()

def test_that_fails_by_itself(kuscia):
    kuscia.task("train").fails()
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p kusciajob.pytest_plugin -p no:schemathesis\n")
    return pytester


def test_each_test_has_a_fresh_server(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    suite.runpytest_subprocess("-n", "0").assert_outcomes(passed=4)


def test_it_works_with_xdist(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    suite.runpytest_subprocess("-n", "2").assert_outcomes(passed=4)


def test_it_runs_against_a_server_elsewhere(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    with JobServer(process=True) as server:
        suite.runpytest_subprocess("-n", "0", f"--kuscia-address={server.address}").assert_outcomes(passed=4)


def test_a_server_that_cannot_be_controlled_says_how_to_start_one(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_any(kuscia): pass")
    with JobServer(process=True, testing=False, runtime="simulated", durable=True) as server:
        result = suite.runpytest_subprocess("-n", "0", f"--kuscia-address={server.address}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*start it with `kusciajob serve --testing`*"])


def test_what_a_strict_test_must_not_leave_fails_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(STRICT)
    result = suite.runpytest_subprocess("-n", "0")
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(['*rule 1 (task "train", domain "bobb") never matched*'])
