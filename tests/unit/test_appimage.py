"""AppImage values: Kuscia's documents load, a value that breaks a rule cannot be built, a role finds its template."""

from typing import Any

import msgspec
import pytest

from kusciajob.files.yaml import parse_documents
from kusciajob.images.document import from_document
from kusciajob.model import appimage
from kusciajob.model.appimage import (
    AppImage,
    ConfigVolumeMount,
    Container,
    DeployTemplate,
    EnvVar,
    Image,
    Port,
)
from kusciajob.model.errors import InvalidAppImage, UnknownRole
from tests.support import kuscia_documents


def load(text: str) -> AppImage:
    (document,) = parse_documents(text)
    return from_document(document)


def build(**changes: Any) -> dict[str, Any]:
    """A minimal document; a key such as `container__env` sets the field `env` of its only container."""
    container: dict[str, Any] = {"name": "main", "command": ["true"]}
    template: dict[str, Any] = {"name": "app", "spec": {"containers": [container]}}
    spec: dict[str, Any] = {"deployTemplates": [template], "configTemplates": {"a.conf": "x"}}
    document: dict[str, Any] = {"metadata": {"name": "app"}, "spec": spec}
    places = {"container": container, "template": template, "spec": spec, "document": document}
    for key, value in changes.items():
        place, _, field = key.partition("__")
        places[place][field] = value
    return document


def test_secretflow_document() -> None:
    image = load(kuscia_documents.SECRETFLOW)
    assert image.name == "secretflow-image"
    assert image.image == Image(name="secretflow/secretflow-lite-anolis8", tag="1.11.0b1")
    assert '"task_id": "{{.TASK_ID}}"' in image.config_templates["task-config.conf"]
    assert image.deploy_templates == (
        DeployTemplate(
            name="secretflow",
            restart_policy="Never",
            containers=(
                Container(
                    name="secretflow",
                    command=("sh",),
                    args=("-c", "python -m secretflow.kuscia.entry ./kuscia/task-config.conf"),
                    working_dir="/work",
                    ports=(
                        Port("spu", protocol="GRPC", scope="Cluster"),
                        Port("fed", protocol="GRPC", scope="Cluster"),
                        Port("global", protocol="GRPC", scope="Domain"),
                        Port("node-manager", protocol="GRPC", scope="Local"),
                        Port("inference", protocol="HTTP", scope="Local"),
                    ),
                    config_volume_mounts=(ConfigVolumeMount("/work/kuscia/task-config.conf", "task-config.conf"),),
                    is_privileged=True,
                ),
            ),
        ),
    )


def test_psi_document_with_a_path_relative_to_the_working_directory() -> None:
    (template,) = load(kuscia_documents.PSI).deploy_templates
    (container,) = template.containers
    assert container.config_volume_mounts == (ConfigVolumeMount("/work/kuscia/task-config.conf", "task-config.conf"),)
    assert container.ports == (Port("psi", 54509, "HTTP", "Cluster"),)


def test_scql_document_with_a_template_for_each_role() -> None:
    image = load(kuscia_documents.SCQL)
    assert [template.roles for template in image.deploy_templates] == [("broker",), ("engine", "client")]
    broker = image.template_for("broker").containers[0]
    assert broker.env == (EnvVar("MODE", "p2p"),)  # POD_IP has valueFrom
    assert [port.is_shared for port in broker.ports] == [True, True]


@pytest.mark.parametrize(
    ("role", "expected"),
    [("engine", "engine"), ("client", "engine"), ("broker", "broker"), ("", "broker")],
)
def test_the_template_with_the_role_is_used_and_without_role_the_first(role: str, expected: str) -> None:
    assert load(kuscia_documents.SCQL).template_for(role).name == expected


def test_a_role_that_no_template_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownRole, match=r'role "eng" .*its roles are: "broker", "client", "engine"'):
        load(kuscia_documents.SCQL).template_for("eng")


def test_the_template_without_role_is_for_every_other_party() -> None:
    container = (Container("main", ("true",)),)
    image = AppImage("app", (DeployTemplate("server", container, ("server",)), DeployTemplate("any", container)))
    assert image.template_for("").name == "any"
    assert image.template_for("other").name == "any"
    assert image.template_for("server").name == "server"


def test_local_ports_are_not_shared() -> None:
    assert [Port("p", scope=scope).is_shared for scope in appimage.SCOPES] == [True, True, False]


def test_null_is_the_same_as_absent() -> None:
    document = build(container__args=None, container__env=None, template__role=None, spec__image=None)
    assert from_document(document) == from_document(build())


