"""Reads an AppImage from the form of Kuscia's CRD, given as plain dicts and lists.

Fields without effect on this server (see `images.fields`) are ignored, so that files written for Kuscia load
unchanged. As in Kubernetes, null is the same as a field left out.
"""

from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from kusciajob.model.appimage import (
    AppImage,
    ConfigVolumeMount,
    Container,
    DeployTemplate,
    EnvVar,
    Image,
    Port,
    Quantities,
)
from kusciajob.model.errors import InvalidAppImage


class _Metadata(Struct, frozen=True):
    name: str


class _Env(Struct, frozen=True, rename="camel"):
    name: str
    value: str = ""
    value_from: Any = None


class _Mount(Struct, frozen=True, rename="camel"):
    mount_path: str
    sub_path: str = ""


class _Amounts(Struct, frozen=True):
    cpu: str | int | float = ""
    memory: str | int | float = ""

    def checked(self) -> Quantities:
        return Quantities(str(self.cpu), str(self.memory))


class _Resources(Struct, frozen=True):
    limits: _Amounts = _Amounts()
    requests: _Amounts = _Amounts()


class _SecurityContext(Struct, frozen=True):
    privileged: bool = False


class _Container(Struct, frozen=True, rename="camel"):
    name: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[_Env, ...] = ()
    ports: tuple[Port, ...] = ()
    config_volume_mounts: tuple[_Mount, ...] = ()
    resources: _Resources = _Resources()
    security_context: _SecurityContext = _SecurityContext()
    liveness_probe: dict[str, Any] = {}
    readiness_probe: dict[str, Any] = {}
    startup_probe: dict[str, Any] = {}


class _PodSpec(Struct, frozen=True, rename="camel"):
    containers: tuple[_Container, ...] = ()
    restart_policy: str = ""


class _DeployTemplate(Struct, frozen=True):
    name: str = ""
    role: str = ""
    replicas: int = 1
    spec: _PodSpec = _PodSpec()


class _Spec(Struct, frozen=True, rename="camel"):
    deploy_templates: tuple[_DeployTemplate, ...] = ()
    config_templates: dict[str, str] = {}
    image: Image = Image()


class _Document(Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec


def from_document(document: object) -> AppImage:
    """The AppImage that the document describes. Raises InvalidAppImage, which names the place.

    A variable with `valueFrom` is left unset, for there is no cluster to ask; a relative mountPath is below workingDir.
    """
    try:
        parsed = msgspec.convert(_without_nulls(document), _Document)
    except msgspec.ValidationError as error:
        hint = " (text that looks like a number or true/false needs quotes)" if "`str`" in str(error) else ""
        raise InvalidAppImage(f"{error}{hint}") from None
    return AppImage(
        name=parsed.metadata.name,
        image=parsed.spec.image,
        config_templates=parsed.spec.config_templates,
        deploy_templates=tuple(map(_deploy_template, parsed.spec.deploy_templates)),
    )


def _deploy_template(parsed: _DeployTemplate) -> DeployTemplate:
    return DeployTemplate(
        name=parsed.name,
        roles=tuple(role.strip() for role in parsed.role.split(",") if role.strip()),
        replicas=parsed.replicas,
        restart_policy=parsed.spec.restart_policy,
        containers=tuple(map(_container, parsed.spec.containers)),
    )


def _container(parsed: _Container) -> Container:
    base = PurePosixPath(parsed.working_dir or "/")
    return Container(
        name=parsed.name,
        command=parsed.command,
        args=parsed.args,
        working_dir=parsed.working_dir,
        env=tuple(EnvVar(env.name, env.value) for env in parsed.env if env.value_from is None),
        ports=parsed.ports,
        config_volume_mounts=tuple(
            ConfigVolumeMount(mount.mount_path and str(base / mount.mount_path), mount.sub_path)
            for mount in parsed.config_volume_mounts
        ),
        requests=parsed.resources.requests.checked(),
        limits=parsed.resources.limits.checked(),
        probes={
            name: probe
            for name, probe in (
                ("livenessProbe", parsed.liveness_probe),
                ("readinessProbe", parsed.readiness_probe),
                ("startupProbe", parsed.startup_probe),
            )
            if probe
        },
        is_privileged=parsed.security_context.privileged,
    )


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
