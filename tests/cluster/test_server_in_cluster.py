"""The server runs in the cluster as deploy/kubernetes has it, and with no more rights than that gives it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import IMAGE, LAB, Cluster
from tests.support.polling import eventually_sync
from tests.support.program import kusciajob

ROOT = Path(__file__).parents[2]
SERVER_IMAGE = "localhost/kusciajob:dev"
DOMAINS = ("alice", "bob")
ACCOUNT = "system:serviceaccount:kusciajob:kusciajob"
BUILD_SECONDS = 600
END_SECONDS = 120
JOB = {
    "job_id": "in-cluster",
    "initiator": "alice",
    "max_parallelism": 1,
    "tasks": [{"alias": "greet", "app_image": "greeter", "parties": [{"domain_id": domain} for domain in DOMAINS]}],
}
GREETER = {
    "apiVersion": "kuscia.secretflow/v1alpha1",
    "kind": "AppImage",
    "metadata": {"name": "greeter"},
    "spec": {
        "image": {"name": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
        "configTemplates": {"who.txt": "{{.KUSCIA_DOMAIN_ID}}"},
        "deployTemplates": [
            {
                "name": "party",
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "command": ["sh", "-c", "echo I am $(cat /etc/who.txt); sleep 6"],
                            "configVolumeMounts": [{"mountPath": "/etc/who.txt", "subPath": "who.txt"}],
                            "ports": [{"name": "main", "protocol": "TCP", "scope": "Cluster"}],
                        }
                    ],
                },
            }
        ],
    },
}


class Place:
    """A lab in which the server runs as a pod."""

    def __init__(self, kubeconfig: Path) -> None:
        find = subprocess.run(
            ["bash", "-c", f". {LAB}/lib.sh; cache_directory"], capture_output=True, text=True, check=True
        )
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PATH": f"{find.stdout.strip()}/bin:{os.environ['PATH']}",
        }

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """What a command prints that succeeds."""
        done = self.try_to(*command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_to(self, *command: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
            env=self._environment,
        )

    def kusciajob(self, *words: str, stdin: str = "") -> str:
        """A command in the server's pod, which has what it needs to call the server."""
        inside = ("kubectl", "-n", "kusciajob", "exec", "-i", "deploy/kusciajob", "--", "kusciajob")
        return self.run(*inside, *words, stdin=stdin)

    def job_state(self) -> str:
        state: str = json.loads(self.kusciajob("get", "in-cluster", "-o", "json"))["status"]["state"]
        return state

    def may(self, verb: str, kind: str, namespace: str) -> bool:
        kind, _, part = kind.partition("/")
        asked = self.try_to(
            "kubectl", "auth", "can-i", verb, kind, f"--subresource={part}", "--as", ACCOUNT, "-n", namespace
        )
        return asked.stdout.strip() == "yes"

    def wait_ready(self) -> None:
        self.run("kubectl", "-n", "kusciajob", "rollout", "status", "deploy/kusciajob", f"--timeout={END_SECONDS}s")


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not cluster.is_ours:
        pytest.skip("only the lab is known well enough: what it lacks is added to deploy/kubernetes below")
    directory = tmp_path_factory.mktemp("in-cluster")
    subprocess.run([ROOT / "scripts" / "build_image.sh", SERVER_IMAGE, ROOT], check=True, timeout=BUILD_SECONDS)
    give_image(cluster, directory)
    place = Place(cluster.kubeconfig)
    certs = directory / "certs"
    made = kusciajob(
        "init", "--dir", certs, "--san", "kusciajob.kusciajob.svc", *(f"--domain={domain}" for domain in DOMAINS)
    )
    assert made.returncode == 0, made.stderr
    write_overlay(directory)
    try:
        place.run("kubectl", "create", "namespace", "kusciajob")
        place.run(ROOT / "deploy" / "kubernetes" / "secrets.sh", certs)
        place.run("kubectl", "apply", "--server-side", "--force-conflicts", "-k", directory)
        place.wait_ready()
        yield place
    finally:
        place.try_to("kubectl", "delete", "--ignore-not-found", "-k", directory)


