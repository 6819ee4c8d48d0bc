"""Machines in a network of their own: namespaces of Linux, with lines on which packets vanish without a word."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.support.polling import eventually_sync

NETWORK = "10.77.0.0/16"
HUB = "10.77.0.1"
"""Where this process is, and all that it starts without a launcher of `Machine`."""


def own_network() -> Sequence[str]:
    """What a program is started with to have a network of its own; skips where that cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux")):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not installed, it is in the package {package}")
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"network namespaces cannot be made here: {probe.stderr.decode().strip()}")
    return ("unshare", "--net")


class Machine:
    """One with an address of its own, and a line to the hub."""

    def __init__(self, name: str, number: int) -> None:
        """It lives as long as this process, and goes with it, however that ends."""
        self.address = f"10.77.{number}.2"
        self.line = f"line{number}"
        self.name = name
        self._holder = subprocess.Popen(["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"])
        here = os.readlink("/proc/self/ns/net")
        eventually_sync(lambda: _namespace(self._holder.pid) not in ("", here))
        self.launcher = ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net")
        """What a program is started with to run there."""
        _run("ip", "link", "add", self.line, "type", "veth", "peer", "name", "hub", "netns", str(self._holder.pid))
        _run("ip", "address", "add", f"10.77.{number}.1/24", "dev", self.line)
        _run("ip", "link", "set", self.line, "up")
        _run(*self.launcher, "ip", "address", "add", f"{self.address}/24", "dev", "hub")
        for device in ("hub", "lo"):
            _run(*self.launcher, "ip", "link", "set", device, "up")
        _run(*self.launcher, "ip", "route", "add", "default", "via", f"10.77.{number}.1")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


class Network:
    """Machines, and which packets are lost."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.machines = machines
        self._lost: set[str] = set()

    def lose(self, machine: Machine, port: int, *, sent: bool = True, received: bool = True) -> None:
        """From now on no packet of that port arrives, of those that the machine sends or of those sent to it."""
        ways = {"arriving": (sent, "iifname"), "leaving": (received, "oifname")}
        for chain, (is_lost, side) in ways.items():
            if is_lost:
                self._lost |= {
                    f'add rule inet lines {chain} {side} "{machine.line}" tcp {end} {port} drop'
                    for end in ("sport", "dport")
                }
        self._apply()

    def mend(self) -> None:
        """All packets arrive again."""
        self._lost.clear()
        self._apply()

    def _apply(self) -> None:
        rules = "\n".join(
            (
                "add table inet lines",
                "add chain inet lines arriving { type filter hook input priority 0; }",
                "add chain inet lines leaving { type filter hook output priority 0; }",
                "flush table inet lines",
                *sorted(self._lost),
            )
        )
        subprocess.run(["nft", "-f", "-"], input=f"{rules}\n", text=True, check=True)


@contextmanager
def network(names: Sequence[str]) -> Iterator[Network]:
    """Machines of these names. For a process that was started with `own_network`."""
    if os.readlink("/proc/self/ns/net") == _namespace(1):
        sys.exit("start it in a network of its own: unshare --net …")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{HUB}/32", "dev", "lo")
    with ExitStack() as stack:
        machines = []
        for number, name in enumerate(names, 1):
            machine = Machine(name, number)
            stack.callback(machine.close)
            machines.append(machine)
        yield Network(machines)


def _namespace(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
