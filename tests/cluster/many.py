"""Many pods: a server whose parties run on simulated nodes, and finished pods that lie about."""

import base64
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from kusciajob.contracts import PartyKey
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import Program, Workload, WorkloadPort
from kusciajob.runtime.hosted.workloads import ref_of
from kusciajob.runtime.kubernetes import objects
from kusciajob.store.sqlite.reads import identity
from tests.cluster.cluster import IMAGE, NAMESPACE, Cluster
from tests.cluster.lab.simulated_nodes import SIMULATED

ON_SIMULATED_NODES: Mapping[str, Any] = {
    "node_selector": {SIMULATED: "true"},
    "pod": {"tolerations": [{"key": SIMULATED, "operator": "Exists"}]},
}
"""Settings of a domain whose parties run there."""
SIMULATED_NODES = 4
FIRST_NODE = "sim-0"
PUTS_AT_ONCE = 100
LONG_AGO = "2026-01-01T00:00:00Z"
CONFIG = "/etc/app/config.json"
PORT = 9000


def settings_of(cluster: Cluster, directory: Path, *, is_simulated: bool) -> dict[str, object]:
    """The settings of a server that uses the cluster; what they name is written below the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    domains = directory / "domains.json"
    domains.write_text(json.dumps({"*": ON_SIMULATED_NODES if is_simulated else {}}))
    return {
        "runtime": "kubernetes",
        "kube_config": cluster.kubeconfig,
        "namespace": NAMESPACE,
        "create_namespaces": True,
        "domains_file": domains,
        "app_image_dir": directory / "images",
        "max_running_parties": 0,
    }


def store_id_of(data_dir: Path) -> str:
    """The id of the store of a server that does not run."""
    with closing(sqlite3.connect(data_dir / "jobs.db")) as connection:
        return identity(connection)


def write_image(directory: Path, name: str, command: Sequence[str]) -> None:
    """An AppImage with what parties usually have: a port that others reach, and a config file."""
    port = {"name": "data", "port": PORT, "protocol": "TCP", "scope": "Cluster"}
    container = {
        "name": "main",
        "command": list(command),
        "configVolumeMounts": [{"mountPath": CONFIG, "subPath": "config"}],
        "ports": [port],
    }
    image, _, tag = IMAGE.partition(":")
    document = {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {
            "image": {"name": image, "tag": tag},
            "configTemplates": {"config": '{"cluster": "{{.TASK_CLUSTER_DEFINE}}"}'},
            "deployTemplates": [{"name": name, "replicas": 1, "spec": {"containers": [container]}}],
        },
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(document))


def workload(
    key: PartyKey, *, store_id: str, command: Sequence[str], domain_id: str, settings: Mapping[str, Any]
) -> Workload:
    """What a server makes of a party of that AppImage."""
    program = Program(
        name="main",
        image=IMAGE,
        command=tuple(command),
        env={"TASK_ID": f"task-{key.job}", "KUSCIAJOB_DOMAIN_DIR": "/kuscia/domain"},
        files={CONFIG: b"{}"},
        ports=(WorkloadPort("data", PORT, "TCP", is_shared=True),),
    )
    return Workload(
        ref=ref_of(store_id, key, 0, domain_id),
        owner=store_id,
        task_id=f"task-{key.job}-{key.task}",
        domain=DomainSettings(domain_id=domain_id, **settings),
        programs=(program,),
    )


def add_finished_pods(cluster: Cluster, number: int, *, store_id: str, domain_id: str, first_job: int) -> None:
    """So many pods that have succeeded, each of a job of its own, as a server leaves them that is killed just then.

    They are put into etcd: to have them made by the API server would take minutes.
    """
    namespace = NAMESPACE.format(domain=domain_id)
    puts = []
    for job in range(first_job, first_job + number):
        pod = _finished_pod(PartyKey(job, 0, 0, 0), store_id=store_id, domain_id=domain_id)
        pod["metadata"]["namespace"] = namespace
        place = f"/registry/pods/{namespace}/{pod['metadata']['name']}"
        puts.append({"request_put": {"key": _base64(place.encode()), "value": _base64(msgspec.json.encode(pod))}})
    cluster.ask_etcd([("/v3/kv/txn", {"success": part}) for part in _in_parts(puts)])


def _finished_pod(key: PartyKey, *, store_id: str, domain_id: str) -> objects.Manifest:
    planned = workload(key, store_id=store_id, command=["/bin/true"], domain_id=domain_id, settings=ON_SIMULATED_NODES)
    pod = objects.pod(planned, objects.Rules(namespace=NAMESPACE))
    end = {"exitCode": 0, "reason": "Completed", "startedAt": LONG_AGO, "finishedAt": LONG_AGO}
    container = {"name": "main", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0}
    del pod["spec"]["schedulingGates"]
    # The cluster removes pods of nodes that there are not.
    pod["spec"]["nodeName"] = FIRST_NODE
    pod["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": LONG_AGO}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": end}}]}
    return pod


def _in_parts(puts: list[Any]) -> Iterator[list[Any]]:
    for at in range(0, len(puts), PUTS_AT_ONCE):
        yield puts[at : at + PUTS_AT_ONCE]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
