"""The manifests of a workload: names, walls, files, volumes, and what its owner is."""

import base64
from typing import Any

import pytest
from msgspec.structs import replace

from kusciajob.contracts import PartyKey, StartFailed
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import labels, names
from kusciajob.runtime.hosted.engine import Limits, Program, Ref, Workload, WorkloadPort
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.objects import Manifest, Rules

KEY = PartyKey(12, 3, 1, 0)
RULES = Rules(grace_seconds=9.5, node_lost_seconds=40)


def workload(*programs: Program, domain: DomainSettings | None = None, **fields: Any) -> Workload:
    ref = Ref(names.of_replica("store", KEY, 0), names.of_task("store", KEY), KEY, 0, "alice")
    domain = domain or DomainSettings(domain_id="alice")
    return Workload(ref, "store", "task-1", domain, programs or (program(),), **fields)


def program(**fields: Any) -> Program:
    return Program(**{"name": "main", "image": "app:1", **fields})


def pod_of(*programs: Program, rules: Rules = RULES, **fields: Any) -> Manifest:
    spec: Manifest = objects.pod(workload(*programs, **fields), rules)["spec"]
    return spec


def container_of(**fields: Any) -> Manifest:
    (container,) = pod_of(program(**fields))["containers"]
    found: Manifest = container
    return found


def test_a_pod_waits_at_its_gate_and_is_never_restarted() -> None:
    spec = pod_of()
    assert spec["schedulingGates"] == [{"name": "kusciajob/created"}]
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] == 10


def test_a_program_that_may_be_restarted_is_restarted_by_the_cluster() -> None:
    assert pod_of(max_restarts=3)["restartPolicy"] == "OnFailure"
    assert pod_of(max_restarts=0)["restartPolicy"] == "Never"


def test_a_pod_has_no_token_and_no_variables_of_services() -> None:
    spec = pod_of()
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


def test_a_program_is_behind_walls() -> None:
    spec = pod_of()
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "hostNetwork" not in spec


def test_root_and_privileges_are_given_only_where_they_are_allowed() -> None:
    assert "runAsNonRoot" not in pod_of(rules=Rules(allow_root=True))["securityContext"]
    assert container_of(is_privileged=True)["securityContext"] == {"privileged": True}
    assert pod_of(rules=Rules(user=7, group=8))["securityContext"]["runAsUser"] == 7
    assert pod_of(rules=Rules(user=7, group=8))["securityContext"]["runAsGroup"] == 8


def test_a_node_that_is_lost_is_tolerated_as_long_as_the_setting_says() -> None:
    assert [(each["key"], each["tolerationSeconds"]) for each in pod_of()["tolerations"]] == [
        ("node.kubernetes.io/unreachable", 40),
        ("node.kubernetes.io/not-ready", 40),
    ]


def test_command_and_args_are_the_images_own_where_the_appimage_has_none() -> None:
    container = container_of()
    assert "command" not in container
    assert "args" not in container
    container = container_of(command=("run",), args=("--fast",), working_dir="/work")
    assert (container["command"], container["args"], container["workingDir"]) == (["run"], ["--fast"], "/work")


def test_kubernetes_expands_nothing_more() -> None:
    """It makes `$` of `$$` and looks for variables in `$(…)`."""
    container = container_of(command=("sh", "-c", "echo $HOME $$ $(date)"), env={"A": "$(B) $$"})
    assert container["command"][2] == "echo $$HOME $$$$ $$(date)"
    assert container["env"] == [{"name": "A", "value": "$$(B) $$$$"}]


