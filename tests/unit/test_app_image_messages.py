"""AppImages as messages and as documents: neither loses what the other can say."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.images.definition import define, restore
from kusciajob.images.document import from_document
from kusciajob.images.fields import without_effect
from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import InvalidAppImage
from kusciajob.wire.app_images import fill, spec_of
from tests.fuzz.strategies import messages, names, texts
from tests.support.app_images import app_image_request, create_request

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
quantities = st.sampled_from(["", "1", "500m", "1.5Gi"])
ports = st.builds(
    pb.ContainerPort,
    name=names,
    protocol=st.sampled_from(["HTTP", "GRPC"]),
    scope=st.sampled_from(["Cluster", "Domain", "Local"]),
)
containers = st.builds(
    pb.Container,
    name=words,
    command=st.lists(words, min_size=1, max_size=3),
    args=st.lists(words, max_size=2),
    working_dir=st.sampled_from(["", "/work"]),
    config_volume_mounts=st.sampled_from([[], [pb.ConfigVolumeMount(mount_path="conf/a", sub_path="a.json")]]),
    ports=st.lists(ports, max_size=2, unique_by=lambda port: port.name.upper()),
    env_from=st.lists(messages(pb.EnvFromSource.DESCRIPTOR), max_size=1),
    env=st.lists(st.builds(pb.EnvVar, name=names, value=words), max_size=2),
    resources=st.none()
    | st.builds(pb.ResourceRequirements, limits=st.builds(pb.ResourceSpec, cpu=quantities, memory=quantities)),
    liveness_probe=st.none() | messages(pb.Probe.DESCRIPTOR),
    image_pull_policy=texts,
)
valid = st.builds(
    pb.CreateAppImageRequest,
    name=names,
    image=st.none() | st.builds(pb.AppImageInfo, name=words, tag=words, id=words, sign=words),
    config_templates=st.dictionaries(names, words, max_size=2).map(lambda known: {**known, "a.json": "{}"}),
    deploy_templates=st.lists(
        st.builds(
            pb.DeployTemplate,
            name=words,
            role=st.sampled_from(["", "client", "client, server"]),
            replicas=st.integers(0, 3),
            restart_policy=st.sampled_from(["", "Never", "OnFailure"]),
            containers=st.lists(containers, min_size=1, max_size=1),
        ),
        min_size=1,
        max_size=2,
    ),
)


def told(document: Any, *, with_values: bool = True) -> pb.QueryAppImageResponseData:
    data = pb.QueryAppImageResponseData()
    fill(data, document, with_values=with_values)
    return data


def answer_to(request: pb.CreateAppImageRequest) -> pb.QueryAppImageResponseData:
    """What tells the same."""
    return pb.QueryAppImageResponseData(
        name=request.name,
        image=request.image if request.HasField("image") else None,
        config_templates=request.config_templates,
        deploy_templates=request.deploy_templates,
    )


def in_file(document: Any) -> tuple[AppImage, Any]:
    """The AppImage that a file with that document declares, and the document as the catalogue has it."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "a.json").write_text(json.dumps(document))
        catalog = AppImageCatalog(Path(directory))
        (name,) = catalog.names()
        return catalog.get(name), catalog.definition(name).document


def test_all_that_a_message_can_say_is_told_again() -> None:
    request = create_request("a")
    assert not list(unset_in(request)), "the request must have every field"
    assert told(define("a", spec_of(request)).document) == answer_to(request)


@settings(suppress_health_check=[HealthCheck.too_slow])  # making the strategy counts as the first input
@given(messages(pb.CreateAppImageRequest.DESCRIPTOR))
def test_any_message_survives_its_document(request: pb.CreateAppImageRequest) -> None:
    document = json.loads(json.dumps({"metadata": {"name": request.name}, "spec": spec_of(request)}))
    assert told(document) == answer_to(request)


@given(valid)
def test_an_image_of_the_api_and_the_file_with_its_document_are_the_same(request: pb.CreateAppImageRequest) -> None:
    definition = define(request.name, spec_of(request))
    image, document = in_file(definition.document)
    assert image == definition.image == restore(request.name, definition.stored).image
    assert told(document) == told(definition.document) == answer_to(request)


