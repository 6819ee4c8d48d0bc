"""The commands that ask by kusciajob.v1: the real program, against the real server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from kusciajob.testing.session import TestKit
from tests.support.program import assert_refused, job_file, kusciajob, started, task


def submit(kuscia: TestKit, file: Path, *options: str) -> None:
    done = kusciajob("submit", file, *options, server=kuscia)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file.stem}\n", "")


def listed(kuscia: TestKit, *options: str) -> list[str]:
    return kusciajob("list", "-o", "name", *options, server=kuscia).stdout.split()


def test_list_filters_by_all_that_is_given(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(job="bad", party="bob").fails(code=3, message="no disk")
    submit(kuscia, job_file(tmp_path, "good"), "--label", "suite=list")
    submit(kuscia, job_file(tmp_path, "bad"), "--label", "suite=list")
    assert kusciajob("wait", "bad", server=kuscia).stdout == "job bad is Failed\n"
    kusciajob("wait", "good", server=kuscia)
    assert listed(kuscia, "--label", "suite=list") == ["bad", "good"]
    assert listed(kuscia, "--label", "suite=list", "--oldest-first") == ["good", "bad"]
    assert listed(kuscia, "--label", "suite=list", "--state", "failed", "--domain", "bob", "--since", "1h") == ["bad"]
    assert listed(kuscia, "--label", "suite=list", "--image", "nothing") == []
    table = kusciajob("list", "--label", "suite=list", "-o", "wide", server=kuscia).stdout
    assert "no disk" in table
    assert "suite=list" in table
    rows = [json.loads(line) for line in kusciajob("list", "-o", "json", server=kuscia).stdout.splitlines()]
    assert {"good", "bad"} <= {row["job_id"] for row in rows}


def test_a_list_that_is_cut_says_so(kuscia: TestKit, tmp_path: Path) -> None:
    for name in ("cut-1", "cut-2"):
        submit(kuscia, job_file(tmp_path, name))
    done = kusciajob("list", "--prefix", "cut-", "--limit", "1", server=kuscia)
    assert "cut-2" in done.stdout
    assert "cut-1" not in done.stdout
    assert "--limit 0 lists all" in done.stderr
    assert listed(kuscia, "--prefix", "cut-", "--limit", "0") == ["cut-2", "cut-1"]


def test_list_goes_on_with_what_becomes_of_the_jobs(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    submit(kuscia, job_file(tmp_path, "followed"))
    with started("list", "--prefix", "followed", "-o", "json", "-w", server=kuscia) as program:
        assert json.loads(program.stdout.readline())["job_id"] == "followed"
        kusciajob("stop", "followed", "--reason", "enough", server=kuscia)
        states: list[str] = []
        while "Failed" not in states:
            event = json.loads(program.stdout.readline())
            states.append(event["job"]["state"] if event["job"] else "")


def test_describe_shows_each_attempt_of_each_party(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(party="bob").fails(code=3, message="no disk")
    submit(kuscia, job_file(tmp_path, "tried"), "--retry", "2", "--backoff", "1h")
    kusciajob("wait", "tried", server=kuscia)
    told: dict[str, Any] = json.loads(kusciajob("describe", "tried", "-o", "json", server=kuscia).stdout)
    (only,) = told["tasks"]
    assert [attempt["state"] for attempt in only["attempts"]] == ["Failed", "Failed"]
    text = kusciajob("describe", "tried", server=kuscia).stdout
    assert text.count("exit code 3: no disk") >= 2


def test_history_tells_who_asked_and_why(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    submit(kuscia, job_file(tmp_path, "told"))
    assert kusciajob("stop", "told", "--reason", "budget is spent", server=kuscia).returncode == 0
    text = kusciajob("history", "told", server=kuscia).stdout
    assert "budget is spent" in text
    assert "master" in text
    events = [
        json.loads(line)["event"]
        for line in kusciajob("history", "told", "-o", "json", server=kuscia).stdout.splitlines()
    ]
    assert events[0] == "created"
    assert {"stopped", "ended"} <= set(events)


def test_audit_tells_who_wanted_what_and_what_was_refused(kuscia: TestKit, tmp_path: Path) -> None:
    submit(kuscia, job_file(tmp_path, "audited"))
    kusciajob("cancel", "gone", "--reason", "a trial", server=kuscia)
    told = json.loads(kusciajob("audit", "--job", "gone", "-o", "json", server=kuscia).stdout)
    assert (told["method"], told["caller"], told["code"]) == ("CancelJob", "master", 11209)
    done = kusciajob("audit", "--since", "1h", "--limit", "1", server=kuscia)
    assert "CancelJob" in done.stdout
    assert "SubmitJob" not in done.stdout
    assert "--limit 0 lists all" in done.stderr
    assert "SubmitJob" in kusciajob("audit", "--caller", "master", "--limit", "0", server=kuscia).stdout
    assert kusciajob("audit", "--until", "1h", server=kuscia).stdout.splitlines()[1:] == []


def test_info_tells_what_the_server_is_and_grants(kuscia: TestKit) -> None:
    text = kusciajob("info", server=kuscia).stdout
    assert "simulated" in text
    assert "the master" in text
    told = json.loads(kusciajob("info", "-o", "json", server=kuscia).stdout)
    assert told["limits"]
    assert all(name in text for name in told["limits"])


@pytest.mark.kuscia(clock="stopped")
def test_wait_tells_what_the_job_waits_for_when_the_time_is_over(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().starts(after="1h", waiting="pulling the image")
    submit(kuscia, job_file(tmp_path, "slow"))
    kuscia.settle()
    assert_refused(
        kusciajob("wait", "slow", "--timeout", "1s", server=kuscia), "is Pending after 1 s", "pulling the image"
    )


def test_wait_ends_once_the_state_cannot_come_any_more(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(party="bob").fails(code=3, message="no disk")
    submit(kuscia, job_file(tmp_path, "hopeless"))
    assert_refused(
        kusciajob("wait", "hopeless", "--for", "Succeeded", server=kuscia), "hopeless ended: Failed", "no disk"
    )
    assert_refused(kusciajob("wait", "nowhere", server=kuscia), "nowhere")


def test_validate_says_all_that_is_wrong_and_stores_nothing(kuscia: TestKit, tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"job_id": "wrong", "initiator": "", "tasks": [task(dependencies=["nobody"])]}))
    done = kusciajob("validate", file, server=kuscia)
    assert done.returncode == 1
    assert "initiator" in done.stdout
    assert "tasks[0].dependencies[0]" in done.stdout
    assert "2 problems" in done.stderr
    assert listed(kuscia, "--prefix", "wrong") == []


def test_validate_shows_how_a_good_job_would_run(kuscia: TestKit, tmp_path: Path) -> None:
    file = job_file(tmp_path, "plan", task("first"), task("second", dependencies=["first"]))
    done = kusciajob("validate", file, server=kuscia)
    assert done.returncode == 0
    assert done.stdout.startswith("wave 1: first\nwave 2: second\n")
    assert listed(kuscia, "--prefix", "plan") == []


def test_submit_refuses_what_makes_no_sense(kuscia: TestKit, tmp_path: Path) -> None:
    file = job_file(tmp_path, "nonsense")
    for options, words in (
        (("--retry", "1"), ("--retry", "2 to 100")),
        (("--backoff", "1s"), ("--retry",)),
        (("--deadline", "soon"), ("'soon'", "90s")),
        (("--label", "owner"), ("'owner'", "NAME=VALUE")),
    ):
        done = kusciajob("submit", file, *options, server=kuscia)
        assert done.returncode == 2, done.stderr
        assert [word for word in words if word not in done.stderr] == [], done.stderr
    done = kusciajob("submit", file, "--retry", "nobody=2", server=kuscia)
    assert_refused(done, "nobody")
    assert listed(kuscia, "--prefix", "nonsense") == []


async def test_what_another_server_does_not_offer_is_said() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        done = await asyncio.to_thread(kusciajob, "list", KUSCIAJOB_SERVER=f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
    assert_refused(done, "does not offer this operation", "need kusciajob.v1")
