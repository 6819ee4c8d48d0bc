"""What a task runs: AppImage values, which check themselves on construction, and the template a role gets."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct

from kusciajob.model import rules
from kusciajob.model.cluster import port_variable
from kusciajob.model.errors import InvalidAppImage, UnknownRole
from kusciajob.model.rules import QUANTITY
from kusciajob.model.text import first, shown

PROTOCOLS = ("HTTP", "GRPC", "TCP")
SCOPES = ("Cluster", "Domain", "Local")

MAX_ENTRIES = 256
MAX_REPLICAS = 64
MAX_PATH_CHARACTERS = 1024
MAX_WORD_CHARACTERS = 128 * 1024 - 1  # Linux takes no longer string in argv or the environment
MAX_CONFIG_TEMPLATE_CHARACTERS = 1024 * 1024
_LISTED_ROLES = 20

_PORT_NAME = re.compile(r"[A-Za-z0-9](?:[-_A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_ENV_NAME = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]{0,252}")
_FILE_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")


def _check_text(label: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise InvalidAppImage(f"{label} has {len(value)} characters: at most {limit} are possible")
    if _UNUSABLE.search(value):
        raise InvalidAppImage(f"{label} {shown(value)} holds a NUL or half of a surrogate pair: plain text is required")


def _check_path(label: str, value: str) -> None:
    _check_text(label, value, MAX_PATH_CHARACTERS)
    if not value.startswith("/") or ".." in PurePosixPath(value).parts:
        raise InvalidAppImage(f'{label} {shown(value)} is not valid: an absolute path without ".." is required')


def _check_choice(label: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidAppImage(f"{label} {shown(value)} is not one of {', '.join(choices)}")


def _check_count(label: str, entries: Sequence[object] | dict[str, str]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise InvalidAppImage(f"{label} has {len(entries)} entries: at most {MAX_ENTRIES} are possible")


def _check_unique(label: str, kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidAppImage(f"{label}: {kind} {shown(name)} is used twice: it must be unique")
        seen.add(name)


class Image(Struct, frozen=True):
    """The container image, as Kuscia has it: a name, and a tag or else the id of its content, such as sha256:…

    Runtimes that start processes do not use it.
    """

    name: str = ""
    tag: str = ""
    id: str = ""
    sign: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "tag", "id", "sign"):
            _check_text(f"image.{field}", getattr(self, field), MAX_PATH_CHARACTERS)

    @property
    def reference(self) -> str:
        """What an engine pulls; "" without a name."""
        if self.tag:
            return f"{self.name}:{self.tag}"
        return f"{self.name}@{self.id}" if self.name and self.id.startswith("sha256:") else self.name


class EnvVar(Struct, frozen=True):
    """One variable of the program's environment."""

    name: str
    value: str = ""

    def __post_init__(self) -> None:
        if not _ENV_NAME.fullmatch(self.name):
            raise InvalidAppImage(
                f"env name {shown(self.name)} is not valid: letters, digits, '-', '_' and '.', "
                "not beginning with a digit"
            )
        _check_text(f'env "{self.name}"', self.value, MAX_WORD_CHARACTERS)


class Port(Struct, frozen=True):
    """A port that the program listens on. The runtime allocates the actual number; it ignores `port`."""

    name: str
    port: int | None = None
    protocol: str = "HTTP"
    scope: str = "Local"

    def __post_init__(self) -> None:
        if not _PORT_NAME.fullmatch(self.name):
            raise InvalidAppImage(
                f"port name {shown(self.name)} is not valid: 1 to 63 letters, digits, '-' and '_', "
                'beginning and ending with a letter or digit, e.g. "spu"'
            )
        if self.port is not None and not 0 <= self.port <= 65535:
            raise InvalidAppImage(f'port "{self.name}": number {self.port} is out of range: 0 to 65535')
        _check_choice(f'port "{self.name}": protocol', self.protocol, PROTOCOLS)
        _check_choice(f'port "{self.name}": scope', self.scope, SCOPES)

    @property
    def is_shared(self) -> bool:
        """Whether other programs may reach it: those of other parties (Cluster) or of the same domain (Domain)."""
        return self.scope != "Local"


class ConfigVolumeMount(Struct, frozen=True):
    """Where the program finds a rendered config template; the path is absolute in the AppImage's own root."""

    mount_path: str
    sub_path: str

    def __post_init__(self) -> None:
        _check_path("mountPath", self.mount_path)
        if not PurePosixPath(self.mount_path).name:
            raise InvalidAppImage(f"mountPath {shown(self.mount_path)} is the root directory: it must name a file")


class Quantities(Struct, frozen=True):
    """An amount of cpu and of memory, each a Kubernetes quantity such as "500m" or "4Gi"; empty = none."""

    cpu: str = ""
    memory: str = ""

    def __post_init__(self) -> None:
        for field in ("cpu", "memory"):
            value: str = getattr(self, field)
            if value and not QUANTITY.fullmatch(value):
                raise InvalidAppImage(
                    f"resources: {field} {shown(value)} is not a Kubernetes quantity: "
                    'a number with an optional suffix, e.g. "500m", "2" or "4Gi"'
                )


