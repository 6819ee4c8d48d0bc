"""The cluster forgets the log of changes while nobody could read it (410): what is seen afterwards is what is there."""

import asyncio
from collections.abc import Mapping

import pytest
from msgspec import Struct

from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted.engine import Phase, Ref, Sighting, Workload
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.api import Expired
from kusciajob.runtime.kubernetes.watch import ListMetadata
from tests.cluster import many
from tests.cluster.cluster import NAMESPACE, Cluster, ClusterLab, Found
from tests.support.polling import eventually


class PodList(Struct):
    metadata: ListMetadata = ListMetadata()


STORE = "forgotten"
PODS = f"/api/v1/namespaces/{NAMESPACE.format(domain='alice')}/pods"
SUCCEEDED = {"status": {"phase": "Succeeded"}}
STAY, END, VANISH, ARE_REPLACED = range(10), range(10, 20), range(20, 30), range(30, 40)
COME = range(40, 50)


async def test_nothing_is_lost_when_the_log_is_compacted(cluster: Cluster, lab: ClusterLab) -> None:
    if not cluster.is_ours:
        pytest.skip("the etcd of this cluster is not ours")
    for number in (*STAY, *END, *VANISH, *ARE_REPLACED):
        await _make(lab, number)
    told: list[Sighting] = []
    engine = lab.connect()
    try:
        await engine.open(STORE, told.append)
        await engine.seen_all()
        before = await _pods(lab)
        assert {sighting.ref.uid for sighting in told} == set(before.values())
        version = (await lab.api.get("/api/v1/pods", PodList)).metadata.resource_version
        await lab.take_away()
        for number in (*VANISH, *ARE_REPLACED):
            await lab.api.delete(f"{PODS}/{_ref(number).name}", grace_seconds=0)
        for number in END:
            await lab.api.patch(f"{PODS}/{_ref(number).name}/status", SUCCEEDED)
        for number in (*ARE_REPLACED, *COME):
            await _make(lab, number)
        await _forget_changes(cluster, lab)
        assert await _is_forgotten(lab, version)
        await lab.bring_back()

        there = await _pods(lab)
        await eventually(lambda: _phases(told) == _expected(before, there))
    finally:
        await engine.close()


def _expected(before: Mapping[str, str], there: Mapping[str, str]) -> dict[str, Phase]:
    """By uid, for all pods that ever were."""
    expected = dict.fromkeys(before.values(), Phase.GONE) | dict.fromkeys(there.values(), Phase.WAITING)
    return expected | {there[_ref(number).name]: Phase.ENDED for number in END}


def _phases(told: list[Sighting]) -> dict[str, Phase]:
    """What was told last of each uid."""
    return {sighting.ref.uid: sighting.phase for sighting in told}


async def _forget_changes(cluster: Cluster, lab: ClusterLab) -> None:
    """Compact etcd, and have the API server lose what it remembers itself."""
    revision = (await lab.api.get("/api/v1/pods", PodList)).metadata.resource_version
    cluster.ask_etcd([("/v3/kv/compaction", {"revision": revision, "physical": True})])
    cluster.kill_api_server()
    await asyncio.to_thread(cluster.start_control_plane)


async def _is_forgotten(lab: ClusterLab, version: str) -> bool:
    """Whether a watch from that version on is answered with 410, at once or by its first event."""
    try:
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "5"}
        async with lab.api.stream("/api/v1/pods", read_seconds=30, **query) as chunks:
            return b'"code":410' in b"".join([chunk async for chunk in chunks])
    except Expired:
        return True


def _ref(number: int) -> Ref:
    return _workload(number).ref


def _workload(number: int) -> Workload:
    key = PartyKey(number, 0, 0, 0)
    return many.workload(key, store_id=STORE, command=["/bin/true"], domain_id="alice", settings={})


async def _make(lab: ClusterLab, number: int) -> None:
    await lab.api.create(PODS, objects.pod(_workload(number), objects.Rules(namespace=NAMESPACE)), Found)


async def _pods(lab: ClusterLab) -> dict[str, str]:
    """The uid of each that is there, by its name."""
    return {pod.name: pod.uid for pod in await lab.of_kind("pods", store_id=STORE)}