def give_image(cluster: Cluster, directory: Path) -> None:
    """The lab's nodes get the image from the engine that has built it."""
    engine = subprocess.run([ROOT / "scripts" / "container_engine.sh"], capture_output=True, text=True, check=True)
    archive = directory / "server.tar"
    subprocess.run([*engine.stdout.split(), "save", "--output", archive, SERVER_IMAGE], check=True)
    cluster.give_image(SERVER_IMAGE, archive)
    archive.unlink()


def write_overlay(directory: Path) -> None:
    """deploy/kubernetes with two domains and an AppImage; with what a lab has not: volumes, addresses of Services."""
    base = Path(os.path.relpath(ROOT / "deploy" / "kubernetes", directory))
    for domain in DOMAINS:
        write(
            directory / domain / "kustomization.yaml", {"resources": [str(".." / base / "domain")], "namespace": domain}
        )
    (directory / "data").mkdir(mode=0o777)
    (directory / "data").chmod(0o777)
    for parent in (directory, directory.parent):
        parent.chmod(0o755)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "kusciajob-data"},
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "kusciajob", "name": "kusciajob-data"},
            "storageClassName": "",
            "hostPath": {"path": str(directory / "data"), "type": "Directory"},
        },
    }
    write(directory / "volume.yaml", volume)
    write(directory / "greeter.yaml", GREETER)
    environment = "/spec/template/spec/containers/0/env/-"
    api_server = {"KUBERNETES_SERVICE_HOST": "10.77.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    added = [{"op": "add", "path": environment, "value": {"name": key, "value": api_server[key]}} for key in api_server]
    overlay = {
        "resources": [str(base), *DOMAINS, "volume.yaml"],
        "configMapGenerator": [
            {
                "name": "kusciajob-appimages",
                "namespace": "kusciajob",
                "behavior": "replace",
                "files": ["greeter.yaml"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
        "patches": [
            {"target": {"kind": "Deployment", "name": "kusciajob"}, "patch": json.dumps(added)},
            {
                "target": {"kind": "PersistentVolumeClaim", "name": "kusciajob-data"},
                "patch": json.dumps([{"op": "add", "path": "/spec/storageClassName", "value": ""}]),
            },
        ],
    }
    write(directory / "kustomization.yaml", overlay)


def write(file: Path, content: Any) -> None:
    """JSON is YAML."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def test_it_runs_a_job_and_its_next_pod_takes_it_up(place: Place) -> None:
    assert place.kusciajob("health") == "SERVING\n"
    place.kusciajob("create", "-f", "-", stdin=json.dumps(JOB))
    eventually_sync(lambda: place.job_state() == "Running")
    first = place.run("kubectl", "-n", "kusciajob", "get", "pods", "-o", "name")
    place.run("kubectl", "-n", "kusciajob", "delete", first.strip())
    place.wait_ready()
    assert place.run("kubectl", "-n", "kusciajob", "get", "pods", "-o", "name") != first

    place.kusciajob("watch", "in-cluster")
    assert place.job_state() == "Succeeded", place.kusciajob("get", "in-cluster")
    output = place.kusciajob("logs", "in-cluster")
    for domain in DOMAINS:
        assert output.count(f"I am {domain}") == 1, output
    place.kusciajob("delete", "in-cluster")


def test_its_rights_end_where_its_work_ends(place: Place) -> None:
    for verb, kind in (("create", "pods"), ("patch", "pods"), ("get", "pods/log"), ("create", "secrets")):
        assert place.may(verb, kind, "alice"), (verb, kind)
        assert not place.may(verb, kind, "default"), (verb, kind)
    for verb, kind in (
        ("get", "secrets"),
        ("list", "secrets"),
        ("delete", "services"),
        ("create", "pods/exec"),
        ("create", "rolebindings"),
        ("create", "namespaces"),
        ("get", "nodes"),
        ("delete", "namespaces"),
    ):
        assert not place.may(verb, kind, "alice"), (verb, kind)