class Container(Struct, frozen=True):
    """A program: its command line, its surroundings and the ports it wants. Without a command line, the image's counts.

    `probes` are as the AppImage has them, by their names: livenessProbe, readinessProbe, startupProbe.
    """

    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[Port, ...] = ()
    config_volume_mounts: tuple[ConfigVolumeMount, ...] = ()
    requests: Quantities = Quantities()
    limits: Quantities = Quantities()
    probes: dict[str, Any] = {}
    is_privileged: bool = False

    def __post_init__(self) -> None:
        _check_text("container name", self.name, MAX_PATH_CHARACTERS)
        label = f"container {shown(self.name)}"
        for field in ("command", "args", "env", "ports", "config_volume_mounts"):
            _check_count(f"{label}: {field}", getattr(self, field))
        if self.has_command_line and not (self.command or self.args)[0]:
            raise InvalidAppImage(f"{label}: the program is an empty string: command[0] must name it")
        for word in (*self.command, *self.args):
            _check_text(f"{label}: command line", word, MAX_WORD_CHARACTERS)
        if self.working_dir:
            _check_path(f"{label}: workingDir", self.working_dir)
        self._check_mount_paths(label)

    @property
    def has_command_line(self) -> bool:
        """Whether it says what to run; else only its image does."""
        return bool(self.command or self.args)

    def _check_mount_paths(self, label: str) -> None:
        files = [PurePosixPath("/" + mount.mount_path.lstrip("/")) for mount in self.config_volume_mounts]
        directories = {parent for file in files for parent in file.parents}
        if self.working_dir:
            working_dir = PurePosixPath("/" + self.working_dir.lstrip("/"))
            directories |= {working_dir, *working_dir.parents}
        for file in files:
            if files.count(file) > 1 or file in directories:
                raise InvalidAppImage(
                    f'{label}: mountPath "{file}" is one file and cannot be another mountPath or a directory, too'
                )


class DeployTemplate(Struct, frozen=True):
    """How parties of these roles run; without roles, of any role. Each replica is one instance of the program."""

    name: str
    containers: tuple[Container, ...]
    roles: tuple[str, ...] = ()
    replicas: int = 1
    restart_policy: str = ""

    def __post_init__(self) -> None:
        _check_text("deploy template name", self.name, MAX_PATH_CHARACTERS)
        label = f"deploy template {shown(self.name)}"
        for text in (*self.roles, self.restart_policy):
            _check_text(label, text, MAX_PATH_CHARACTERS)
        if not 1 <= self.replicas <= MAX_REPLICAS:
            raise InvalidAppImage(f"{label}: replicas {self.replicas} must be 1 to {MAX_REPLICAS}")
        if not self.containers:
            raise InvalidAppImage(f"{label} has no containers: one with a command or args is required")
        _check_count(f"{label}: containers", self.containers)
        _check_unique(label, "container", (container.name for container in self.containers))
        ports = [port.name for container in self.containers for port in container.ports]
        _check_unique(label, "port variable", map(port_variable, ports))


class AppImage(Struct, frozen=True):
    """A registered application: an image, its config templates and at least one deploy template."""

    name: str
    deploy_templates: tuple[DeployTemplate, ...]
    config_templates: dict[str, str] = {}
    image: Image = Image()

    def __post_init__(self) -> None:
        for problem in rules.of_name("metadata.name", self.name):
            raise InvalidAppImage(problem.text)
        if not self.deploy_templates:
            raise InvalidAppImage("spec.deployTemplates is empty: at least one deploy template is required")
        _check_count("spec.deployTemplates", self.deploy_templates)
        _check_count("spec.configTemplates", self.config_templates)
        for key, text in self.config_templates.items():
            if not _FILE_KEY.fullmatch(key):
                raise InvalidAppImage(
                    f"configTemplates key {shown(key)} is not valid: letters, digits, '-', '_' and '.'"
                )
            _check_text(f'configTemplates["{key}"]', text, MAX_CONFIG_TEMPLATE_CHARACTERS)
        for template in self.deploy_templates:
            for container in template.containers:
                self._check_mounts(container)
                if not container.has_command_line and not self.image.name:
                    raise InvalidAppImage(
                        f"container {shown(container.name)} has neither command nor args: one of them must say what "
                        "to run, or spec.image must name an image that does"
                    )

    def _check_mounts(self, container: Container) -> None:
        for mount in container.config_volume_mounts:
            if mount.sub_path not in self.config_templates:
                known = ", ".join(sorted(self.config_templates)) or "none"
                raise InvalidAppImage(
                    f"container {shown(container.name)}: subPath {shown(mount.sub_path)} is not a key of "
                    f"spec.configTemplates; there are: {known}"
                )

    @property
    def most_endpoints(self) -> int:
        """The most addresses that one party can have: its shared ports times its replicas."""
        return max(
            template.replicas * sum(port.is_shared for port in container.ports)
            for template in self.deploy_templates
            for container in template.containers
        )

    def template_for(self, role: str) -> DeployTemplate:
        """The template for the role; else the one without roles; else, for the empty role only, the first.

        Raises UnknownRole, which lists the roles that exist.
        """
        generic = None
        for template in self.deploy_templates:
            if role in template.roles:
                return template
            if not template.roles and generic is None:
                generic = template
        if generic is not None:
            return generic
        if not role:
            return self.deploy_templates[0]
        known = sorted({known for template in self.deploy_templates for known in template.roles})
        raise UnknownRole(
            f'AppImage "{self.name}" has no deploy template for role {shown(role)} and none without a role; '
            f"its roles are: {first(known, _LISTED_ROLES, show=shown)}"
        )
