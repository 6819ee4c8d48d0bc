"""Servers that run in the lab as deploy/ has them, with what it lacks: volumes, addresses of Services, a registry."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.cluster.cluster import IMAGE, Cluster, cache_directory
from tests.support.commands import END_SECONDS, Commands
from tests.support.deployed_images import SERVER, server_image
from tests.support.program import kusciajob

ROOT = Path(__file__).parents[2]
DOMAINS = ("alice", "bob")
API_SERVER = {"KUBERNETES_SERVICE_HOST": "10.77.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def greeter(script: str) -> dict[str, Any]:
    """An AppImage whose parties say who they are in the file /etc/who.txt, and run this shell script."""
    name, _, tag = IMAGE.rpartition(":")
    container = {
        "name": "main",
        "command": ["sh", "-c", script],
        "configVolumeMounts": [{"mountPath": "/etc/who.txt", "subPath": "who.txt"}],
        "ports": [{"name": "main", "protocol": "TCP", "scope": "Cluster"}],
    }
    return {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": "greeter"},
        "spec": {
            "image": {"name": name, "tag": tag},
            "configTemplates": {"who.txt": "{{.KUSCIA_DOMAIN_ID}}"},
            "deployTemplates": [{"name": "party", "spec": {"restartPolicy": "Never", "containers": [container]}}],
        },
    }


def job(job_id: str, *, tasks: int = 1) -> str:
    """A job of tasks of the greeter, one after the other, as JSON."""
    parties = [{"domain_id": domain} for domain in DOMAINS]
    aliases = [f"greet{number}" for number in range(tasks)]
    return json.dumps(
        {
            "job_id": job_id,
            "initiator": DOMAINS[0],
            "max_parallelism": 1,
            "tasks": [
                {"alias": alias, "app_image": "greeter", "parties": parties, "dependencies": before}
                for alias, before in zip(aliases, [[], *([each] for each in aliases)], strict=False)
            ],
        }
    )


class Place(Commands):
    """A lab in which servers run as pods."""

    def __init__(self, kubeconfig: Path) -> None:
        path = f"{cache_directory() / 'bin'}:{os.environ['PATH']}"
        super().__init__({"KUBECONFIG": str(kubeconfig), "PATH": path})

    @contextmanager
    def started(self, *command: str | Path) -> Iterator["subprocess.Popen[str]"]:
        """A command that goes on meanwhile, and is killed at the end; what it prints can be read."""
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def kubectl(self, *words: str | Path) -> str:
        """In the servers' namespace."""
        return self.run("kubectl", "-n", "kusciajob", *words)

    def pods(self) -> list[str]:
        """The names of the servers' pods that are not on their way out."""
        told = json.loads(self.kubectl("get", "pods", "-l", "app.kubernetes.io/component=server", "-o", "json"))
        return sorted(pod["metadata"]["name"] for pod in told["items"] if "deletionTimestamp" not in pod["metadata"])

    def kusciajob(self, *words: str, pod: str = "deploy/kusciajob", stdin: str = "") -> str:
        """A command in a server's pod, which has what it needs to call the server."""
        return self.run(*self.inside(pod), "kusciajob", *words, stdin=stdin)

    def inside(self, pod: str) -> Sequence[str]:
        """How to run a command in a pod."""
        return "kubectl", "-n", "kusciajob", "exec", "-i", pod, "--"

    def job_state(self, job_id: str, *, pod: str = "deploy/kusciajob") -> str:
        state: str = json.loads(self.kusciajob("get", job_id, "-o", "json", pod=pod))["status"]["state"]
        return state

    def may(self, account: str, verb: str, kind: str, namespace: str) -> bool:
        kind, _, part = kind.partition("/")
        asked = self.try_to(
            "kubectl", "auth", "can-i", verb, kind, f"--subresource={part}", "--as", account, "-n", namespace
        )
        return asked.stdout.strip() == "yes"

    def wait_ready(self) -> None:
        self.kubectl("rollout", "status", "deploy/kusciajob", f"--timeout={END_SECONDS}s")


