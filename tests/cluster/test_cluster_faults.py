"""What becomes of tasks when a cluster refuses, fails, or takes pods away."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kusciajob.contracts import OutputStream, PartyKey, StartFailed
from kusciajob.model.appimage import Quantities
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.workloads import Policy
from kusciajob.runtime.kubernetes.objects import Rules
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import Timing, Watch
from tests.cluster.cluster import NAMESPACE, Cluster, ClusterLab, Found
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.support.polling import OUTAGE_SECONDS, eventually, eventually_true, passed
from tests.support.runtime_lab import STOP_GRACE_SECONDS, placed, task_of

KEY = PartyKey(1, 0, 0, 0)
OF_ALICE = NAMESPACE.format(domain="alice")
NODE_SECONDS = 150.0
"""How long it may take until a lost node is told: 20 for the cluster, then what is tolerated, grace, and its delay."""

CONTROLLERS_SECONDS = 180.0
"""How long the cluster's controllers may take to do their work again after the API server was away."""


class OnNode(ClusterLab):
    """All pods are to be on one node."""

    node = "n2"

    def domain(self, domain_id: str) -> DomainSettings:
        return DomainSettings(domain_id=domain_id, node_selector={"kubernetes.io/hostname": self.node})


@pytest.fixture
async def on_node(tmp_path: Any, cluster: Cluster) -> AsyncIterator[OnNode]:
    if not cluster.is_ours:
        pytest.skip("only nodes of our own lab are killed")
    lab = OnNode(tmp_path, cluster)
    await lab.start()
    yield lab
    await lab.close()


@asynccontextmanager
async def quota(lab: ClusterLab, **hard: str) -> AsyncIterator[None]:
    """A quota of alice's namespace that is in force."""
    path = f"/api/v1/namespaces/{OF_ALICE}/resourcequotas"
    manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": hard},
    }
    await lab.api.create(path, manifest, Found)
    try:

        async def is_in_force() -> bool:
            found = await lab.api.get(f"{path}/small", dict[str, Any])
            return bool(found.get("status", {}).get("hard"))

        await eventually_true(is_in_force, timeout_seconds=CONTROLLERS_SECONDS)
        yield
    finally:
        await lab.api.delete(f"{path}/small")


async def test_a_node_that_dies_ends_its_task_and_its_return_runs_nothing_again(on_node: OnNode) -> None:
    runtime = await on_node.open()
    parties = await started(runtime, task_of(on_node, [f"echo begun; {FOR_EVER}"]))
    await said(runtime, KEY, b"begun")
    await asyncio.to_thread(on_node.cluster.crash_node, "2")
    try:
        result = await asyncio.wait_for(runtime.wait(KEY), NODE_SECONDS)
    finally:
        await asyncio.to_thread(on_node.cluster.start_node, "2")
    assert not result.succeeded
    assert result.is_fault
    assert result.message.startswith("lost: node n2 does not answer any more")
    await on_node.gone(KEY)
    await on_node.cut(runtime)
    second = await on_node.open()  # a server that had not stored the end asks again
    await second.attach(parties[0])
    await second.start(parties[0])
    assert await second.wait(KEY) == result
    assert await output(second, KEY) == b"begun\n"
    assert not await on_node.leftovers()


async def test_an_api_server_that_is_away_for_a_minute_changes_nothing_for_what_runs(
    lab: ClusterLab, cluster: Cluster
) -> None:
    if not cluster.is_ours:
        pytest.skip("only the API server of our own lab is killed")
    engine = lab.connect()
    runtime = await lab.open(engine=engine)
    parties = await started(runtime, task_of(lab, ["echo begun; sleep 30; echo over; exit 5"]))
    await said(runtime, parties[0].key, b"begun")
    cluster.kill_api_server()
    await eventually(engine.failing.is_set)
    await passed(OUTAGE_SECONDS)
    await asyncio.to_thread(cluster.start_control_plane)
    result = await runtime.wait(KEY)
    assert (result.exit_code, result.message) == (5, "exit code 5")
    assert await output(runtime, KEY) == b"begun\nover\n"
    await eventually(lambda: not engine.failing.is_set())
    # The scheduler may take half a minute to come back; it runs what is asked for then, and the next test needs it.
    (ended,) = await run(runtime, task_of(lab, ["true"], job=2))
    assert ended.succeeded


async def test_what_no_node_has_room_for_is_told_while_it_waits(lab: ClusterLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["true"], requests=Quantities(cpu="1k")))
    starting = asyncio.create_task(runtime.start(parties[0]))
    await lab.told(KEY, " nodes have 1k cpu free")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await runtime.stop(KEY)
    assert not await lab.leftovers()


