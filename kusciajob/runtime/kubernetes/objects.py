"""The manifests of a workload, as pure functions: anchor, pod, service, network policy, files."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from msgspec import Struct

from kusciajob.contracts import StartFailed
from kusciajob.model.text import shown
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.engine import DOMAIN_DIRECTORY, Limits, Program, Ref, Workload
from kusciajob.runtime.hosted.labels import DOMAIN, GROUP, PARTY, PREFIX, REPLICA, TASK_ID, WORKLOAD, key_of, of_group

Manifest = dict[str, Any]

GATE = "kusciajob/created"
"""The scheduling gate that keeps a pod from running before `release`."""
ANCHOR = PREFIX + "anchor"
"""The label of the objects that own all others of a task's attempt in a namespace."""
MAX_RESTARTS = PREFIX + "max-restarts"
MAX_FILES_BYTES = 1024 * 1024 - 16 * 1024
"""What fits into one ConfigMap or Secret: 1 MiB, but for the names."""
NODE_LOST_TAINTS = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
DATA_VOLUME = "domain"
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?:[-a-z0-9]{0,13}[a-z0-9])?")


class Rules(Struct, frozen=True):
    """What holds for all pods. `user` and `group`: as whom programs run; None: as the image says."""

    namespace: str = "{domain}"
    grace_seconds: float = 10.0
    node_lost_seconds: int = 60
    allow_root: bool = False
    user: int | None = None
    group: int | None = None


def namespace_of(domain: DomainSettings, rules: Rules) -> str:
    """The namespace of a domain. Raises StartFailed if its id makes none."""
    name = domain.namespace or rules.namespace.replace("{domain}", domain.domain_id)
    if not _LABEL.fullmatch(name):
        raise StartFailed(
            f"domain {shown(domain.domain_id)} makes the namespace {shown(name)}, which cannot be: lower case letters, "
            "digits and '-' are possible; the domains file may name another (namespace)"
        )
    return name


def labels_of(owner: str, ref: Ref) -> dict[str, str]:
    """What tells whose an object is."""
    return of_group(names.short(owner), ref.key, ref.task)