def volume(directory: Path, claim: str, *modes: str) -> dict[str, Any]:
    """A volume for one claim of the servers' namespace: a directory of this machine, which all nodes share."""
    directory.mkdir()
    directory.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"kusciajob-{directory.name}"},
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": list(modes),
            "claimRef": {"namespace": "kusciajob", "name": claim},
            "storageClassName": "",
            "hostPath": {"path": str(directory), "type": "Directory"},
        },
    }


def added(kind: str, name: str, path: str, value: str) -> dict[str, Any]:
    """A patch of one object: a value that is added at a path."""
    operation = {"op": "add", "path": path, "value": value}
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps([operation])}


@contextmanager
def running(
    cluster: Cluster,
    directory: Path,
    deployment: str,
    *,
    app_image: Mapping[str, Any],
    volumes: Sequence[Mapping[str, Any]],
    archives: Mapping[str, bytes] = MappingProxyType({}),
    secrets: Mapping[str, str] = MappingProxyType({}),
    **overlay: Sequence[Mapping[str, Any]],
) -> Iterator[Place]:
    """The lab with what a directory of deploy/ describes, once its servers are ready.

    `deployment`: the directory's name. `archives`: images beside the server's, by their names. `secrets`: names, and a
    password in each. `overlay`: fields of a kustomization over that directory, beside those that are written here.
    """
    if not cluster.is_ours:
        pytest.skip("only the lab is known well enough: what it lacks is added to deploy/ here")
    archive = directory / "image.tar"
    server_image(archive)
    cluster.give_image(SERVER, archive)
    for name, content in archives.items():
        archive.write_bytes(content)
        cluster.give_image(name, archive)
    archive.unlink()
    certs = directory / "certs"
    made = kusciajob(
        "init", "--dir", certs, "--san", "kusciajob.kusciajob.svc", *(f"--domain={domain}" for domain in DOMAINS)
    )
    assert made.returncode == 0, made.stderr
    for parent in (directory, directory.parent):
        parent.chmod(0o755)
    _write_overlay(directory, deployment, app_image=app_image, volumes=volumes, **overlay)
    place = Place(cluster.kubeconfig)
    try:
        place.run("kubectl", "create", "namespace", "kusciajob")
        place.run(ROOT / "deploy" / "kubernetes" / "secrets.sh", certs)
        for name, password in secrets.items():
            place.kubectl("create", "secret", "generic", name, f"--from-literal=password={password}")
        place.run("kubectl", "apply", "--server-side", "--force-conflicts", "-k", directory)
        place.wait_ready()
        yield place
    finally:
        place.try_to("kubectl", "delete", "--ignore-not-found", "-k", directory)


def _write_overlay(
    directory: Path,
    deployment: str,
    *,
    app_image: Mapping[str, Any],
    volumes: Sequence[Mapping[str, Any]],
    patches: Sequence[Mapping[str, Any]] = (),
    **fields: Sequence[Mapping[str, Any]],
) -> None:
    deploy = Path(os.path.relpath(ROOT / "deploy", directory))
    for domain in DOMAINS:
        content = {"resources": [str(".." / deploy / "kubernetes" / "domain")], "namespace": domain}
        _write(directory / domain / "kustomization.yaml", content)
    _write(directory / "volumes.yaml", {"apiVersion": "v1", "kind": "List", "items": list(volumes)})
    _write(directory / "app-image.yaml", app_image)
    app_images = {
        "name": "kusciajob-appimages",
        "namespace": "kusciajob",
        "behavior": "replace",
        "files": ["app-image.yaml"],
        "options": {"disableNameSuffixHash": True},
    }
    path = "/spec/template/spec/containers/0/env/-"
    environment = [{"op": "add", "path": path, "value": {"name": key, "value": API_SERVER[key]}} for key in API_SERVER]
    kustomization: dict[str, Any] = {
        "resources": [str(deploy / deployment), *DOMAINS, "volumes.yaml"],
        "configMapGenerator": [app_images],
        "patches": [
            {"target": {"kind": "Deployment", "name": "kusciajob"}, "patch": json.dumps(environment)},
            added("PersistentVolumeClaim", "kusciajob-data", "/spec/storageClassName", ""),
            *patches,
        ],
        **fields,
    }
    _write(directory / "kustomization.yaml", kustomization)


def _write(file: Path, content: Any) -> None:
    """JSON is YAML."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