@given(valid)
def test_an_image_of_a_file_created_again_through_the_api_is_the_same(
    request: pb.CreateAppImageRequest,
) -> None:
    image, document = in_file({**define(request.name, spec_of(request)).document, "status": {"x": [1]}})
    data = told(document)
    again = pb.CreateAppImageRequest(
        name=data.name,
        image=data.image if data.HasField("image") else None,
        config_templates=data.config_templates,
        deploy_templates=data.deploy_templates,
    )
    assert define(again.name, spec_of(again)).image == image


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted({f.json_name for f in pb.Container.DESCRIPTOR.fields})), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_whatever_a_file_has_in_fields_that_are_ignored_its_image_can_be_told(anything: Any) -> None:
    document = {
        "metadata": {"name": "a"},
        "spec": {
            "deployTemplates": [
                {
                    "name": "a",
                    "networkPolicy": anything,
                    "spec": {
                        "containers": [
                            {
                                "name": "main",
                                "command": ["x"],
                                "envFrom": anything,
                                "livenessProbe": {"httpGet": anything, "exec": {"command": anything}},
                                "imagePullPolicy": anything,
                                "env": [{"name": "A", "valueFrom": anything}],
                            }
                        ]
                    },
                }
            ]
        },
    }
    from_document(document)
    data = told(document)
    assert data.deploy_templates[0].containers[0].command == ["x"]
    json_format.MessageToJson(data)


def test_what_only_files_can_say_is_left_out_and_the_rest_is_told() -> None:
    container = {
        "command": ["x"],
        "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
        "securityContext": {"privileged": True},
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": "soon"},
    }
    data = told({"metadata": {"name": "a"}, "spec": {"deployTemplates": [{"spec": {"containers": [container]}}]}})
    (told_container,) = data.deploy_templates[0].containers
    assert told_container == pb.Container(
        command=["x"],
        resources=pb.ResourceRequirements(limits=pb.ResourceSpec(cpu="2", memory="1Gi")),
        env=[pb.EnvVar(name="POD")],
        liveness_probe=pb.Probe(tcp_socket=pb.TCPSocketAction(port="8080")),
    )


@pytest.mark.parametrize(
    ("port", "written"), [("8080", 8080), ("080", "080"), ("peer", "peer"), ("٣", "٣"), ("", None)]
)
def test_a_probes_port_that_is_a_number_is_one_in_the_document(port: str, written: object) -> None:
    """Kubernetes takes a text for a name."""
    probe = pb.Probe(http_get=pb.HTTPGetAction(path="/", port=port))
    template = pb.DeployTemplate(containers=[pb.Container(liveness_probe=probe)])
    spec = spec_of(pb.CreateAppImageRequest(deploy_templates=[template]))
    http_get = spec["deployTemplates"][0]["spec"]["containers"][0]["livenessProbe"]["httpGet"]
    assert http_get.get("port") == written


def test_a_domain_is_told_no_value_of_a_variable_or_header() -> None:
    document = define("a", spec_of(create_request("a"))).document
    assert "of-env" in str(told(document))
    assert "of-header" in str(told(document))
    data = told(document, with_values=False)
    assert "of-env" not in str(data)
    assert "of-header" not in str(data)
    (container,) = data.deploy_templates[0].containers
    assert [variable.name for variable in container.env] == ["SECRET"]


def test_fields_without_effect_are_found_in_messages_as_in_files() -> None:
    spec = spec_of(create_request("a"))
    assert without_effect({"spec": spec}) == "envFrom, resources, livenessProbe, readinessProbe, startupProbe"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"deploy_templates": []}, "spec.deployTemplates is empty"),
        ({"config_templates": {"../a": ""}}, "configTemplates key"),
        ({"config_templates": {}}, "is not a key of spec.configTemplates"),
        ({"name": "A_b"}, "metadata.name"),
    ],
)
def test_messages_are_checked_as_files_are(change: dict[str, Any], text: str) -> None:
    request = json_format.ParseDict({**app_image_request("a"), **change}, pb.CreateAppImageRequest())
    with pytest.raises(InvalidAppImage, match=text):
        define(request.name, spec_of(request))


def unset_in(message: Any, path: str = "") -> Any:
    """Fields that have their default value, but for the header and the other actions of probes."""
    for field in message.DESCRIPTOR.fields:
        place = f"{path}.{field.name}"
        value = getattr(message, field.name)
        if field.name in ("header", "exec", "http_get", "tcp_socket", "grpc", "host"):
            continue
        if not value or (field.message_type and not field.is_repeated and not message.HasField(field.name)):
            yield place
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else [value]:
                yield from unset_in(item, place)
