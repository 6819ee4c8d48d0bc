"""What is in deploy/ fits the server: its settings are settings, its ports and users are those of the image."""

import re
from pathlib import Path
from typing import Any

import pytest

from kusciajob import config
from kusciajob.files.yaml import read_documents

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = (ROOT / "Containerfile").read_text()
EXAMPLE = ROOT / "examples" / "psi"


@pytest.fixture
def settings() -> config.Settings:
    return config.load({}, environment={}, file=DEPLOY / "settings.toml")


@pytest.fixture
def container() -> dict[str, Any]:
    deployment = read_documents(DEPLOY / "server.yaml")[0]
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_settings_file_is_one_and_its_paths_are_mounted(
    settings: config.Settings, container: dict[str, Any]
) -> None:
    assert settings.runtime == "kubernetes"
    mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    for path in (settings.data_dir, settings.certificates, settings.app_images, settings.domain_settings):
        assert any(path.is_relative_to(place) for place in mounted), path


def test_the_ports_of_container_service_and_settings_are_the_same(
    settings: config.Settings, container: dict[str, Any]
) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    progress = int(settings.progress_address.rpartition(":")[2])
    assert ports == {"grpc": settings.grpc_port, "http": settings.http_port, "progress": progress}
    service = read_documents(DEPLOY / "service.yaml")[0]
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports


def test_the_pod_runs_as_the_images_user() -> None:
    pod = read_documents(DEPLOY / "server.yaml")[0]["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in CONTAINERFILE


def test_probes_are_commands_of_the_image(container: dict[str, Any]) -> None:
    assert '"kusciajob"' in re.search(r"ENTRYPOINT (.*)", CONTAINERFILE)[1]  # type: ignore[index]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"][:2] == ["kusciajob", "health"]


def test_the_examples_appimages_name_the_image_that_its_makefile_targets_build() -> None:
    (name,) = {
        f"{document['spec']['image']['name']}:{document['spec']['image']['tag']}"
        for file in (EXAMPLE / "appimages").glob("*.yaml")
        for document in read_documents(file)
    }
    assert f"PSI_IMAGE := {name}\n" in (ROOT / "Makefile").read_text()
