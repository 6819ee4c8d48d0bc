"""The real `kusciajob` program in subprocesses, and jobs for it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.support.polling import PATIENCE_SECONDS
from tests.support.server import clean_environment

END_SECONDS = PATIENCE_SECONDS

Finished = subprocess.CompletedProcess[str]


class Addressed(Protocol):
    """A server of any kind."""

    @property
    def address(self) -> str:
        """HOST:PORT of gRPC."""


def kusciajob(*arguments: object, server: Addressed | None = None, stdin: str = "", **environment: str) -> Finished:
    """Run the program to its end."""
    return subprocess.run(
        argv(*arguments),
        env=environment_for(server, environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )


@contextmanager
def started(*arguments: object, server: Addressed | None = None, **environment: str) -> Iterator[Any]:
    """The program while it runs, its output in pipes; killed at the end if need be."""
    with subprocess.Popen(
        argv(*arguments),
        env=environment_for(server, environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def argv(*arguments: object) -> list[str]:
    """The program with these arguments."""
    return [sys.executable, "-m", "kusciajob", *map(str, arguments)]


def environment_for(server: Addressed | None, more: dict[str, str]) -> dict[str, str]:
    """What the program should see: the server's address, if there is one, and these variables."""
    address = {"KUSCIAJOB_SERVER": server.address} if server else {}
    return clean_environment() | address | more


def task(alias: str = "psi", **members: Any) -> dict[str, Any]:
    """A task of alice and bob; `script` is what the simulated runtime does."""
    script = members.pop("script", {})
    parties = [{"domain_id": "alice"}, {"domain_id": "bob"}]
    return {"alias": alias, "app_image": "app", "parties": parties, "task_input_config": json.dumps(script), **members}


def job_file(directory: Path, job_id: str, *tasks: dict[str, Any]) -> Path:
    """A job file; one task that succeeds at once unless tasks are given."""
    file = directory / f"{job_id}.json"
    file.write_text(json.dumps({"job_id": job_id, "initiator": "alice", "tasks": tasks or [task()]}))
    return file


def shell_image(directory: Path) -> Path:
    """A directory with the AppImage `shell`: a task's input config is the script that it runs."""
    container = {
        "name": "shell",
        "command": ["sh", "./script"],
        "workingDir": "/work",
        "configVolumeMounts": [{"mountPath": "/work/script", "subPath": "script"}],
    }
    document = {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": "shell"},
        "spec": {
            "configTemplates": {"script": "{{{.TASK_INPUT_CONFIG}}}\n"},
            "deployTemplates": [{"name": "shell", "replicas": 1, "spec": {"containers": [container]}}],
        },
    }
    images = directory / "images"
    images.mkdir()
    (images / "shell.yaml").write_text(json.dumps(document))
    return images


def shell_task(alias: str, script: str, **members: Any) -> dict[str, Any]:
    """A task of alice and bob, who both run the script."""
    return task(alias, **members) | {"app_image": "shell", "task_input_config": script}


def assert_refused(finished: Finished, *words: str, exit_code: int = 1) -> None:
    """It ended with that exit code and one line on stderr that has the words."""
    assert finished.returncode == exit_code, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.startswith("kusciajob: ")
    assert finished.stderr.count("\n") == 1, finished.stderr
    assert [word for word in words if word not in finished.stderr] == [], finished.stderr
