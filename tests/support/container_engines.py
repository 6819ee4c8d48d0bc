"""Container engines as tests have them: one that somebody else runs, or a process of the tests' own."""

import io
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiodocker
from aiodocker.networks import DockerNetwork

from kusciajob.runtime.hosted import labels
from tests.support.polling import eventually_sync

START_SECONDS = 60.0
ANSWER_SECONDS = 5.0
_OURS = {"label": [labels.STORE]}


class EngineAt:
    """The engine at an address. What it has that is not of tests is left alone."""

    def __init__(self, address: str) -> None:
        self.address = address

    def client(self) -> aiodocker.Docker:
        """To look at it, and to do by hand what its API can."""
        return aiodocker.Docker(url=self.address)

    async def facts(self) -> dict[str, Any]:
        """What it says of itself."""
        async with self.client() as docker:
            return {**await docker.system.info(), **await docker.version()}

    async def load(self, archive: bytes) -> None:
        """Give it images."""
        async with self.client() as docker:
            told = await docker.images.import_image(io.BytesIO(archive))
        assert not [line for line in told if "error" in line], told

    async def unload(self, *images: str) -> None:
        """Take them away again."""
        async with self.client() as docker:
            for image in images:
                with suppress(aiodocker.DockerError):
                    await docker.images.delete(image, force=True)

    async def existing(self) -> set[str]:
        """The names of all workloads and networks of servers."""
        async with self.client() as docker:
            containers = await docker.containers.list(all=True, filters=_OURS)
            networks = await docker.networks.list(filters=_OURS)
        names = {each._container["Labels"].get(labels.WORKLOAD, each.id) for each in containers}
        return names | {each["Name"] for each in networks}

    async def clear(self) -> None:
        """Remove all containers and networks of servers."""
        async with self.client() as docker:
            # Podman removes none before those that share its network.
            while containers := await docker.containers.list(all=True, filters=_OURS):
                for container in containers:
                    with suppress(aiodocker.DockerError):
                        await container.delete(force=True, v=True)
            for network in await docker.networks.list(filters=_OURS):
                await DockerNetwork(docker, network["Id"]).delete()


class OwnEngine(EngineAt):
    """One engine process after the other on the same directory. A kind of engine overrides what begins with `_`."""

    def __init__(self, directory: Path, needs: Sequence[str], package: str) -> None:
        """`needs`: the programs that it consists of, `package`: what installs them."""
        super().__init__(f"unix://{directory}/sock")
        self.directory = directory
        missing = [program for program in needs if shutil.which(program, path=search_path()) is None]
        assert not missing, f"{' and '.join(missing)} not found: apt-get install {package}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "TMPDIR": f"{self.directory}/tmp", "PATH": search_path()}

    def _command(self) -> Sequence[str]:
        """What runs it in the foreground."""
        raise NotImplementedError

    def _forget_machine(self) -> None:
        """Remove what does not outlive a machine; the engine and its containers are killed."""
        raise NotImplementedError

    def _remove_files(self) -> None:
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start a process of it and return once it answers."""
        with (self.directory / "log").open("ab") as log:
            command = self._command()
            self._process = subprocess.Popen(command, stderr=log, stdout=log, env=self._environment, cwd=self.directory)
        eventually_sync(self._answers, timeout_seconds=START_SECONDS)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        return answers(self.directory / "sock")

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
        self.kill()
        self._kill_all()
        self._forget_machine()
        self.start()

    def _kill_all(self) -> None:
        """Kill every process whose command line or control group names the directory."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and any(
                    name.encode() in (entry / file).read_bytes()
                    for file, name in (("cmdline", f"{self.directory}/"), ("cgroup", f"/{self.directory.name}/"))
                ):
                    os.kill(int(entry.name), signal.SIGKILL)

    def close(self) -> None:
        """End it and remove its directory; it must be cleared."""
        self.resume()
        self.kill()
        self._kill_all()
        self._unmount()  # else it cannot be removed
        self._remove_files()

    def _unmount(self) -> None:
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (mounted := line.split()[1]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", mounted], check=False)


def answers(path: Path) -> bool:
    """Whether an engine answers at a socket."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_SECONDS)
        asking.connect(str(path))
        asking.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
        return b" 200 " in asking.recv(100)
    return False


def search_path() -> str:
    """Programs of administrators are not on everybody's PATH."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/podman:/usr/libexec/podman"
