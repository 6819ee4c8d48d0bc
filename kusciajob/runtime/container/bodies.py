"""What an engine is asked to make of a workload. Pure."""

from typing import Any

from msgspec import Struct

from kusciajob.contracts import StartFailed
from kusciajob.runtime.container import labels
from kusciajob.runtime.container.quantities import NANO, whole
from kusciajob.runtime.container.states import CREATED, Seen
from kusciajob.runtime.hosted.engine import DOMAIN_DIRECTORY, Limits, Program, Workload

TEMPORARY = "/tmp"  # noqa: S108 - the container's own
SHARES = 1024
"""What one cpu is as a weight among containers."""
LEAST_MEMORY = 6 * 1024 * 1024
"""Engines refuse less."""
SERVER_HOSTS = ("host.containers.internal", "host.docker.internal")
"""Names by which a program reaches this machine; Podman knows the first by itself."""


class Surroundings(Struct, frozen=True):
    """Where a workload is put. `user`: "" is the image's own. `gateway`: this machine in the task's network."""

    network: str
    gateway: str
    domain_source: str
    """A directory of the engine's machine, or a volume of the engine."""
    max_processes: int
    log: dict[str, Any]
    user: str = ""
    user_namespace: str = ""
    is_podman: bool = False


def container_name(workload: Workload, index: int) -> str:
    """The first container has the workload's name."""
    return f"{workload.ref.name}.{index}" if index else workload.ref.name


def new_container(workload: Workload, index: int, container: str) -> Seen:
    """A container that was made just now."""
    place = labels.place_of(labels.of_container(workload, index, restarts_of(workload)))
    assert place is not None  # noqa: S101 - the labels are ours
    return Seen(container, place, CREATED)


def restarts_of(workload: Workload) -> int:
    """How often its container may be started again. For engines, 0 means without end: then none is."""
    return workload.max_restarts or 0


def body(workload: Workload, index: int, around: Surroundings, *, joined: str = "") -> dict[str, Any]:
    """The request that makes one container. `joined`: the container whose network it shares. Raises StartFailed."""
    program = workload.programs[index]
    made: dict[str, Any] = {
        "Image": program.image,
        "Env": [f"{name}={value}" for name, value in program.env.items()],
        "Labels": labels.of_container(workload, index, restarts_of(workload)),
        "HostConfig": _host_config(workload, program, around, joined),
    }
    if program.command:
        made["Entrypoint"] = list(program.command)
    if program.args or program.command:
        made["Cmd"] = list(program.args)
    if program.working_dir:
        made["WorkingDir"] = program.working_dir
    if around.user:
        made["User"] = around.user
    if not joined:
        made["Hostname"] = workload.ref.name
        made["NetworkingConfig"] = {"EndpointsConfig": {around.network: {"Aliases": [workload.ref.name]}}}
    return made


def _host_config(workload: Workload, program: Program, around: Surroundings, joined: str) -> dict[str, Any]:
    restarts = restarts_of(workload)
    config: dict[str, Any] = {
        "NetworkMode": f"container:{joined}" if joined else around.network,
        "Binds": [f"{around.domain_source}:{DOMAIN_DIRECTORY}:rw"],
        "Tmpfs": {TEMPORARY: "rw,exec,nosuid,nodev,mode=1777"},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": restarts} if restarts else {"Name": "no"},
        "LogConfig": around.log,
        **_amounts(program.limits, program.requests),
    }
    if around.max_processes:
        config["PidsLimit"] = around.max_processes
    if program.is_privileged:
        config["Privileged"] = True
    else:
        config["CapDrop"] = ["ALL"]
        config["SecurityOpt"] = ["no-new-privileges"]
    if around.user_namespace:
        # A network belongs to a user namespace: who has another one may not join it.
        config["UsernsMode"] = f"container:{joined}" if joined else around.user_namespace
    if around.gateway and not joined:
        hosts = SERVER_HOSTS[1:] if around.is_podman else SERVER_HOSTS
        config["ExtraHosts"] = [f"{host}:{around.gateway}" for host in hosts]
    return config


def _amounts(limits: Limits, requests: Limits) -> dict[str, int]:
    """Limits are walls. What is requested is a weight of cpu, and memory that is taken last under pressure."""
    amounts = {}
    if memory := whole(limits.memory):
        if memory < LEAST_MEMORY:
            raise StartFailed(f"memory limit {limits.memory}: engines need at least {LEAST_MEMORY >> 20}Mi")
        amounts["Memory"] = amounts["MemorySwap"] = memory
    if cpu := whole(limits.cpu, NANO):
        amounts["NanoCpus"] = cpu
    if shares := whole(requests.cpu, SHARES):
        amounts["CpuShares"] = max(shares, 2)
    reserved = whole(requests.memory)
    if reserved and (not memory or reserved < memory):
        amounts["MemoryReservation"] = max(reserved, LEAST_MEMORY)
    return amounts
