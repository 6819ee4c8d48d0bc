"""A Docker daemon of the tests' own: all it has is in one directory, its networks are in a network namespace."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.container_engines import OwnEngine
from tests.support.polling import eventually_sync

_CONTAINERD = """
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
"""
"""Nothing that is outside of the directory."""
_POOL = "base=10.231.0.0/16,size=24"


class DockerDaemon(OwnEngine):
    """Docker, beside the machine's own. Its containers outlive it, as operators who care have it."""

    def __init__(self, directory: Path, storage_driver: str) -> None:
        needs = ("dockerd", "containerd", "nsenter", "unshare", "ip")
        super().__init__(directory, needs, "docker.io containerd util-linux iproute2")
        (directory / "tmp").mkdir(parents=True)
        (directory / "containerd.toml").write_text(_CONTAINERD)
        self._storage_driver = storage_driver
        self._companions: list[subprocess.Popen[bytes]] = []
        """What outlives the daemon, as on a machine of services: who holds the network namespace, and containerd."""

    def _command(self) -> Sequence[str]:
        """Without a network of its own it would change what the other daemon has told the machine's firewall."""
        if not self._companions:
            self._begin_companions()
        return [
            *self.inside,
            "dockerd",
            f"--host={self.address}",
            f"--containerd={self.directory}/containerd.sock",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            f"--storage-driver={self._storage_driver}",
            f"--cgroup-parent=/{self.directory.name}",
            f"--default-address-pool={_POOL}",
            "--bridge=none",
            "--live-restore",
        ]

    def _begin_companions(self) -> None:
        network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._companions.append(network)
        here = Path("/proc/self/ns/net").readlink()
        eventually_sync(lambda: Path(f"/proc/{network.pid}/ns/net").readlink() != here)
        subprocess.run([*self.inside, "ip", "link", "set", "lo", "up"], check=True)
        with (self.directory / "log").open("ab") as log:
            command = [
                "containerd",
                f"--config={self.directory}/containerd.toml",
                f"--address={self.directory}/containerd.sock",
                f"--root={self.directory}/containerd",
                f"--state={self.directory}/exec/containerd",
            ]
            self._companions.append(subprocess.Popen(command, stderr=log, stdout=log, env=self._environment))

    @property
    def inside(self) -> Sequence[str]:
        """How to run a command where the ports of containers are published."""
        return ["nsenter", f"--net=/proc/{self._companions[0].pid}/ns/net"]

    def _forget_machine(self) -> None:
        self._end_companions()
        self._unmount()
        shutil.rmtree(self.directory / "exec")
        (self.directory / "pid").unlink()

    def _end_companions(self) -> None:
        for process in self._companions:
            process.kill()
            process.wait()
        self._companions.clear()

    def close(self) -> None:
        super().close()
        self._end_companions()
