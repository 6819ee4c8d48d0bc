"""A Podman service of the tests' own: its socket, images, containers and networks are in one directory."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.container_engines import OwnEngine, search_path

_CONFIG = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
events_logfile_path = "{directory}/events.log"
runtime = "{runtime}"
[network]
network_backend = "netavark"
"""

_REGISTRIES = """
[[registry]]
location = "127.0.0.1"
insecure = true
"""
"""Registries of tests have no certificates."""


class PodmanService(OwnEngine):
    """Podman, of the user who runs the tests.

    Two of them on one machine share the addresses and names of networks: only one may be used at a time.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, ("podman", "netavark"), "podman netavark aardvark-dns runc")
        for name in ("root", "run", "net", "tmp"):
            (directory / name).mkdir(parents=True)
        # crun refuses machines that mount both versions of cgroups; runc does not.
        runtime = "runc" if shutil.which("runc", path=search_path()) else "crun"
        # Podman's own defaults are above what some machines let their root have.
        files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
        config = _CONFIG.format(
            files=min(files, 65536) if files > 0 else 65536,
            processes=min(processes, 32768) if processes > 0 else 32768,
            directory=directory,
            runtime=runtime,
        )
        (directory / "containers.conf").write_text(config)
        (directory / "registries.conf").write_text(_REGISTRIES)
        self._options = [
            f"--root={directory}/root",
            f"--runroot={directory}/run",
            f"--network-config-dir={directory}/net",
            f"--tmpdir={directory}/tmp",
        ]

    @property
    def _environment(self) -> Mapping[str, str]:
        own = {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.directory}/registries.conf",
        }
        return {**super()._environment, **own}

    def _command(self) -> Sequence[str]:
        return ["podman", *self._options, "system", "service", "--time=0", self.address]

    def _forget_machine(self) -> None:
        for file in Path(self.directory, "net").glob("*.json"):
            # Bridges and names lie outside of the directory.
            network = json.loads(file.read_text())
            subprocess.run(["ip", "link", "delete", network["network_interface"]], capture_output=True, check=False)
            Path("/run/containers/networks/aardvark-dns", network["name"]).unlink(missing_ok=True)
        self._unmount()
        for name in ("tmp", "run"):
            shutil.rmtree(self.directory / name)
            (self.directory / name).mkdir()

    def _remove_files(self) -> None:
        if os.geteuid():  # much of it belongs to users of the user's own range
            subprocess.run(["podman", "unshare", "rm", "-rf", str(self.directory)], env=self._environment, check=True)
        else:
            super()._remove_files()
