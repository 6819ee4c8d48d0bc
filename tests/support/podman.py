"""A Podman service of the tests' own: its socket, images, containers and networks are in one directory."""

import json
import os
import resource
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiodocker

from tests.support.polling import eventually_sync

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


class PodmanService:
    """One service process after the other on the same directory.

    Two of them on one machine share the addresses and names of networks: only one may be used at a time.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"unix://{directory}/sock"
        self._process: subprocess.Popen[bytes] | None = None
        missing = [program for program in ("podman", "netavark") if shutil.which(program, path=_path()) is None]
        assert not missing, f"{' and '.join(missing)} not found: apt-get install podman netavark aardvark-dns runc"
        for name in ("root", "run", "net", "tmp"):
            (directory / name).mkdir(parents=True)
        # crun refuses machines that mount both versions of cgroups; runc does not.
        runtime = "runc" if shutil.which("runc", path=_path()) else "crun"
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
    def _environment(self) -> dict[str, str]:
        own = {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.directory}/registries.conf",
            "TMPDIR": f"{self.directory}/tmp",
        }
        return {**os.environ, **own, "PATH": _path()}

    def start(self) -> None:
        """Start a service process and return once it answers."""
        with (self.directory / "log").open("ab") as log:
            command = ["podman", *self._options, "system", "service", "--time=0", self.address]
            self._process = subprocess.Popen(command, stderr=log, stdout=log, env=self._environment, cwd=self.directory)
        eventually_sync(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        return Path(self.directory, "sock").is_socket() and self.podman("info").returncode == 0

    def kill(self) -> None:
        """What a crash does. Containers go on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def suspend(self) -> None:
        """It takes connections and answers none, like an engine that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart_machine(self) -> None:
        """Kill all containers with what watches them, and forget what does not outlive a machine."""
        assert self._process is not None
        self.kill()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and f"{self.directory}/".encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
        self._forget_networks()
        self._unmount()
        for name in ("tmp", "run"):
            shutil.rmtree(self.directory / name)
            (self.directory / name).mkdir()
        self.start()

    def _forget_networks(self) -> None:
        """Remove their bridges and names, which lie outside of the directory."""
        for file in Path(self.directory, "net").glob("*.json"):
            network = json.loads(file.read_text())
            subprocess.run(["ip", "link", "delete", network["network_interface"]], capture_output=True, check=False)
            Path("/run/containers/networks/aardvark-dns", network["name"]).unlink(missing_ok=True)

    def _unmount(self) -> None:
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (mounted := line.split()[1]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", mounted], check=False)

    def podman(self, *words: str, content: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        """Do something by hand."""
        command = ["podman", *self._options, *words]
        return subprocess.run(
            command, input=content, capture_output=True, env=self._environment, cwd=self.directory, check=False
        )

    def clear(self) -> None:
        """Remove all containers and networks."""
        self.podman("rm", "--all", "--force", "--time=0")
        self.podman("network", "prune", "--force")

    def load(self, archive: bytes) -> None:
        """Give it images."""
        loaded = self.podman("load", content=archive)
        assert loaded.returncode == 0, loaded.stderr.decode()

    def client(self) -> aiodocker.Docker:
        """To look at it, and to do by hand what its API can."""
        return aiodocker.Docker(url=self.address)

    def close(self) -> None:
        """Remove all."""
        self.resume()
        self.clear()
        self.kill()
        self._unmount()  # else it cannot be removed
        shutil.rmtree(self.directory)


def labels_of(inspected: dict[str, Any]) -> dict[str, str]:
    """The labels of an inspected container."""
    return inspected["Config"]["Labels"] or {}


def _path() -> str:
    """Programs of administrators are not on everybody's PATH."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/podman:/usr/libexec/podman"