def test_values_do_not_change() -> None:
    with pytest.raises(AttributeError):
        load(kuscia_documents.PSI).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "Expected `object`, got `array`"),
        ({}, "missing required field `metadata`"),
        (build(document__metadata={"name": 7}), "Expected `str`, got `int` - at `$.metadata.name`"),
        (build(document__metadata={"name": ""}), "metadata.name is required"),
        (build(document__metadata={"name": "../up"}), 'metadata.name "../up" is not valid'),
        (build(spec__deployTemplates=[]), "spec.deployTemplates is empty: at least one"),
        (build(spec__deployTemplates="x"), "Expected `array`, got `str` - at `$.spec.deployTemplates`"),
        (build(spec__configTemplates={"a/b": ""}), 'configTemplates key "a/b" is not valid'),
        (build(spec__configTemplates={"a.conf": "\0"}), "holds a NUL"),
        (build(spec__configTemplates={"a.conf": "\ud800"}), "half of a surrogate pair"),
        (build(spec__configTemplates={"a": "x" * (1024 * 1024 + 1)}), "at most 1048576 are possible"),
        (build(spec__image={"name": "a\0"}), "image.name"),
        (build(template__spec={}), 'deploy template "app" has no containers'),
        (build(template__replicas=0), 'deploy template "app": replicas 0 must be 1 to 64'),
        (build(template__role="a\0"), 'deploy template "app"'),
        (build(container__command=[]), 'container "main" has neither command nor args'),
        (build(container__command="sh"), "at `$.spec.deployTemplates[0].spec.containers[0].command`"),
        (build(container__command=["sh", 1]), "Expected `str`, got `int`"),
        (build(container__command=[""]), "the program is an empty string"),
        (build(container__command=["a\0b"]), "command line 'a\\x00b' holds a NUL"),
        (build(container__args=["x" * 128 * 1024]), "command line has 131072 characters: at most 131071"),
        (build(container__args=["x"] * 257), "args has 257 entries: at most 256"),
        (build(container__workingDir="work"), 'workingDir "work" is not valid: an absolute path without ".."'),
        (build(container__workingDir="/work/../etc"), 'workingDir "/work/../etc" is not valid'),
        (build(container__env=[{"name": "A=B"}]), 'env name "A=B" is not valid'),
        (build(container__env=[{"name": "1A"}]), 'env name "1A" is not valid'),
        (build(container__env=[{"name": ""}]), 'env name "" is not valid'),
        (build(container__env=[{"name": "A\n"}]), "env name 'A\\n' is not valid"),
        (build(container__env=[{"name": "A", "value": "\0"}]), 'env "A"'),
        (build(container__env=[{"name": "A", "value": 80}]), "env[0].value` (text that looks like a number"),
        (build(container__ports=[{"name": ""}]), 'port name "" is not valid'),
        (build(container__ports=[{"name": "a b"}]), 'port name "a b" is not valid'),
        (build(container__ports=[{"name": "a"}, {"name": "a"}]), "KUSCIA_PORT_A_NUMBER"),
        (build(container__ports=[{"name": "a-b"}, {"name": "a_B"}]), "is used twice: it must be unique"),
        (build(container__ports=[{"name": "a", "port": 70000}]), 'port "a": number 70000 is out of range'),
        (build(container__ports=[{"name": "a", "protocol": "UDP"}]), '"UDP" is not one of HTTP, GRPC, TCP'),
        (build(container__ports=[{"name": "a", "scope": "cluster"}]), '"cluster" is not one of Cluster, Domain, Local'),
        (build(container__configVolumeMounts=[{"mountPath": "/a"}]), 'subPath "" is not a key'),
        (
            build(container__configVolumeMounts=[{"mountPath": "/a", "subPath": "b.conf"}]),
            'subPath "b.conf" is not a key of spec.configTemplates; there are: a.conf',
        ),
        (
            build(container__configVolumeMounts=[{"mountPath": "../a", "subPath": "a.conf"}]),
            'mountPath "/../a" is not valid',
        ),
        (build(container__configVolumeMounts=[{"mountPath": "/", "subPath": "a.conf"}]), "is the root directory"),
        (
            build(
                container__workingDir="/w/d", container__configVolumeMounts=[{"mountPath": "/w", "subPath": "a.conf"}]
            ),
            'mountPath "/w" is one file',
        ),
        (
            build(container__workingDir="/w", container__configVolumeMounts=[{"mountPath": "", "subPath": "a.conf"}]),
            'mountPath "" is not valid',
        ),
        (
            build(container__configVolumeMounts=[{"mountPath": path, "subPath": "a.conf"} for path in ("/a", "//a")]),
            'mountPath "/a" is one file',
        ),
        (build(container__configVolumeMounts=[{"mountPath": "/a\0", "subPath": "a.conf"}]), "holds a NUL"),
        (
            build(container__configVolumeMounts=[{"mountPath": "/a", "subPath": "a.conf"}] * 2),
            "cannot be another mountPath",
        ),
        (
            build(container__configVolumeMounts=[{"mountPath": f"/a{end}", "subPath": "a.conf"} for end in ("", "/b")]),
            'mountPath "/a" is one file and cannot be another mountPath or a directory',
        ),
        (
            build(template__spec={"containers": [{"name": "x", "args": ["a"]}] * 2}),
            'container "x" is used twice',
        ),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(document: object, problem: str) -> None:
    with pytest.raises(InvalidAppImage) as caught:
        from_document(document)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_values_check_themselves_however_they_are_built() -> None:
    with pytest.raises(InvalidAppImage, match="mountPath"):
        ConfigVolumeMount("relative", "a")
    with pytest.raises(InvalidAppImage, match="replicas 0"):
        msgspec.structs.replace(DeployTemplate("app", (Container("main", ("true",)),)), replicas=0)
