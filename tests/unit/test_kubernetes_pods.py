"""What is told of a pod: why it waits, and how it ended."""

from typing import Any

import msgspec
import pytest

from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted.engine import Phase, Ref, Sighting
from kusciajob.runtime.kubernetes import objects, pods
from kusciajob.runtime.kubernetes.pods import Event, Pod

REF = Ref("kj-1", "kj", PartyKey(1, 0, 0, 0), 0, "alice", "u")
NOT_SCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


def pod(*containers: dict[str, Any], phase: str = "Running", **parts: Any) -> Pod:
    """A pod with one container of each state."""
    names = [f"c{at}" for at in range(max(len(containers), 1))]
    resources = parts.pop("resources", {})
    return msgspec.convert(
        {
            "metadata": {"name": "kj-1", "uid": "u", **parts.pop("metadata", {})},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": name, "image": "app:1", "resources": resources} for name in names],
                **parts.pop("spec", {}),
            },
            "status": {
                "phase": phase,
                "hostIP": "10.0.0.1",
                "containerStatuses": [{"name": name, **state} for name, state in zip(names, containers, strict=False)],
                **parts,
            },
        },
        Pod,
    )


def ended(code: int, reason: str = "Error", at: str = "2026-01-01T00:00:09Z", **fields: Any) -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}, **fields}


def waits(reason: str, message: str = "", **fields: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **fields}


RUNS: dict[str, Any] = {"state": {"running": {}}}


def seen(found: Pod) -> Sighting:
    return pods.sighting_of(found, REF)


def test_a_pod_that_runs_tells_its_node() -> None:
    found = seen(pod(RUNS))
    assert (found.phase, found.node and (found.node.name, found.node.ip)) == (Phase.RUNNING, ("n1", "10.0.0.1"))


def test_the_end_of_a_program_has_its_code_and_its_time() -> None:
    found = seen(pod(ended(0, "Completed"), phase="Succeeded"))
    assert (found.phase, found.exit_code, found.text, found.is_fault) == (Phase.ENDED, 0, "", False)
    assert found.ended_at == 1767225609
    found = seen(pod(ended(7), phase="Failed"))
    assert (found.exit_code, found.text, found.is_fault) == (7, "", False)


def test_out_of_memory_is_told_with_the_limit() -> None:
    failed = pod(ended(137, "OOMKilled"), phase="Failed", resources={"limits": {"memory": "512Mi"}})
    assert seen(failed).text == "killed: memory limit 512Mi"
    assert not seen(failed).is_fault


def test_an_eviction_is_the_clusters_fault() -> None:
    failed = pod(ended(137), phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    assert (seen(failed).text, seen(failed).is_fault) == ("evicted: The node was low on resource: memory.", True)


def test_a_pod_that_no_node_took_in_the_end_is_told_as_that() -> None:
    failed = seen(pod(phase="Failed", reason="OutOfcpu", message="Pod was rejected"))
    assert (failed.text, failed.exit_code, failed.is_fault) == ("OutOfcpu: Pod was rejected", None, True)


def test_the_first_failure_counts_and_not_what_was_ended_because_of_it() -> None:
    failed = pod(
        ended(143, at="2026-01-01T00:00:20Z"),
        ended(5, at="2026-01-01T00:00:10Z"),
        phase="Failed",
        reason="DeadlineExceeded",
    )
    assert (seen(failed).exit_code, seen(failed).text) == (5, "")


def test_a_stop_that_a_program_takes_well_is_told_as_a_stop() -> None:
    stopped = seen(pod(ended(0, "Completed"), phase="Failed", reason="DeadlineExceeded"))
    assert (stopped.text, stopped.is_fault) == ("stopped", False)


def test_a_program_that_ended_after_its_pod_was_deleted_has_not_succeeded() -> None:
    late = {"deletionTimestamp": "2026-01-01T00:00:10Z", "deletionGracePeriodSeconds": 5}
    found = seen(pod(ended(0, "Completed"), phase="Succeeded", metadata=late))
    assert (found.text, found.is_fault) == ("its pod was deleted by somebody", True)


def test_a_program_that_ended_before_its_pod_was_deleted_has_succeeded() -> None:
    later = {"deletionTimestamp": "2026-01-01T00:10:00Z", "deletionGracePeriodSeconds": 5}
    found = seen(pod(ended(0, "Completed"), phase="Succeeded", metadata=later))
    assert (found.text, found.exit_code) == ("", 0)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No victims.",
            "0/3 nodes have 4 cpu free",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu.",
            "0/3 nodes can run it: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu",
        ),
        ('persistentvolumeclaim "mine" not found', 'persistentvolumeclaim "mine" not found'),
        (
            "0/2 nodes are available: 2 Too many pods. no new claims to deallocate, preemption: none.",
            "0/2 nodes can run it: 2 Too many pods",
        ),
    ],
)
def test_why_no_node_takes_a_pod_is_told(message: str, text: str) -> None:
    waiting = pod(
        phase="Pending", conditions=[{**NOT_SCHEDULED, "message": message}], resources={"requests": {"cpu": "4"}}
    )
    assert seen(waiting).text == text


