"""The commands that ask by kusciajob.v1: the real program, against the real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

from tests.support.polling import eventually
from tests.support.program import assert_refused, job_file, kusciajob, started, task
from tests.support.server import RunningServer, running_server

FAILS = {"parties": {"bob": {"exit_code": 3, "message": "no disk"}}}
HANGS = {"seconds": 1000}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """One for all tests of this file; each has job ids of its own."""
    async with running_server(tmp_path_factory.mktemp("cli"), runtime="simulated") as running:
        yield running


def submit(server: RunningServer, file: Path, *options: str) -> None:
    done = kusciajob("submit", file, *options, server=server)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file.stem}\n", "")


def listed(server: RunningServer, *options: str) -> list[str]:
    return kusciajob("list", "-o", "name", *options, server=server).stdout.split()


async def test_list_filters_by_all_that_is_given(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "good"), "--label", "suite=list")
    submit(server, job_file(tmp_path, "bad", task(script=FAILS)), "--label", "suite=list")
    assert kusciajob("wait", "bad", server=server).stdout == "job bad is Failed\n"
    kusciajob("wait", "good", server=server)
    assert listed(server, "--label", "suite=list") == ["bad", "good"]
    assert listed(server, "--label", "suite=list", "--oldest-first") == ["good", "bad"]
    assert listed(server, "--label", "suite=list", "--state", "failed", "--domain", "bob", "--since", "1h") == ["bad"]
    assert listed(server, "--label", "suite=list", "--image", "nothing") == []
    table = kusciajob("list", "--label", "suite=list", "-o", "wide", server=server).stdout
    assert "no disk" in table
    assert "suite=list" in table
    rows = [json.loads(line) for line in kusciajob("list", "-o", "json", server=server).stdout.splitlines()]
    assert {"good", "bad"} <= {row["job_id"] for row in rows}


async def test_a_list_that_is_cut_says_so(server: RunningServer, tmp_path: Path) -> None:
    for name in ("cut-1", "cut-2"):
        submit(server, job_file(tmp_path, name))
    done = kusciajob("list", "--prefix", "cut-", "--limit", "1", server=server)
    assert "cut-2" in done.stdout
    assert "cut-1" not in done.stdout
    assert "--limit 0 lists all" in done.stderr
    assert listed(server, "--prefix", "cut-", "--limit", "0") == ["cut-2", "cut-1"]


async def test_list_goes_on_with_what_becomes_of_the_jobs(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "followed", task(script=HANGS)))
    with started("list", "--prefix", "followed", "-o", "json", "-w", server=server) as program:
        assert json.loads(program.stdout.readline())["job_id"] == "followed"
        kusciajob("stop", "followed", "--reason", "enough", server=server)
        states: list[str] = []
        while "Failed" not in states:
            event = json.loads(program.stdout.readline())
            states.append(event["job"]["state"] if event["job"] else "")


async def test_describe_shows_each_attempt_of_each_party(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "tried", task(script=FAILS)), "--retry", "2", "--backoff", "10ms")
    kusciajob("wait", "tried", server=server)
    told: dict[str, Any] = json.loads(kusciajob("describe", "tried", "-o", "json", server=server).stdout)
    (only,) = told["tasks"]
    assert [attempt["state"] for attempt in only["attempts"]] == ["Failed", "Failed"]
    text = kusciajob("describe", "tried", server=server).stdout
    assert text.count("exit code 3: no disk") >= 2


async def test_history_tells_who_asked_and_why(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "told", task(script=HANGS)))
    assert kusciajob("stop", "told", "--reason", "budget is spent", server=server).returncode == 0
    text = kusciajob("history", "told", server=server).stdout
    assert "budget is spent" in text
    assert "master" in text
    events = [
        json.loads(line)["event"]
        for line in kusciajob("history", "told", "-o", "json", server=server).stdout.splitlines()
    ]
    assert events[0] == "created"
    assert {"stopped", "ended"} <= set(events)


async def test_audit_tells_who_wanted_what_and_what_was_refused(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "audited", task()))
    kusciajob("cancel", "gone", "--reason", "a trial", server=server)
    told = json.loads(kusciajob("audit", "--job", "gone", "-o", "json", server=server).stdout)
    assert (told["method"], told["caller"], told["code"]) == ("CancelJob", "master", 11209)
    done = kusciajob("audit", "--since", "1h", "--limit", "1", server=server)
    assert "CancelJob" in done.stdout
    assert "SubmitJob" not in done.stdout
    assert "--limit 0 lists all" in done.stderr
    assert "SubmitJob" in kusciajob("audit", "--caller", "master", "--limit", "0", server=server).stdout
    assert kusciajob("audit", "--until", "1h", server=server).stdout.splitlines()[1:] == []


async def test_info_tells_what_the_server_is_and_grants(server: RunningServer) -> None:
    text = kusciajob("info", server=server).stdout
    assert "simulated" in text
    assert "the master" in text
    told = json.loads(kusciajob("info", "-o", "json", server=server).stdout)
    assert told["limits"]
    assert all(name in text for name in told["limits"])


async def test_wait_tells_what_the_job_waits_for_when_the_time_is_over(server: RunningServer, tmp_path: Path) -> None:
    waiting = {"start_seconds": 1000, "waiting": "pulling the image"}
    submit(server, job_file(tmp_path, "slow", task(script=waiting)))
    await eventually(lambda: "pulling the image" in kusciajob("describe", "slow", server=server).stdout)
    assert_refused(
        kusciajob("wait", "slow", "--timeout", "50ms", server=server), "is Pending after 0.05 s", "pulling the image"
    )


async def test_wait_ends_once_the_state_cannot_come_any_more(server: RunningServer, tmp_path: Path) -> None:
    submit(server, job_file(tmp_path, "hopeless", task(script=FAILS)))
    assert_refused(
        kusciajob("wait", "hopeless", "--for", "Succeeded", server=server), "hopeless ended: Failed", "no disk"
    )
    assert_refused(kusciajob("wait", "nowhere", server=server), "nowhere")


async def test_validate_says_all_that_is_wrong_and_stores_nothing(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"job_id": "wrong", "initiator": "", "tasks": [task(dependencies=["nobody"])]}))
    done = kusciajob("validate", file, server=server)
    assert done.returncode == 1
    assert "initiator" in done.stdout
    assert "tasks[0].dependencies[0]" in done.stdout
    assert "2 problems" in done.stderr
    assert listed(server, "--prefix", "wrong") == []


async def test_validate_shows_how_a_good_job_would_run(server: RunningServer, tmp_path: Path) -> None:
    file = job_file(tmp_path, "plan", task("first"), task("second", dependencies=["first"]))
    done = kusciajob("validate", file, server=server)
    assert done.returncode == 0
    assert done.stdout.startswith("wave 1: first\nwave 2: second\n")
    assert listed(server, "--prefix", "plan") == []


async def test_submit_refuses_what_makes_no_sense(server: RunningServer, tmp_path: Path) -> None:
    file = job_file(tmp_path, "nonsense")
    for options, words in (
        (("--retry", "1"), ("--retry", "2 to 100")),
        (("--backoff", "1s"), ("--retry",)),
        (("--deadline", "soon"), ("'soon'", "90s")),
        (("--label", "owner"), ("'owner'", "NAME=VALUE")),
    ):
        done = kusciajob("submit", file, *options, server=server)
        assert done.returncode == 2, done.stderr
        assert [word for word in words if word not in done.stderr] == [], done.stderr
    done = kusciajob("submit", file, "--retry", "nobody=2", server=server)
    assert_refused(done, "nobody")
    assert listed(server, "--prefix", "nonsense") == []


async def test_what_another_server_does_not_offer_is_said() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        done = await asyncio.to_thread(kusciajob, "list", KUSCIAJOB_SERVER=f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
    assert_refused(done, "does not offer this operation", "need kusciajob.v1")