def test_resources_are_requests_and_limits() -> None:
    container = container_of(requests=Limits(cpu="1"), limits=Limits(cpu="2", memory="1Gi"))
    assert container["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    assert container_of()["resources"] == {}


def test_files_are_at_their_paths_read_only_and_of_any_bytes() -> None:
    made = workload(program(files={"/etc/app/a.json": b"{}", "/b": b"\xff\x00"}, secret_files={"/c/ca.crt": b"pem"}))
    companions = dict(objects.companions(made))
    mounts = objects.pod(made, RULES)["spec"]["containers"][0]["volumeMounts"]
    by_path = {mount["mountPath"]: mount for mount in mounts}
    assert all(by_path[path]["readOnly"] for path in ("/etc/app/a.json", "/b", "/c/ca.crt"))
    data = companions["configmaps"]["binaryData"]
    assert base64.b64decode(data[by_path["/b"]["subPath"]]) == b"\xff\x00"
    assert base64.b64decode(data[by_path["/etc/app/a.json"]["subPath"]]) == b"{}"
    secret = companions["secrets"]["data"]
    assert base64.b64decode(secret[by_path["/c/ca.crt"]["subPath"]]) == b"pem"
    assert b"pem" not in str(companions["configmaps"]).encode()


def test_many_files_are_in_several_config_maps() -> None:
    files = {f"/file-{at}": b"x" * 600_000 for at in range(3)}
    made = workload(program(files=files))
    assert [plural for plural, _ in objects.companions(made)].count("configmaps") == 3
    spec = objects.pod(made, RULES)["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert [mounts[path] for path in files] == ["files-0", "files-1", "files-2"]


def test_a_file_that_is_too_large_for_a_cluster_is_refused_with_the_limit() -> None:
    with pytest.raises(StartFailed, match=r'"/big" has 1,048,577 bytes: .* holds 1 MiB at most'):
        objects.pod(workload(program(files={"/big": b"x" * (1024 * 1024 + 1)})), RULES)


def test_the_domains_data_is_a_claim_and_never_a_directory_of_a_machine() -> None:
    (volume,) = pod_of(domain=DomainSettings(domain_id="alice", data_volume="mine"))["volumes"]
    assert volume == {"name": "domain", "persistentVolumeClaim": {"claimName": "mine"}}
    assert pod_of()["volumes"] == [{"name": "domain", "emptyDir": {}}]
    with pytest.raises(StartFailed, match='data_volume "/etc" is a directory of a machine'):
        pod_of(domain=DomainSettings(domain_id="alice", data_volume="/etc"))


def test_what_the_operator_wants_of_a_domains_pods_is_there_and_hides_nothing_of_ours() -> None:
    domain = DomainSettings(
        domain_id="alice",
        node_selector={"zone": "a"},
        pull_secrets=("registry",),
        pod={
            "labels": {"queue": "q", labels.JOB: "other"},
            "annotations": {"note": "n"},
            "tolerations": [{"key": "gpu"}],
            "schedulerName": "volcano",
            "runtimeClassName": "kata",
        },
    )
    pod = objects.pod(workload(domain=domain), RULES)
    assert pod["metadata"]["labels"]["queue"] == "q"
    assert pod["metadata"]["labels"][labels.JOB] == "12"
    assert pod["metadata"]["annotations"]["note"] == "n"
    spec = pod["spec"]
    assert spec["nodeSelector"] == {"zone": "a"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"][-1] == {"key": "gpu"}
    assert (spec["schedulerName"], spec["runtimeClassName"]) == ("volcano", "kata")


def test_peers_reach_the_shared_ports_and_nothing_else() -> None:
    ports = (WorkloadPort("api", 20000, "HTTP", True), WorkloadPort("inner", 20001, "TCP", False))
    made = dict(objects.companions(workload(program(ports=ports))))
    service, policy = made["services"]["spec"], made["networkpolicies"]["spec"]
    assert [port["port"] for port in service["ports"]] == [20000]
    assert service["publishNotReadyAddresses"] is True
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 20000}]
    assert policy["ingress"][0]["from"] == [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {labels.GROUP: names.of_task("store", KEY)}},
        }
    ]


def test_who_shares_no_port_is_reached_by_nobody() -> None:
    made = dict(objects.companions(workload()))
    assert "services" not in made
    assert made["networkpolicies"]["spec"]["ingress"] == []
    open_domain = DomainSettings(domain_id="alice", network_policy=False)
    assert "networkpolicies" not in dict(objects.companions(workload(domain=open_domain)))


def test_a_probe_finds_its_port_by_the_name_in_the_appimage() -> None:
    """Kubernetes takes no name of more than 15 characters for a port."""
    ports = (WorkloadPort("a-name-that-is-far-too-long", 20000, "HTTP", True),)
    probe = {"httpGet": {"path": "/", "port": "a-name-that-is-far-too-long"}, "periodSeconds": 5}
    container = container_of(ports=ports, probes={"livenessProbe": probe})
    assert container["livenessProbe"] == {"httpGet": {"path": "/", "port": 20000}, "periodSeconds": 5}
    assert container["ports"] == [{"containerPort": 20000}]


def test_a_pod_tells_whose_it_is() -> None:
    made = workload()
    own = objects.pod(made, RULES)["metadata"]
    found = objects.ref_of(own["name"], "uid", own["labels"], own["annotations"])
    assert found == replace(made.ref, uid="uid")
    assert objects.ref_of("x", "uid", {}, {}) is None
    assert objects.ref_of("x", "uid", {**own["labels"], labels.JOB: "none"}, {}) is None


def test_everything_belongs_to_the_tasks_anchor() -> None:
    made = workload(program(files={"/a": b"a"}))
    anchor = objects.anchor(made)
    assert anchor["metadata"]["name"] == made.ref.task
    for manifest in (objects.pod(made, RULES), *(each for _, each in objects.companions(made))):
        owner = objects.owned(manifest, anchor_name=made.ref.task, anchor_uid="u")["metadata"]["ownerReferences"]
        assert owner == [{"apiVersion": "v1", "kind": "ConfigMap", "name": made.ref.task, "uid": "u"}]
        assert manifest["metadata"]["labels"][labels.STORE] == names.short("store")


@pytest.mark.parametrize("domain", ["Alice", "a b", "a.b", "-a", "a" * 64])
def test_a_domain_whose_id_makes_no_namespace_is_refused(domain: str) -> None:
    with pytest.raises(StartFailed, match="cannot be"):
        objects.namespace_of(DomainSettings(domain_id=domain), RULES)
    assert objects.namespace_of(DomainSettings(domain_id=domain, namespace="its-own"), RULES) == "its-own"


def test_containers_have_names_that_kubernetes_takes() -> None:
    assert objects.container_names([program(name="main"), program(name="Side Car")]) == ["main", "program-1"]
