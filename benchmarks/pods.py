"""The floor of the Kubernetes runtime: a bare loop that applies the pods of tasks and waits for their success."""

import asyncio
import time
from collections.abc import Iterator

from msgspec import Struct

from benchmarks.jobs import DOMAINS
from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted import labels, names
from kusciajob.runtime.hosted.engine import Workload
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.api import Api
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import Watch
from tests.cluster import many
from tests.cluster.cluster import NAMESPACE, Cluster, Found, FoundList
from tests.support.polling import eventually_true

STORE = "bare"
OTHER_STORE = "other"
"""Whose pods stay."""
PATIENCE_SECONDS = 600.0
RULES = objects.Rules(namespace=NAMESPACE)


class Times(Struct, frozen=True):
    """Seconds since the beginning until the first party ran, and until all had succeeded."""

    running: float
    succeeded: float


MADE = (
    "/api/v1/pods",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/apis/networking.k8s.io/v1/networkpolicies",
)
"""Where a server makes objects for its parties."""


class Applied:
    """What the watch has shown of the pods."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._ended: set[str] = set()
        self.first_ran = 0.0
        self.all_ended = asyncio.Event()

    def see(self, pod: Pod) -> None:
        if not self.first_ran and pod.status.phase != "Pending":
            self.first_ran = time.perf_counter()
        if pod.is_terminal and pod.metadata.uid not in self._ended:
            assert pod.status.phase == "Succeeded", f"{pod.metadata.name} is {pod.status}"
            self._ended.add(pod.metadata.uid)
            self._left -= 1
        if not self._left:
            self.all_ended.set()


def apply(cluster: Cluster, *, tasks: int, is_simulated: bool) -> Times:
    """Apply the pods of so many tasks of two parties at once; remove everything afterwards."""
    return asyncio.run(_apply(cluster, tasks, is_simulated))


def wait_removed(cluster: Cluster) -> None:
    """Return once no pod exists, and nothing that belongs to one, but those of the other store."""
    asyncio.run(_wait_removed(cluster))


async def _apply(cluster: Cluster, tasks: int, is_simulated: bool) -> Times:
    api = Api(cluster.credentials())
    await api.open()
    workloads = list(_workloads(tasks, is_simulated))
    seen = Applied(len(workloads))
    watch = Watch(
        api, "/api/v1/pods", Pod, seen=seen.see, query={"labelSelector": f"{labels.STORE}={names.short(STORE)}"}
    )
    following = asyncio.create_task(watch.run())
    try:
        await watch.listed.wait()
        start = time.perf_counter()
        await asyncio.gather(*(_apply_one(api, workload) for workload in workloads))
        await asyncio.wait_for(seen.all_ended.wait(), PATIENCE_SECONDS)
        times = Times(seen.first_ran - start, time.perf_counter() - start)
        await asyncio.gather(*(_remove(api, workload) for workload in workloads))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await api.close()
    await _wait_removed(cluster)
    return times


def _workloads(tasks: int, is_simulated: bool) -> Iterator[Workload]:
    settings = many.ON_SIMULATED_NODES if is_simulated else {}
    for task in range(tasks):
        for party, domain in enumerate(DOMAINS):
            key = PartyKey(1, task, 0, party)
            yield many.workload(key, store_id=STORE, command=["/bin/true"], domain_id=domain, settings=settings)


async def _apply_one(api: Api, workload: Workload) -> None:
    """The anchor, then what the pod needs, then the pod: without a gate, for nobody will open it."""
    namespace = _namespace(workload)
    root = f"/api/v1/namespaces/{namespace}"
    anchor = await api.create(f"{root}/configmaps", objects.anchor(workload), Found)
    own = {"anchor_name": workload.ref.task, "anchor_uid": anchor.metadata.uid}
    for plural, manifest in objects.companions(workload):
        group = "/apis/networking.k8s.io/v1" if plural == "networkpolicies" else "/api/v1"
        await api.create(f"{group}/namespaces/{namespace}/{plural}", objects.owned(manifest, **own), Found)
    pod = objects.pod(workload, RULES)
    del pod["spec"]["schedulingGates"]
    await api.create(f"{root}/pods", objects.owned(pod, **own), Found)


async def _remove(api: Api, workload: Workload) -> None:
    root = f"/api/v1/namespaces/{_namespace(workload)}"
    await api.delete(f"{root}/pods/{workload.ref.name}", grace_seconds=0)
    await api.delete(f"{root}/configmaps/{workload.ref.task}")


async def _wait_removed(cluster: Cluster) -> None:
    api = Api(cluster.credentials())
    await api.open()

    async def is_removed() -> bool:
        selector = f"{labels.STORE},{labels.STORE}!={names.short(OTHER_STORE)}"
        # The cluster collects what an anchor owns a moment after the anchor.
        return not any([(await api.get(path, FoundList, labelSelector=selector)).items for path in MADE])

    try:
        await eventually_true(is_removed, timeout_seconds=PATIENCE_SECONDS)
    finally:
        await api.close()


def _namespace(workload: Workload) -> str:
    return objects.namespace_of(workload.domain, RULES)