def ref_of(name: str, uid: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Ref | None:
    """The workload that a pod is; None if its labels do not say it."""
    try:
        return Ref(name, labels[GROUP], key_of(labels), int(labels[REPLICA]), annotations.get(DOMAIN, ""), uid)
    except (KeyError, ValueError):
        return None


def namespace(name: str) -> Manifest:
    """A namespace for a domain."""
    return _object("v1", "Namespace", {"name": name, "labels": {"app.kubernetes.io/managed-by": "kusciajob"}})


def anchor(workload: Workload) -> Manifest:
    """What owns all of a task's attempt in a namespace: with it the cluster removes everything, server or not."""
    labels = {**labels_of(workload.owner, workload.ref), ANCHOR: "true"}
    metadata = {"name": workload.ref.task, "labels": labels, "annotations": {TASK_ID: workload.task_id}}
    return _object("v1", "ConfigMap", metadata, immutable=True)


def companions(workload: Workload) -> list[tuple[str, Manifest]]:
    """All but anchor and pod, each with the plural of its kind: the pod must not run before they exist."""
    ref = workload.ref
    made = [("configmaps", _files("ConfigMap", f"{ref.name}-{at}", part)) for at, part in enumerate(_parts(workload))]
    if secret := _secret_files(workload):
        made.append(("secrets", _files("Secret", ref.name, secret)))
    shared = sorted({port.number for program in workload.programs for port in program.ports if port.is_shared})
    if shared:
        made.append(("services", _service(ref, shared)))
    if workload.domain.network_policy:
        made.append(("networkpolicies", _network_policy(ref, shared)))
    return [(plural, _labelled(manifest, workload)) for plural, manifest in made]


def owned(manifest: Manifest, *, anchor_name: str, anchor_uid: str) -> Manifest:
    """The manifest as a dependant of its anchor."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": anchor_name, "uid": anchor_uid}
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def pod(workload: Workload, rules: Rules) -> Manifest:
    """The pod, which waits at its gate. Raises StartFailed."""
    parts = _parts(workload)
    domain, own = workload.domain, workload.domain.pod
    labels = {
        **own.get("labels", {}),
        **labels_of(workload.owner, workload.ref),
        PARTY: str(workload.ref.key.party),
        REPLICA: str(workload.ref.replica),
        WORKLOAD: workload.ref.name,
    }
    annotations = {
        **own.get("annotations", {}),
        DOMAIN: workload.ref.domain_id,
        TASK_ID: workload.task_id,
        MAX_RESTARTS: str(workload.max_restarts or 0),
    }
    lost = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": rules.node_lost_seconds}
        for key in NODE_LOST_TAINTS
    ]
    spec: Manifest = {
        "restartPolicy": "OnFailure" if workload.max_restarts else "Never",
        "schedulingGates": [{"name": GATE}],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ceil(rules.grace_seconds),
        "tolerations": [*lost, *own.get("tolerations", ())],
        "securityContext": _security_of_pod(workload.programs, rules),
        "containers": list(_containers(workload, parts)),
        "volumes": _volumes(workload, parts),
    }
    if domain.node_selector:
        spec["nodeSelector"] = dict(domain.node_selector)
    if domain.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in domain.pull_secrets]
    for field in ("affinity", "runtimeClassName", "schedulerName", "priorityClassName"):
        if field in own:
            spec[field] = own[field]
    return _object("v1", "Pod", {"name": workload.ref.name, "labels": labels, "annotations": annotations}, spec=spec)


def _object(version: str, kind: str, metadata: Manifest, **content: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _labelled(manifest: Manifest, workload: Workload) -> Manifest:
    metadata = {**manifest["metadata"], "labels": labels_of(workload.owner, workload.ref)}
    return {**manifest, "metadata": metadata}


def _service(ref: Ref, shared: Sequence[int]) -> Manifest:
    """The name under which the other parties find it; it is known before anything runs."""
    return _object(
        "v1",
        "Service",
        {"name": ref.name},
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {WORKLOAD: ref.name},
            "ports": [{"name": f"p{number}", "port": number} for number in shared],
        },
    )


def _network_policy(ref: Ref, shared: Sequence[int]) -> Manifest:
    """Its shared ports are reached by what belongs to the same attempt of its task, in whatever namespace."""
    friends = {"namespaceSelector": {}, "podSelector": {"matchLabels": {GROUP: ref.task}}}
    ports = [{"protocol": "TCP", "port": number} for number in shared]
    return _object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        {"name": ref.name},
        spec={
            "podSelector": {"matchLabels": {WORKLOAD: ref.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [friends], "ports": ports}] if shared else [],
        },
    )


def _files(kind: str, name: str, files: Mapping[str, bytes]) -> Manifest:
    field = "data" if kind == "Secret" else "binaryData"
    content = {key: base64.b64encode(data).decode() for key, data in files.items()}
    return _object("v1", kind, {"name": name}, immutable=True, **{field: content})


def _keys(files: Mapping[str, bytes], program: int) -> dict[str, str]:
    """The key of each file of a program, by its path."""
    return {path: f"{program}-{at}" for at, path in enumerate(files)}


def _parts(workload: Workload) -> list[dict[str, bytes]]:
    """The files by their keys, in as many ConfigMaps as they need. Raises StartFailed."""
    parts: list[dict[str, bytes]] = []
    size = 0
    for at, program in enumerate(workload.programs):
        keys = _keys(program.files, at)
        for path, content in program.files.items():
            _check_size(path, len(content))
            if not parts or size + len(content) > MAX_FILES_BYTES:
                parts.append({})
                size = 0
            parts[-1][keys[path]] = content
            size += len(content)
    return parts


def _secret_files(workload: Workload) -> dict[str, bytes]:
    files = {}
    for at, program in enumerate(workload.programs):
        keys = _keys(program.secret_files, at)
        files.update({keys[path]: content for path, content in program.secret_files.items()})
    _check_size("the certificates", sum(map(len, files.values())))
    return files


def _check_size(what: str, size: int) -> None:
    if size > MAX_FILES_BYTES:
        raise StartFailed(
            f"{shown(what)} has {size:,} bytes: a file for a pod goes through a ConfigMap, which holds 1 MiB at most"
        )


def _volumes(workload: Workload, parts: Sequence[Mapping[str, bytes]]) -> list[Manifest]:
    name = workload.ref.name
    volumes = [
        {"name": f"files-{at}", "configMap": {"name": f"{name}-{at}", "defaultMode": 0o444}}
        for at, _ in enumerate(parts)
    ]
    if _secret_files(workload):
        # Whoever the program runs as must read them: their wall is the container.
        volumes.append({"name": "secret-files", "secret": {"secretName": name, "defaultMode": 0o444}})
    return [*volumes, {"name": DATA_VOLUME, **_data_volume(workload.domain)}]


def _data_volume(domain: DomainSettings) -> Manifest:
    claim = domain.data_volume
    if not claim:
        return {"emptyDir": {}}
    if "/" in claim:
        raise StartFailed(
            f"domain {shown(domain.domain_id)}: data_volume {shown(claim)} is a directory of a machine: "
            "pods need the name of a PersistentVolumeClaim"
        )
    return {"persistentVolumeClaim": {"claimName": claim}}


def container_names(programs: Sequence[Program]) -> list[str]:
    """The names of the containers: the programs' own where Kubernetes takes them."""
    return [program.name if _LABEL.fullmatch(program.name) else f"program-{at}" for at, program in enumerate(programs)]


def _containers(workload: Workload, parts: Sequence[Mapping[str, bytes]]) -> Iterator[Manifest]:
    where = {key: f"files-{at}" for at, part in enumerate(parts) for key in part}
    for at, (name, program) in enumerate(zip(container_names(workload.programs), workload.programs, strict=True)):
        mounts = [
            *_mounts(_keys(program.files, at), where),
            *_mounts(_keys(program.secret_files, at), {}),
            {"name": DATA_VOLUME, "mountPath": DOMAIN_DIRECTORY},
        ]
        made: Manifest = {
            "name": name,
            "image": program.image,
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": key, "value": value.replace("$", "$$")} for key, value in program.env.items()],
            "ports": _ports(program),
            "resources": {**_resources("requests", program.requests), **_resources("limits", program.limits)},
            "securityContext": _security(program),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
            **{name: _probe(probe, program) for name, probe in program.probes.items()},
        }
        # Everything was expanded: Kubernetes shall find nothing more to expand.
        for field, words in (("command", program.command), ("args", program.args)):
            if words:
                made[field] = [word.replace("$", "$$") for word in words]
        if program.working_dir:
            made["workingDir"] = program.working_dir
        yield made


def _mounts(keys: Mapping[str, str], where: Mapping[str, str]) -> Iterator[Manifest]:
    for path, key in keys.items():
        yield {"name": where.get(key, "secret-files"), "mountPath": path, "subPath": key, "readOnly": True}


def _ports(program: Program) -> list[Manifest]:
    made = []
    for port in program.ports:
        entry: Manifest = {"containerPort": port.number}
        if _PORT_NAME.fullmatch(port.name):
            entry["name"] = port.name
        made.append(entry)
    return made


def _probe(probe: Any, program: Program) -> Any:
    """A probe names a port as the AppImage does, which Kubernetes may not take as a name."""
    numbers = {port.name: port.number for port in program.ports}

    def numbered(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: numbers.get(each, each) if key == "port" and isinstance(each, str) else numbered(each)
                for key, each in value.items()
            }
        return value

    return numbered(probe)


def _resources(kind: str, amounts: Limits) -> Manifest:
    named = {"cpu": amounts.cpu, "memory": amounts.memory}
    found = {name: amount for name, amount in named.items() if amount}
    return {kind: found} if found else {}


def _security_of_pod(programs: Sequence[Program], rules: Rules) -> Manifest:
    context: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not rules.allow_root and not any(program.is_privileged for program in programs):
        context["runAsNonRoot"] = True
    if rules.user is not None:
        context["runAsUser"] = rules.user
    if rules.group is not None:
        context["runAsGroup"] = rules.group
    return context


def _security(program: Program) -> Manifest:
    if program.is_privileged:
        return {"privileged": True}
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
