"""Nodes that only pretend: pods that are bound to them "run" as long as they say, and no container is made.

    python3 fakelet.py KUBECONFIG [--nodes 2] [--capacity 1000]

A pod's annotations say what becomes of it: lab/seconds (default: it runs for ever), lab/exit (default 0). Each pod has
one line of output, which goes on until the pod ends. The API server must reach 127.0.0.1: no network namespaces.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

FIRST_PORT = 10250


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Fakelet:
    """One node."""

    def __init__(self, session: aiohttp.ClientSession, server: str, number: int, capacity: int) -> None:
        self._session = session
        self._server = server
        self._node = f"fake-{number}"
        self._port = FIRST_PORT + number
        self._capacity = capacity
        self._playing: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self, tls: ssl.SSLContext) -> None:
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port, ssl_context=tls).start()
        await self._register()
        await asyncio.gather(self._beat(), self._follow())

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(f"{now()[:-1]}000Z begun\n".encode())
        if request.query.get("follow"):
            pod = request.match_info["pod"]
            if playing := {task for task in self._playing.values() if task.get_name() == pod}:
                await asyncio.wait(playing)
        return answer

    async def _call(self, method: str, path: str, body: Any = None, patch: str = "strategic-merge") -> dict[str, Any]:
        kind = f"application/{patch}-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self._server + path, data=data, headers={"Content-Type": kind}
        ) as answer:
            content: dict[str, Any] = json.loads(await answer.read() or b"{}")
            return content

    async def _register(self) -> None:
        labels = {"lab/fake": "true", "kubernetes.io/hostname": self._node}
        await self._call("POST", "/api/v1/nodes", {"metadata": {"name": self._node, "labels": labels}})
        room = {"cpu": str(self._capacity), "memory": "1Ti", "pods": str(self._capacity)}
        ready = {"type": "Ready", "status": "True", "reason": "Fake", "lastHeartbeatTime": now()}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        await self._call("PATCH", f"/api/v1/nodes/{self._node}/status", {"status": status})
        lease = {"metadata": {"name": self._node}, "spec": {"holderIdentity": self._node, "leaseDurationSeconds": 40}}
        await self._call("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)

    async def _beat(self) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self._node}"
        while True:
            await self._call("PATCH", path, {"spec": {"renewTime": now()}}, "merge")
            await asyncio.sleep(10)

    async def _follow(self) -> None:
        select = f"fieldSelector=spec.nodeName%3D{self._node}"
        while True:
            listed = await self._call("GET", f"/api/v1/pods?{select}")
            for pod in listed["items"]:
                self._see(pod)
            path = f"/api/v1/pods?watch=1&{select}&resourceVersion={listed['metadata']['resourceVersion']}"
            async with self._session.get(self._server + path, timeout=aiohttp.ClientTimeout(total=None)) as stream:
                async for line in stream.content:
                    event = json.loads(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._see(event["object"])
                    elif event["type"] == "ERROR":
                        break

    def _see(self, pod: dict[str, Any]) -> None:
        own = pod["metadata"]
        playing = self._playing.get(own["uid"])
        if own.get("deletionTimestamp") or pod["spec"].get("activeDeadlineSeconds"):
            if playing is not None:
                playing.cancel()
            leaving = asyncio.create_task(self._leave(pod))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        elif playing is None and pod.get("status", {}).get("phase", "Pending") == "Pending":
            self._playing[own["uid"]] = asyncio.create_task(self._play(pod), name=own["name"])

    async def _play(self, pod: dict[str, Any]) -> None:
        notes = pod["metadata"].get("annotations", {})
        began = {"startedAt": now()[:19] + "Z"}
        await self._tell(pod, "Running", {"running": began})
        await asyncio.sleep(float(notes.get("lab/seconds", 10**6)))
        code = int(notes.get("lab/exit", 0))
        await self._tell(pod, "Failed" if code else "Succeeded", _ended(code, began))

    async def _leave(self, pod: dict[str, Any]) -> None:
        own = pod["metadata"]
        if not own.get("deletionTimestamp"):
            await self._tell(pod, "Failed", _ended(143, {}))
            return
        path = f"/api/v1/namespaces/{own['namespace']}/pods/{own['name']}"
        await self._call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": own["uid"]}})

    async def _tell(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        own = pod["metadata"]
        containers = [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
            for each in pod["spec"]["containers"]
        ]
        status = {"phase": phase, "hostIP": "127.0.0.1", "containerStatuses": containers}
        path = f"/api/v1/namespaces/{own['namespace']}/pods/{own['name']}/status"
        await self._call("PATCH", path, {"metadata": {"uid": own["uid"]}, "status": status})


def _ended(code: int, began: dict[str, str]) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()[:19] + "Z", **began}}


def _certificate(directory: Path) -> ssl.SSLContext:
    key, certificate = directory / "key", directory / "certificate"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=fake", "-days", "9"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--capacity", type=int, default=1000)
    options = parser.parse_args()
    config = yaml.safe_load(options.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    with tempfile.TemporaryDirectory() as directory:
        tls = _certificate(Path(directory))
    connector = aiohttp.TCPConnector(ssl=context, limit=200)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 22) as session:
        lets = [Fakelet(session, cluster["server"], number, options.capacity) for number in range(options.nodes)]
        await asyncio.gather(*(each.run(tls) for each in lets))


if __name__ == "__main__":
    asyncio.run(main())