async def test_a_quota_is_told_while_the_task_waits_for_it(lab: ClusterLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"]))
    async with quota(lab, pods="0"):
        starting = asyncio.create_task(runtime.start(parties[0]))
        await lab.told(KEY, f"namespace {OF_ALICE}: exceeded quota: small")
    await starting
    assert (await runtime.wait(KEY)).succeeded


async def test_a_stop_ends_the_wait_for_a_quota(lab: ClusterLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"]))
    async with quota(lab, pods="0"):
        starting = asyncio.create_task(runtime.start(parties[0]))
        await lab.told(KEY, "exceeded quota")
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.stop(KEY)
    assert not await lab.leftovers()


async def test_an_evicted_pod_is_told_as_that(lab: ClusterLab) -> None:
    runtime = await lab.open()
    await started(runtime, task_of(lab, [f"echo begun; trap 'exit 0' TERM; {FOR_EVER}"]))
    await said(runtime, KEY, b"begun")
    name = names.of_replica("store-1", KEY, 0)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": OF_ALICE}}
    await lab.api.create(f"{lab.path_of(KEY)}/eviction", eviction, dict[str, Any])
    result = await runtime.wait(KEY)
    assert not result.succeeded
    assert result.is_fault
    assert result.message.startswith("evicted (EvictionByEvictionAPI)")
    assert await output(runtime, KEY) == b"begun\n"


async def test_a_pod_that_somebody_deletes_has_not_succeeded(lab: ClusterLab) -> None:
    """Not even where the program takes the signal for a reason to end well."""
    runtime = await lab.open()
    await started(runtime, task_of(lab, [f"echo begun; trap 'echo bye; exit 0' TERM; {FOR_EVER}"]))
    await said(runtime, KEY, b"begun")
    await lab.api.delete(lab.path_of(KEY))
    result = await runtime.wait(KEY)
    assert not result.succeeded
    assert result.is_fault
    assert "its pod was deleted by somebody" in result.message
    assert not await lab.leftovers()


async def test_a_namespace_that_is_missing_is_named(lab: ClusterLab) -> None:
    rules = Rules(namespace="kusciajob-test-missing-{domain}")
    runtime = await lab.open(engine=lab.connect(rules=rules))
    parties = await placed(runtime, task_of(lab, ["true"]))
    with pytest.raises(StartFailed, match="namespace kusciajob-test-missing-alice of domain alice does not exist"):
        await runtime.start(parties[0])
    await runtime.stop(KEY)
    assert not await lab.leftovers()


async def test_a_namespace_that_is_missing_is_made_where_that_is_allowed(lab: ClusterLab) -> None:
    """A namespace's first moments are short of a service account, too."""
    rules = Rules(namespace="kusciajob-test-made-{domain}", grace_seconds=STOP_GRACE_SECONDS)
    runtime = await lab.open(engine=lab.connect(rules=rules, creates_namespaces=True))
    lab.has_data = False
    try:
        (result,) = await run(runtime, task_of(lab, ["echo begun"]))
        assert result.succeeded, result
    finally:
        await lab.api.delete("/api/v1/namespaces/kusciajob-test-made-alice")


async def test_a_program_is_restarted_as_often_as_it_may_be(lab: ClusterLab) -> None:
    runtime = await lab.open(policy=Policy(max_restarts=1))
    (result,) = await run(runtime, task_of(lab, ["echo again; exit 3"], restart_policy="OnFailure"))
    assert (result.exit_code, result.message) == (3, "exit code 3, after a restart")
    assert await output(runtime, KEY) == b"again\nagain\n"
    assert not await lab.leftovers()


async def test_streams_of_output_are_told_apart_where_the_cluster_does(lab: ClusterLab, cluster: Cluster) -> None:
    if not cluster.is_ours:
        pytest.skip("that is a feature gate of the cluster")
    runtime = await lab.open()
    (result,) = await run(runtime, task_of(lab, ["echo to-stdout; echo to-stderr >&2; exit 1"]))
    assert result.detail == "to-stderr"
    assert await output(runtime, KEY) == b"to-stdout\n"
    assert await output(runtime, KEY, OutputStream.STDERR) == b"to-stderr\n"


async def test_a_watch_that_is_too_old_lists_again_and_tells_what_vanished(lab: ClusterLab) -> None:
    """The API server answers an old version with 410."""
    runtime = await lab.open()
    await started(runtime, task_of(lab, [FOR_EVER]))
    seen: list[str] = []
    gone: list[str] = []
    watch = Watch(
        lab.api,
        "/api/v1/pods",
        Pod,
        seen=lambda pod: seen.append(pod.metadata.name),
        gone=lambda pod: gone.append(pod.metadata.name),
        timing=Timing(first_pause=0.01),
    )
    following = asyncio.create_task(watch.run())
    await eventually(lambda: names.of_replica("store-1", KEY, 0) in seen)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await lab.remove_by_hand(KEY)
    watch._version = "1"
    following = asyncio.create_task(watch.run())
    await eventually(lambda: names.of_replica("store-1", KEY, 0) in gone)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_many_tasks_at_once_all_succeed_and_leave_nothing(lab: ClusterLab) -> None:
    tasks = int(os.environ.get("MANY_TASKS", "40"))
    runtime = await lab.open()
    results = await asyncio.gather(
        *(run(runtime, task_of(lab, ["echo alice", "echo bob"], job=job)) for job in range(1, tasks + 1))
    )
    assert all(result.succeeded for both in results for result in both), results
    assert await output(runtime, PartyKey(tasks, 0, 0, 1)) == b"bob\n"
    assert not await lab.leftovers()
