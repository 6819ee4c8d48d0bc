"""Jobs of real programs of two parties, which run until the test lets them end."""

import json
from pathlib import Path
from typing import Any

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.images import python_program, write_image
from tests.support.requests import task_request

PROGRAM = python_program(
    "import json, os, pathlib, sys, time\n"
    "domain = os.environ['KUSCIA_DOMAIN_ID']\n"
    "gate = pathlib.Path(json.loads(json.load(open('conf/task.json'))['input'])['gate'])\n"
    "print(f'{domain} waits', flush=True)\n"
    "while not (gate.exists() and domain in json.loads(gate.read_text())):\n"
    "    time.sleep(0.02)\n"
    "code = json.loads(gate.read_text())[domain]\n"
    "print(f'{domain} ends with {code}', file=sys.stderr, flush=True)\n"
    "sys.exit(code)\n"
)


class Gate:
    """A task's programs end once they find their exit code in a file."""

    def __init__(self, directory: Path, alias: str) -> None:
        self._file = directory / f"{alias}.gate"
        self._alias = alias

    @property
    def path(self) -> str:
        """Which its programs get as their input."""
        return str(self._file)

    def task(self, *after: str) -> pb.Task:
        """The task, of alice and bob."""
        config = json.dumps({"gate": str(self._file)})
        return task_request(self._alias, "gated", dependencies=after, task_input_config=config)

    def open(self, **exit_codes: Any) -> None:
        """Whoever is named ends with that exit code."""
        written = self._file.with_suffix(".new")
        written.write_text(json.dumps(exit_codes))
        written.rename(self._file)


def images(directory: Path) -> Path:
    """A directory with the AppImage of such tasks."""
    write_image(directory / "images", "gated", PROGRAM, ports=["peer"])
    return directory / "images"
