"""What deploy/ has for several servers fits the server: variables are settings, ports and names those of the rest."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kusciajob import config

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose"
SERVERS = ("one", "other", "third")


@pytest.fixture
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return content


@pytest.fixture
def manifests() -> list[dict[str, Any]]:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", DEPLOY / "kubernetes-several"], check=True, capture_output=True)
    return list(yaml.safe_load_all(done.stdout))


def test_the_variables_of_compose_are_settings(compose: dict[str, Any]) -> None:
    environment = compose["x-server"]["environment"]
    known = {setting.variable for setting in config.describe()}
    assert set(environment) <= known
    settings = config.load({}, environment=environment)
    assert settings.store
    assert not settings.migrate_at_start
    assert compose["services"]["migrate"]["command"] == ["migrate"]


def test_compose_has_three_servers_with_data_of_their_own_and_shared_output(compose: dict[str, Any]) -> None:
    shared = config.load({}, environment=compose["x-server"]["environment"]).shared_dir
    for name in SERVERS:
        server = compose["services"][name]
        assert server["image"] == compose["services"]["migrate"]["image"]
        assert server["volumes"] == [f"{name}:/var/lib/kusciajob", f"shared:{shared}"]


def test_the_proxy_of_compose_knows_the_servers_and_their_ports() -> None:
    text = (COMPOSE / "haproxy.cfg").read_text()
    defaults = config.load({}, environment={})
    for port in (defaults.grpc_port, defaults.http_port):
        assert f"bind :{port}" in text
        found = re.findall(rf"server (\w+) (\w+):{port}$", text, re.MULTILINE)
        assert found == 2 * [(name, name) for name in SERVERS]  # those that are ready, and any
    assert f"check port {defaults.http_port}" in text


def test_the_overlay_makes_three_servers_of_the_one(manifests: list[dict[str, Any]]) -> None:
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in server["env"]}
    settings = config.load({}, environment=environment, file=DEPLOY / "kubernetes" / "settings.toml")
    mounts = {each["mountPath"]: each["name"] for each in server["volumeMounts"]}
    assert mounts[str(settings.shared_dir)] == "data"
    assert mounts["/var/lib/kusciajob"] == "own"
    assert str(settings.store_password_file).startswith("/etc/kusciajob/store/")
    (claim,) = [each for each in manifests if each["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_overlay_has_the_database_that_its_servers_name(manifests: list[dict[str, Any]]) -> None:
    (database,) = [each for each in manifests if each["kind"] == "StatefulSet"]
    names = {each["metadata"]["name"] for each in manifests if each["kind"] == "Service"}
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    (url,) = [each["value"] for each in server["env"] if each["name"] == "KUSCIAJOB_STORE"]
    assert url == "postgresql://kusciajob@kusciajob-postgres/kusciajob"
    assert "kusciajob-postgres" in names
    secrets = {
        volume["secret"]["secretName"]
        for pod in (database, deployment)
        for volume in pod["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "store"
    }
    assert secrets == {"kusciajob-store"}
