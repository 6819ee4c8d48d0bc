"""Nodes that only pretend, so that a cluster has many pods on a small machine.

python3 -m tests.cluster.lab.simulated_nodes KUBECONFIG CERTIFICATE PORT NUMBER

CERTIFICATE is a path without .crt and .key; on PORT of 127.0.0.1 the API server asks for the output of pods. The nodes
are sim-0 and so on. They have a label, and a taint that keeps all others away, both called kusciajob-lab/simulated. A
container whose command has `sleep SECONDS` in it runs so long, any other ends at once; all succeed, and write one line.
"""

import argparse
import asyncio
import itertools
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from msgspec import Struct

from kusciajob.runtime.hosted.engine import EngineUnavailable
from kusciajob.runtime.kubernetes.api import Api, ApiError, Conflict
from kusciajob.runtime.kubernetes.credentials import load
from kusciajob.runtime.kubernetes.watch import Metadata, Watch

SIMULATED = "kusciajob-lab/simulated"
PREFIX = "sim-"
PODS_PER_NODE = 1000
HEARTBEAT_SECONDS = 2.0
RETRY_SECONDS = 0.5
LINE = "simulated"
LINE_TIME = "2026-01-01T00:00:00.000000001Z "
"""Always the same, as is that of a line which is read twice."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_SLEEP = re.compile(r"\bsleep (\d+(?:\.\d+)?)")


class Container(Struct, frozen=True):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


class Spec(Struct, frozen=True, rename="camel"):
    node_name: str = ""
    containers: tuple[Container, ...] = ()


class Status(Struct, frozen=True):
    phase: str = "Pending"


class Pod(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: Spec = Spec()
    status: Status = Status()

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.metadata.namespace}/pods/{self.metadata.name}"

    @property
    def seconds(self) -> float:
        """How long its programs run."""
        words = (" ".join((*each.command, *each.args)) for each in self.spec.containers)
        return max((float(found[1]) for text in words if (found := _SLEEP.search(text))), default=0.0)


class Nodes:
    """All nodes: one watch serves them all."""

    def __init__(self, api: Api, *, number: int, port: int) -> None:
        self._api = api
        self._names = [f"{PREFIX}{at}" for at in range(number)]
        self._port = port
        self._running: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[tuple[str, str], asyncio.Event] = {}
        """By namespace and name of a pod that runs."""
        self._addresses = itertools.count(1)

    async def run(self) -> None:
        for name in self._names:
            await self._insist("register", self._register, name)
        watch = Watch(
            self._api,
            "/api/v1/pods",
            Pod,
            seen=self._see,
            gone=self._miss,
            query={"fieldSelector": "spec.nodeName!="},
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            for name in self._names:
                group.create_task(self._beat(name))

    async def _register(self, name: str) -> None:
        labels = {SIMULATED: "true", "kubernetes.io/hostname": name}
        node = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [_taint()]}}
        with suppress(Conflict):
            await self._api.create("/api/v1/nodes", node, Pod)
        room = {"cpu": str(PODS_PER_NODE), "memory": "1Ti", "pods": str(PODS_PER_NODE)}
        ready = {"type": "Ready", "status": "True", "reason": "Simulated", "lastTransitionTime": _now()}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [{**ready, "lastHeartbeatTime": _now()}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        await self._api.patch(f"/api/v1/nodes/{name}/status", {"status": status})
        lease = {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}}
        with suppress(Conflict):
            await self._api.create(LEASES, lease, Pod)

    async def _beat(self, name: str) -> None:
        while True:
            with suppress(EngineUnavailable):
                moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                await self._api.patch(f"{LEASES}/{name}", {"spec": {"renewTime": moment}})
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _see(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if pod.spec.node_name not in self._names:
            return
        if pod.metadata.deletion_timestamp:
            if uid not in self._leaving:
                self._stop(pod)
                self._leaving[uid] = asyncio.create_task(self._insist(pod.path, self._remove, pod))
        elif uid not in self._running and pod.status.phase == "Pending":
            self._running[uid] = asyncio.create_task(self._insist(pod.path, self._play, pod))

    def _miss(self, pod: Pod) -> None:
        self._stop(pod)
        self._leaving.pop(pod.metadata.uid, None)

    def _stop(self, pod: Pod) -> None:
        if playing := self._running.pop(pod.metadata.uid, None):
            playing.cancel()

    async def _play(self, pod: Pod) -> None:
        began = _now()
        number = next(self._addresses)
        address = f"10.{80 + number // 62500 % 100}.{number // 250 % 250}.{number % 250 + 1}"
        where = {"podIP": address, "podIPs": [{"ip": address}], "hostIP": "127.0.0.1", "startTime": began}
        over = self._ended.setdefault((pod.metadata.namespace, pod.metadata.name), asyncio.Event())
        try:
            await self._tell(pod, "Running", {"running": {"startedAt": began}}, **where)
            await asyncio.sleep(pod.seconds)
            end = {"exitCode": 0, "reason": "Completed", "startedAt": began, "finishedAt": _now()}
            await self._tell(pod, "Succeeded", {"terminated": end})
        finally:
            over.set()
            self._ended.pop((pod.metadata.namespace, pod.metadata.name), None)

    async def _tell(self, pod: Pod, phase: str, state: Mapping[str, Any], **more: Any) -> None:
        is_ready = phase == "Running"
        containers = [
            {
                "name": each.name,
                "image": each.image,
                "imageID": "",
                "ready": is_ready,
                "restartCount": 0,
                "state": state,
            }
            for each in pod.spec.containers
        ]
        conditions = [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if is_ready else "False"},
        ]
        status = {"phase": phase, "conditions": conditions, "containerStatuses": containers, **more}
        change = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        await self._api.patch(f"{pod.path}/status", change)

    async def _remove(self, pod: Pod) -> None:
        await self._api.delete(pod.path, uid=pod.metadata.uid, grace_seconds=0)

    async def _insist(self, what: str, do: Any, of: Any) -> None:
        """Do it, again and again while the API server is away. A pod that is gone needs nothing."""
        while True:
            try:
                await do(of)
            except EngineUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except ApiError as error:
                print(f"{what}: {error}", flush=True)  # noqa: T201  # this is a program
                return
            else:
                return

    async def output(self, request: web.Request) -> web.StreamResponse:
        """One line; who follows waits until the pod has ended."""
        answer = web.StreamResponse()
        await answer.prepare(request)
        if request.query.get("stream", "Stdout") != "Stderr":
            time = LINE_TIME if "timestamps" in request.query else ""
            await answer.write(f"{time}{LINE}\n".encode())
        over = self._ended.get((request.match_info["namespace"], request.match_info["pod"]))
        if over is not None and "follow" in request.query:
            await over.wait()
        await answer.write_eof()
        return answer


def _taint() -> dict[str, str]:
    return {"key": SIMULATED, "value": "true", "effect": "NoSchedule"}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kubeconfig")
    parser.add_argument("certificate")
    parser.add_argument("port", type=int)
    parser.add_argument("number", type=int)
    given = parser.parse_args()
    api = Api(load(given.kubeconfig))
    await api.open()
    nodes = Nodes(api, number=given.number, port=given.port)
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", nodes.output)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(f"{given.certificate}.crt", f"{given.certificate}.key")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", given.port, ssl_context=tls).start()
    try:
        await nodes.run()
    finally:
        await runner.cleanup()
        await api.close()


if __name__ == "__main__":
    asyncio.run(main())
