"""The proxy of deploy/compose: its program and its configuration, with addresses of this machine for containers."""

import asyncio
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.polling import eventually_true

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "compose" / "haproxy.cfg"
LOOPBACKS = 64
"""The second number of the first addresses that are tried."""


class Seen(NamedTuple):
    """What the proxy knows of a server."""

    status: str
    """UP, DOWN, or NOLB: it gets no new connections. UP before it was looked at, too."""
    check: str
    """What the last look at it gave; "" before the first."""
    connections: int


class Proxy:
    """A running HAProxy; all that it forwards is at `host`, on the ports of its configuration."""

    def __init__(self, host: str, control: Path, process: "subprocess.Popen[bytes]") -> None:
        self.host = host
        self._control = control
        self.process = process

    async def seen(self, backend: str) -> dict[str, Seen]:
        """The servers of a backend."""
        reader, writer = await asyncio.open_unix_connection(self._control)
        writer.write(b"show stat\n")
        text = (await reader.read()).decode().removeprefix("# ")
        writer.close()
        return {
            row["svname"]: Seen(row["status"].split()[0], row["check_status"].removeprefix("* "), int(row["scur"]))
            for row in csv.DictReader(text.splitlines())
            if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")
        }

    async def sees(self, **statuses: str) -> None:
        """Return once the servers named have these statuses."""

        async def is_so() -> bool:
            seen = await self.seen("grpc")
            return all(seen[name].status == status and seen[name].check for name, status in statuses.items())

        await eventually_true(is_so)


def program() -> str:
    """HAProxy; the test is skipped where it is not installed."""
    if (found := shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("HAProxy is not installed: make test-postgres installs it, on Debian it is the package haproxy")
    return found


def own_loopbacks(count: int) -> list[str]:
    """Addresses of this machine that no other process that asks here has, so that any port is free there."""
    process = os.getpid()
    return [
        f"127.{LOOPBACKS + (process >> 14) % 128}.{(process >> 6) & 255}.{(process & 63) * 4 + n}" for n in range(count)
    ]


@asynccontextmanager
async def compose_proxy(directory: Path, host: str, servers: Mapping[str, str]) -> AsyncIterator[Proxy]:
    """The proxy at that address; `servers`: addresses by names of containers. Skips where HAProxy is not installed."""
    text = CONFIGURATION.read_text().replace("bind :", f"bind {host}:")
    for name, address in servers.items():
        text = re.sub(rf"^(\s+server {name}) {name}:", rf"\1 {address}:", text, flags=re.MULTILINE)
    configuration, looking, control = (directory / name for name in ("haproxy.cfg", "looking.cfg", "control"))
    configuration.write_text(text)
    looking.write_text(f"global\n    stats socket {control}\n")
    with (directory / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            # setpriv: it ends with this process, however that ends.
            ["setpriv", "--pdeathsig", "KILL", program(), "-db", "-f", configuration, "-f", looking],
            stdout=log,
            stderr=log,
        )
    try:
        await eventually_true(lambda: _answers(process, control, directory / "haproxy.log"))
        yield Proxy(host, control, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def _answers(process: "subprocess.Popen[bytes]", control: Path, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(control))
        except OSError:
            return False
    return True