@pytest.mark.parametrize(
    ("reason", "message", "text"),
    [
        ("ErrImagePull", "failed to resolve: app:1: not found", "image app:1: not found in registry"),
        ("ImagePullBackOff", "Back-off pulling: ErrImagePull: no route", "image app:1: cannot be pulled: no route"),
        ("ErrImagePull", "no route", "image app:1: cannot be pulled: no route"),
        ("CreateContainerConfigError", "it will run as root", "CreateContainerConfigError: it will run as root"),
        ("ContainerCreating", "", ""),
    ],
)
def test_why_a_container_does_not_begin_is_told_the_same_while_it_lasts(reason: str, message: str, text: str) -> None:
    assert seen(pod(waits(reason, message), phase="Pending")).text == text


def test_a_pod_at_its_gate_waits_for_nothing_special() -> None:
    gated = pod(
        phase="Pending",
        spec={"schedulingGates": [{"name": objects.GATE}]},
        conditions=[{**NOT_SCHEDULED, "message": "gated"}],
    )
    assert seen(gated).text == ""
    assert gated.is_gated


def event(reason: str, message: str = "", kind: str = "Warning") -> str | None:
    return pods.event_text(Event(type=kind, reason=reason, message=message))


def test_what_only_events_tell_is_told_without_what_differs_each_time() -> None:
    sandbox = "Failed to create pod sandbox: network for sandbox " + "0123456789abcdef" * 4 + ": no address"
    assert event("FailedCreatePodSandBox", sandbox) == (
        "FailedCreatePodSandBox: Failed to create pod sandbox: network for sandbox …: no address"
    )
    assert event("Pulling", 'Pulling image "app:1"', "Normal") == "pulling image app:1"
    assert event("Pulled", "", "Normal") == ""
    assert event("Failed", "Error: ErrImagePull") is None
    creating = pod(waits("ContainerCreating"), phase="Pending")
    assert pods.sighting_of(creating, REF, "pulling image app:1").text == "pulling image app:1"


def restarted(count: int, *, most: int, state: dict[str, Any]) -> Pod:
    annotations = {"annotations": {objects.MAX_RESTARTS: str(most)}}
    return pod({**state, "restartCount": count}, metadata=annotations, spec={"restartPolicy": "OnFailure"})


def test_restarts_are_counted_and_end() -> None:
    crashed = {**waits("CrashLoopBackOff"), "lastState": {"terminated": {"exitCode": 3}}}
    assert seen(restarted(1, most=2, state=crashed)).phase is Phase.RUNNING
    assert seen(restarted(2, most=2, state=RUNS)).phase is Phase.RUNNING
    last = restarted(2, most=2, state=crashed)
    assert pods.needs_end(last)
    found = seen(last)
    assert (found.phase, found.exit_code, found.restarts) == (Phase.ENDED, 3, 2)


def test_one_failure_ends_the_other_containers_of_a_pod() -> None:
    assert pods.needs_end(pod(RUNS, ended(1)))
    assert not pods.needs_end(pod(RUNS, ended(0)))
    assert not pods.needs_end(pod(ended(1), phase="Failed"))


def test_what_vanished_is_told_by_what_was_seen_last() -> None:
    assert "deleted by somebody" in pods.gone(pod(RUNS), REF).text
    taken = pod(RUNS, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}])
    assert pods.gone(taken, REF).text == "node n1 was lost, or gave up its pods"
    assert pods.lost(taken, REF).text.startswith("node n1 does not answer any more")
    assert pods.lost(taken, REF).phase is Phase.GONE
