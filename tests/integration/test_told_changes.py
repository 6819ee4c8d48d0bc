"""Commands that change a job say what they did; errors are told to programs as JSON; `status` tells what it can."""

import json
from pathlib import Path

import pytest

from kusciajob.testing.session import TestKit
from tests.support.program import END_SECONDS, job_file, kusciajob, started


def create(kuscia: TestKit, directory: Path, job_id: str) -> None:
    assert kusciajob("create", "-f", job_file(directory, job_id), server=kuscia).returncode == 0


def test_each_command_says_what_it_did_or_that_nothing_changed(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "told")
    with started("watch", "told", server=kuscia) as watching:
        while "told Running" not in watching.stdout.readline():
            assert watching.poll() is None
    suspended = kusciajob("suspend", "told", "--wait", server=kuscia)
    assert suspended.stdout.startswith("suspended job told: it ")
    assert suspended.stdout.endswith("\njob told is Suspended\n")
    for command, told in (
        ("stop", "stopped job told: it was Suspended and it is Failed now\n"),
        ("stop", "nothing changed: job told is Failed\n"),
        ("cancel", "cancelled job told: it was Failed and it is Cancelled now\n"),
        ("cancel", "nothing changed: job told is Cancelled\n"),
        ("delete", "deleted job told: it was Cancelled\n"),
    ):
        finished = kusciajob(command, "told", server=kuscia)
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, told, ""), command


def test_wait_returns_when_the_job_is_where_it_leads_and_fails_where_it_ends_otherwise(
    kuscia: TestKit, tmp_path: Path
) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "waits")
    stopped = kusciajob("stop", "waits", "--wait", server=kuscia)
    assert (stopped.returncode, stopped.stdout.splitlines()[-1]) == (0, "job waits is Failed")
    with started("restart", "waits", "--wait", server=kuscia) as restarting:
        assert "restarted job waits: it was Failed" in restarting.stdout.readline()
        assert kusciajob("cancel", "waits", "--wait", server=kuscia).returncode == 0
        assert restarting.wait(END_SECONDS) == 1
        assert restarting.stderr.read() == "kusciajob: job waits ended: Cancelled\n"
    assert kusciajob("delete", "waits", "--wait", server=kuscia).returncode == 0


def test_a_job_restarted_with_wait_has_succeeded(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(attempt=1).hangs()
    create(kuscia, tmp_path, "again")
    assert "stopped job" in kusciajob("stop", "again", server=kuscia).stdout
    restarted = kusciajob("restart", "again", "--wait", server=kuscia)
    assert (restarted.returncode, restarted.stdout.splitlines()[-1]) == (0, "job again is Succeeded")


def test_status_tells_the_known_jobs_beside_the_unknown(kuscia: TestKit, tmp_path: Path) -> None:
    create(kuscia, tmp_path, "known")
    told = kusciajob("status", "absent", "known", "missing", server=kuscia)
    assert told.returncode == 1
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["JOB", "known"]
    assert '"absent"' in told.stderr
    assert '"missing"' in told.stderr
    told = kusciajob("status", "absent", "known", "-o", "json", server=kuscia)
    assert [job["job_id"] for job in json.loads(told.stdout)["jobs"]] == ["known"]
    assert json.loads(told.stderr)["code"] == 11203


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["get", "absent", "-o", "json"], 1, 11202),
        (["stop", "absent", "-ojson"], 1, 11205),
        (["get", "--output=json"], 2, 2),
        (["create", "-f", "/no", "--output", "json"], 2, 2),
        (["get", "job", "-o", "json", "--server", "127.0.0.1:1"], 1, 1),
    ],
)
def test_an_error_is_one_json_object_with_code_and_message(
    kuscia: TestKit, arguments: list[str], exit_code: int, code: int
) -> None:
    refused = kusciajob(*arguments, server=kuscia)
    assert (refused.returncode, refused.stdout) == (exit_code, "")
    error = json.loads(refused.stderr)
    assert error.keys() == {"code", "message"}
    assert error["code"] == code
    assert error["message"]
