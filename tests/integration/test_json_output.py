"""`-o json` is one object of every command that tells something, over mtls too, and of every error."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kusciajob.cli.errors import wants_json
from tests.support.program import END_SECONDS, Finished, job_file, kusciajob, shell_image, shell_task, started, task
from tests.support.secured import secured_server
from tests.support.server import RunningServer, running_server


def told(finished: Finished) -> Any:
    assert (finished.returncode, finished.stderr) == (0, "")
    return json.loads(finished.stdout)


def error_of(finished: Finished) -> tuple[int, str]:
    """Its code and message."""
    assert finished.stdout == ""
    error = json.loads(finished.stderr)
    assert error.keys() == {"code", "message"}
    return error["code"], error["message"]


async def test_every_command_that_changes_a_job_over_mtls(tmp_path: Path) -> None:
    file = job_file(tmp_path, "far", task(script={"seconds": 60}))
    async with secured_server(tmp_path, require_approval=True) as place:
        tls = {"KUSCIAJOB_CERT_DIR": str(place.certs), "KUSCIAJOB_SERVER": place.server.address}

        def call(*arguments: object) -> Finished:
            return kusciajob(*arguments, "-o", "json", server=None, **tls)

        assert told(call("create", "-f", file)) == {"job_id": "far"}
        bob = ("--token-file", place.certs / "domains" / "bob.token")
        assert told(call("approve", "far", "--accept", *bob)) == {"job_id": "far"}
        with started("watch", "far", server=None, **tls) as watching:
            while "far Running" not in watching.stdout.readline():
                assert watching.poll() is None
        assert told(call("suspend", "far", "--wait")) == {"job_id": "far"}
        with started("restart", "far", "--wait", "-o", "json", server=None, **tls) as restarting:
            assert '"far"' in restarting.stdout.readline() + restarting.stdout.readline()
            assert told(call("stop", "far", "--wait")) == {"job_id": "far"}
            assert restarting.wait(END_SECONDS) == 1
            assert json.loads(restarting.stderr.read()) == {"code": 1, "message": "job far ended: Failed"}
        assert told(call("cancel", "far", "--wait")) == {"job_id": "far"}
        assert told(call("delete", "far", "--wait")) == {"job_id": "far"}
        code, message = error_of(call("approve", "far", "--reject"))
        assert (code > 11000, '"far"' in message) == (True, True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """It runs real programs."""
    directory = tmp_path_factory.mktemp("json")
    async with running_server(directory, app_image_dir=shell_image(directory)) as running:
        yield running


def test_logs_are_an_object_for_each_line(server: RunningServer, tmp_path: Path) -> None:
    file = job_file(tmp_path, "talk", shell_task("say", 'printf "one\n\033[1mtwo"'))
    assert kusciajob("create", "-f", file, server=server).returncode == 0
    assert kusciajob("watch", "talk", server=server).returncode == 0
    both = kusciajob("logs", "talk", "-fo", "json", server=server).stdout.splitlines()
    assert sorted(json.loads(line)["party"] for line in both) == ["alice", "alice", "bob", "bob"]
    printed = kusciajob("logs", "talk", "--party", "bob", "-o", "json", server=server).stdout
    first, second = map(json.loads, printed.splitlines())
    expected = {"task": "say", "task_id": first["task_id"], "party": "bob", "line": "one"}
    assert (first, second) == (expected, expected | {"line": "\x1b[1mtwo"})
    code, message = error_of(kusciajob("logs", "talk", "--task", "none", "-fo", "json", server=server))
    assert (code, message) == (1, "job talk has no started task named none")


def test_doctor_tells_all_findings(server: RunningServer) -> None:
    stray = server.data_dir / "runs" / "mine"
    stray.parent.mkdir(exist_ok=True)
    stray.touch()
    examined = kusciajob("doctor", "--data-dir", server.data_dir, "-o", "json")
    stray.unlink()
    answer = json.loads(examined.stdout)
    assert (examined.returncode, answer["sound"]) == (1, False)
    problems = [finding["text"] for finding in answer["findings"] if finding["level"] == "PROBLEM"]
    assert problems == ["runs/mine: not the server's; it stays until somebody removes it"]
    assert {"level": "ok", "text": "rows: all can be read"} in answer["findings"]
    assert kusciajob("doctor", "--data-dir", server.data_dir, "-o", "json").returncode == 0


def test_init_tells_what_it_wrote_and_an_error_what_is_in_the_way(tmp_path: Path) -> None:
    written = told(kusciajob("init", "--dir", tmp_path / "certs", "--san", "example.com", "-o", "json"))
    assert sorted(written["files"]) == sorted(str(file) for file in (tmp_path / "certs").iterdir() if file.is_file())
    assert "example.com" in written["names"]
    assert written["serve"] == f"kusciajob serve --cert-dir {tmp_path / 'certs'}"
    assert (tmp_path / "certs" / "token").read_text() not in json.dumps(written)
    code, message = error_of(kusciajob("init", "--dir", tmp_path / "certs", "-o", "json"))
    assert (code, str(tmp_path / "certs") in message) == (1, True)


def test_settings_are_a_list_of_objects() -> None:
    row = told(kusciajob("settings", "-o", "json"))["settings"][1]
    assert row.pop("meaning").startswith("gRPC port")
    expected = {"name": "grpc_port", "flag": "--grpc-port", "variable": "KUSCIAJOB_GRPC_PORT"}
    assert row == expected | {"default": "8083", "choices": []}
    code, message = error_of(kusciajob("settings", "--effective", "--grpc-port", "many", "-o", "json"))
    assert (code, "grpc_port" in message) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "is_wanted"),
    [
        ("get x -o json", True),
        ("get x -ojson", True),
        ("logs x -fo json", True),
        ("logs x -fojson", True),
        ("get --output json", True),
        ("get --output=json", True),
        ("get x -o table", False),
        ("create -f json", False),
        ("serve --log-format json", False),
        ("stop x --reason json", False),
    ],
)
def test_an_error_is_json_wherever_the_output_would_be(arguments: str, is_wanted: bool) -> None:
    assert wants_json(arguments.split()) is is_wanted
