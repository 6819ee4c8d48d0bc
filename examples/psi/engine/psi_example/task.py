"""What the job server tells a program: its task, the parties, the ports, the domain's own directory."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn


class TaskError(Exception):
    """The task cannot be done; the text says why and what would be right."""


@dataclass(frozen=True)
class Party:
    """One party of the task and the address (`host:port`) of each port it offers to the others."""

    domain_id: str
    role: str
    addresses: dict[str, str]

    def address(self, port_name: str) -> tuple[str, int]:
        """Host and port of the named port; raises TaskError when the party has none of that name."""
        address = self.addresses.get(port_name)
        if address is None:
            raise TaskError(f"party {self.domain_id!r} offers no port named {port_name!r}; the AppImage must list it")
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit():
            raise TaskError(f"address {address!r} of party {self.domain_id!r} should look like host:port")
        return host, int(port)


@dataclass(frozen=True)
class Task:
    """One task as one of its parties sees it."""

    task_id: str
    settings: dict[str, Any]
    parties: tuple[Party, ...]
    self_index: int
    listen_ports: dict[str, int]
    domain_dir: Path

    @property
    def me(self) -> Party:
        """The party this process is."""
        return self.parties[self.self_index]

    @property
    def peer(self) -> Party:
        """The other party; raises TaskError unless there are exactly two."""
        if len(self.parties) != 2:
            raise TaskError(f"this program takes exactly two parties, the task has {len(self.parties)}")
        return self.parties[1 - self.self_index]

    def listen_port(self, port_name: str) -> int:
        """The local port allocated to this party under that name; raises TaskError when there is none."""
        if port_name not in self.listen_ports:
            raise TaskError(f"no port named {port_name!r} was allocated; the AppImage must list it")
        return self.listen_ports[port_name]

    def listen_host(self, port_name: str) -> str:
        """Where to listen for the named port: at this party's address, but behind a name on all addresses.

        A name leads to a container or a pod of this party's own, and that may not know yet what its name means.
        """
        host, _ = self.me.address(port_name)
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            return "0.0.0.0"  # noqa: S104

    def text(self, name: str, default: str | None = None) -> str:
        """A setting that is a text, or an object holding one text per domain; raises TaskError otherwise."""
        value = self.settings.get(name, default)
        if isinstance(value, dict):
            value = value.get(self.me.domain_id)
        if not isinstance(value, str) or not value:
            raise TaskError(f"task_input_config: {name!r} should be a text for {self.me.domain_id!r}, it is {value!r}")
        return value

    def texts(self, name: str) -> list[str]:
        """A setting that is a list of at least one text; raises TaskError otherwise."""
        value = self.settings.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise TaskError(f"task_input_config: {name!r} should be a list of texts, it is {value!r}")
        return value

    def number(self, name: str, default: int) -> int:
        """A setting that is a whole number of at least 1; raises TaskError otherwise."""
        value = self.settings.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise TaskError(f"task_input_config: {name!r} should be a whole number from 1, it is {value!r}")
        return value

    def file(self, name: str, default: str | None = None) -> Path:
        """The file a text setting names, inside the domain directory; raises TaskError when it points elsewhere."""
        text = self.text(name, default)
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or not path.parts or not text.isprintable():
            raise TaskError(
                f"task_input_config: {name!r} should be a file name relative to the domain's directory "
                f"(no leading '/', no '..'), it is {text!r}"
            )
        return self.domain_dir / path


def load_task(config_file: Path) -> Task:
    """Read the rendered task config. Raises TaskError when a part is missing or of the wrong shape."""
    domain_dir = os.environ.get("KUSCIAJOB_DOMAIN_DIR")
    if not domain_dir:
        raise TaskError("KUSCIAJOB_DOMAIN_DIR is not set; it should name the directory of this party's files")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        cluster = json.loads(config["task_cluster_def"])
        ports = json.loads(config["allocated_ports"])
        settings = json.loads(config["task_input_config"])
        task = Task(
            task_id=config["task_id"],
            settings=dict(settings),
            parties=tuple(_party(each) for each in cluster["parties"]),
            self_index=cluster.get("selfPartyIdx", 0),
            listen_ports={each["name"]: int(each["port"]) for each in ports.get("ports") or []},
            domain_dir=Path(domain_dir).absolute(),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(f"cannot read the task config {config_file}: {type(error).__name__}: {error}") from error
    if not 0 <= task.self_index < len(task.parties):
        raise TaskError(f"selfPartyIdx {task.self_index} is not one of the {len(task.parties)} parties")
    return task


def _party(value: dict[str, Any]) -> Party:
    services = value.get("services") or []
    return Party(
        domain_id=value["name"],
        role=value.get("role", ""),
        addresses={each["portName"]: each["endpoints"][0] for each in services},
    )


def run_program(program: Callable[[Task], None]) -> NoReturn:
    """Run a program on the task config named by the command line; its last stderr line tells what went wrong."""
    try:
        if len(sys.argv) != 2:
            raise TaskError(f"usage: {Path(sys.argv[0]).name} TASK_CONFIG_FILE")
        program(load_task(Path(sys.argv[1])))
    except (TaskError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    sys.exit(0)
