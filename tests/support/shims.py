"""Shims on machines of different make: what keeps a party's programs together differs."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kusciajob.runtime.process import shim
from kusciajob.runtime.process.shim_client import ShimClient
from tests.support.polling import eventually
from tests.support.processes import is_alive, pid_of

_UNMOUNT = "for place in $(awk '$3 == \"{}\" {{print $2}}' /proc/self/mounts); do umount $place; done"
MACHINES = {
    "cgroups (version 2)": _UNMOUNT.format("cgroup"),
    "cgroups (version 1, freezer)": _UNMOUNT.format("cgroup2"),
    "descent (parent, session, environment)": "umount -l -R /sys/fs/cgroup",
}
"""What a party is kept together by, and what has to be unmounted that it is."""


def machine_launcher(kind: str) -> list[str]:
    """A command that becomes another, which has only that of the system's means. May skip the test."""
    launcher = ["unshare", "--mount", "sh", "-c", f'{MACHINES[kind]}; exec "$@"', "sh"]
    result = subprocess.run([*launcher, sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    if result.stdout.strip() != kind:
        pytest.skip(f"this machine, or a user who is not root, has no {kind}: {result.stdout}{result.stderr}")
    return launcher


_PROBE = """
import contextlib, os
from kusciajob.runtime.process.shim.cgroups import find_cgroups
from kusciajob.runtime.process.shim.descendants import Descendants
found = find_cgroups(f"kusciajob-probe-{os.getpid()}")
print((found or Descendants()).kind)
if found:
    os.rmdir(found.base)
"""


def launch_shim(directory: Path, kind: str) -> None:
    """A shim that leaves when nobody connects to it."""
    directory.mkdir(exist_ok=True)
    main = Path(shim.__file__).with_name("__main__.py")
    with (directory / "shim.log").open("ab") as log:
        subprocess.run(
            [*machine_launcher(kind), sys.executable, "-I", "-S", str(main), str(directory)], check=True, stderr=log
        )


@asynccontextmanager
async def opened_client(directory: Path) -> AsyncIterator[ShimClient]:
    """A client of the directory's shim, which is launched if there is none. At the end nothing runs any more."""
    client = ShimClient(directory)
    await client.connect()
    yield client
    for party in await client.list():
        await client.stop(party.key, grace_seconds=0)
    pid = pid_of(client)
    await client.close()
    await eventually(lambda: not is_alive(pid))


def groups_of(directory: Path) -> list[Path]:
    """All cgroups of the directory's shims and their parties."""
    if not directory.exists():
        return []
    found = directory.stat()
    name = f"kusciajob-{found.st_dev}-{found.st_ino}"
    places = [Path(place) for place, names, _ in os.walk("/sys/fs/cgroup") if name in names]
    return [path for place in places for path in [place / name, *(place / name).glob("*/")]]
