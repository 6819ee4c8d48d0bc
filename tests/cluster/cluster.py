"""The cluster that tests run on: that of KUBECONFIG, or a lab of two nodes that is built and started here."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from kusciajob.contracts import PartyKey
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import labels, names
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.api import Api, Conflict
from kusciajob.runtime.kubernetes.credentials import Credentials, load
from kusciajob.runtime.kubernetes.engine import KubernetesEngine
from kusciajob.runtime.kubernetes.watch import Metadata, Timing
from tests.support.cut_line import CutLine
from tests.support.image_archives import busybox, busybox_tools
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.runtime_lab import STOP_GRACE_SECONDS, HostedLab

LAB = Path(__file__).parent / "lab"
IMAGE = "localhost/kusciajob-test:1"
NAMESPACE = "kusciajob-test-{domain}"
CLAIM = "data"
DOMAINS = ("alice", "bob", "carol")
KINDS = {
    "pods": "/api/v1/pods",
    "configmaps": "/api/v1/configmaps",
    "secrets": "/api/v1/secrets",
    "services": "/api/v1/services",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
}
NODE_LOST_SECONDS = 5
LAB_OPTIONS = {
    "API_FLAGS": "--feature-gates=PodLogsQuerySplitStreams=true",
    "CONTROLLER_FLAGS": "--node-monitor-grace-period=20s --node-monitor-period=1s",
    "KUBELET_EXTRA": "featureGates: {PodLogsQuerySplitStreams: true}\nnodeLeaseDurationSeconds: 12",
}
"""Both streams of output are told apart, and a lost node is noticed sooner than the 50 seconds that are usual."""


class Found(Struct):
    metadata: Metadata = Metadata()


class FoundList(Struct):
    items: list[Found] = []


class Cluster:
    """A cluster, and what tests may do to it. `is_ours`: nodes can be killed and the API server stopped."""

    def __init__(self, kubeconfig: Path, directory: Path | None = None, *, api_flags: str = "") -> None:
        self.kubeconfig = kubeconfig
        self._directory = directory
        self._options = {
            **LAB_OPTIONS,
            "API_FLAGS": f"{LAB_OPTIONS['API_FLAGS']} {api_flags}",
            "PYTHON": sys.executable,
        }

    @property
    def is_ours(self) -> bool:
        return self._directory is not None

    def run(self, script: str, *words: str) -> None:
        """Run one of the lab's scripts."""
        subprocess.run([LAB / script, str(self._directory), *words], check=True, env={**os.environ, **self._options})

    def start(self) -> None:
        """Start the lab with two nodes, and give them the image of the tests."""
        subprocess.run([LAB / "build.sh"], check=True)
        self.start_control_plane()
        links = [word for tool in busybox_tools() for word in ("--link", f"busybox:/bin/{tool}")]
        self.run("image.sh", IMAGE, "--file", f"{busybox()}:/bin/busybox", *links, "--user", "65532")
        for node in ("1", "2"):
            self.start_node(node)

    def give_image(self, name: str, archive: Path) -> None:
        """Give the nodes an image that an engine has saved."""
        self.run("image.sh", name, "--archive", str(archive))

    def start_control_plane(self) -> None:
        """Start what does not run of it."""
        self.run("up.sh", "--nodes")

    def kill_api_server(self) -> None:
        """As if it had crashed; nodes and pods go on."""
        self.run("crash.sh", "kube-apiserver")

    def start_node(self, number: str) -> None:
        self.run("node-up.sh", number)

    def crash_node(self, number: str) -> None:
        """As if its machine had lost power."""
        self.run("node-down.sh", number, "--crash")

    def add_simulated_nodes(self, number: int) -> None:
        """Nodes that pretend to run pods; what is there stays."""
        self.run("simulated-up.sh", str(number))

    def ask_etcd(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Paths and bodies of its JSON gateway, past the API server."""
        lines = "".join(f"{path} {json.dumps(body)}\n" for path, body in requests)
        subprocess.run([LAB / "etcd.sh", str(self._directory)], check=True, input=lines, text=True, capture_output=True)

    def stop(self) -> None:
        self.run("down.sh", "--purge")

    def data_directory(self, domain: str) -> Path:
        """Where the nodes of the lab, which share this machine's files, have a domain's data."""
        assert self._directory
        directory = self._directory / "data" / domain
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)
        return directory

    def credentials(self) -> Credentials:
        return load(str(self.kubeconfig))


def cache_directory() -> Path:
    """Where the lab's programs are kept between runs; see lib.sh."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KUSCIAJOB_LAB_CACHE") or Path(caches) / "kusciajob-lab")


class ClusterLab(HostedLab):
    """Runtimes over the cluster. They reach it by a line that can be cut."""

    away_text = "cannot be reached"
    has_data = True
    """Whether domains have a volume."""

    def __init__(self, directory: Path, cluster: Cluster) -> None:
        super().__init__(directory)
        self.cluster = cluster
        known = cluster.credentials()
        target = urlsplit(known.server)
        assert target.hostname
        self.line = CutLine(target.hostname, target.port or 443)
        self.api = Api(known)
        """A way of our own, which is never cut."""

    async def start(self) -> None:
        await self.line.open()
        await self.api.open()
        for domain in DOMAINS:
            namespace = NAMESPACE.format(domain=domain)
            with suppress(Conflict):
                await self.api.create("/api/v1/namespaces", objects.namespace(namespace), Found)
            with suppress(Conflict):
                await self._make_claim(namespace, domain)

    async def _make_claim(self, namespace: str, domain: str) -> None:
        """A volume for the domain's data: a directory in the lab, what the cluster has elsewhere."""
        size = {"storage": "1Mi"}
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}},
        }
        if self.cluster.is_ours:
            claim["spec"] |= {"storageClassName": "", "volumeName": namespace}  # type: ignore[operator]
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": namespace},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": size,
                    "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(self.cluster.data_directory(domain))},
                },
            }
            await self.api.create("/api/v1/persistentvolumes", volume, Found)
        await self.api.create(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim, Found)

    def domain(self, domain_id: str) -> DomainSettings:
        return DomainSettings(domain_id=domain_id, data_volume=CLAIM if self.has_data else "")

    def connect(self, **settings: Any) -> KubernetesEngine:
        credentials = self.cluster.credentials()
        credentials.server = f"https://127.0.0.1:{self.line.port}"
        assert credentials.tls
        credentials.tls.check_hostname = False
        rules = objects.Rules(
            namespace=NAMESPACE, grace_seconds=STOP_GRACE_SECONDS, node_lost_seconds=NODE_LOST_SECONDS
        )
        return KubernetesEngine(
            Api(credentials), rules=settings.pop("rules", rules), timing=Timing(longest_pause=1.0), **settings
        )

    async def of_kind(self, kind: str, *, store_id: str = "") -> list[Metadata]:
        """All objects of a kind that servers of these tests have made."""
        selector = f"{labels.STORE}={names.short(store_id)}" if store_id else labels.STORE
        return [each.metadata for each in (await self.api.get(KINDS[kind], FoundList, labelSelector=selector)).items]

    async def names(self) -> Collection[str]:
        return {pod.name for pod in await self.of_kind("pods")}

    async def leftovers(self) -> Collection[str]:
        """What is left once the cluster has had the time to remove what belonged to what was removed."""
        left: list[str] = []

        async def is_empty() -> bool:
            left[:] = [f"{kind} {each.name}" for kind in KINDS for each in await self.of_kind(kind)]
            return not left

        try:
            await eventually_true(is_empty, timeout_seconds=PATIENCE_SECONDS)
        except AssertionError:
            return left
        return ()

    def path_of(self, key: PartyKey, *, store_id: str = "store-1", replica: int = 0) -> str:
        namespace = NAMESPACE.format(domain=DOMAINS[key.party])
        return f"/api/v1/namespaces/{namespace}/pods/{names.of_replica(store_id, key, replica)}"

    async def remove_by_hand(self, key: PartyKey) -> None:
        await self.api.delete(self.path_of(key), grace_seconds=0)

    async def take_away(self) -> None:
        await self.line.cut()

    async def bring_back(self) -> None:
        await self.line.mend()

    async def close(self) -> None:
        await super().close()
        await self.line.close()
        pods = [f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}" for pod in await self.of_kind("pods")]
        await asyncio.gather(*(self.api.delete(pod, grace_seconds=0) for pod in pods))
        for anchor in await self.of_kind("configmaps"):
            await self.api.delete(f"/api/v1/namespaces/{anchor.namespace}/configmaps/{anchor.name}")
        await self.leftovers()
        await self.api.close()
