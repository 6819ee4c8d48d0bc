"""The server's settings: one definition for flags, environment variables, the configuration file and the documents."""

import ipaddress
import os
import re
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta, Struct

from kusciajob import users
from kusciajob.files.yaml import InvalidYaml, read_documents, read_text

ENVIRONMENT_PREFIX = "KUSCIAJOB_"
IN_MEMORY = ":memory:"
"""The data directory of a server for tests that keeps nothing."""

_HOST = re.compile(r"\*|[-a-z0-9._]+|[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*")
_METAVARS = {
    "path": "DIR[:DIR...]",
    "run_as": "USER|DOMAIN=USER",
    "allowed_hosts": "HOST,...",
    "progress_address": "HOST:PORT",
    "container_user": "UID[:GID]",
    "kube_context": "NAME",
    "kube_config": "FILE",
    "namespace": "NAME",
    "otlp_endpoint": "URL",
    "store": "URL",
    "allowed_origins": "ORIGIN,...",
}
_METAVAR_WORDS = ("host", "port", "dir", "file", "seconds", "hours", "days", "mib")
_ORIGIN = re.compile(r"https?://([-a-z0-9._]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_ADDRESS = re.compile(r"([-a-zA-Z0-9._]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")
_NUMERIC_USER = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})?")
_NAMESPACE = re.compile(r"[a-z0-9{]([-a-z0-9{}]*[a-z0-9}])?")
_ENDPOINT = re.compile(r"https?://([-a-zA-Z0-9._]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")


class SettingsError(Exception):
    """A setting is unknown, or its value is not allowed."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set. A flag goes before the environment, that before the file, that before the default."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    grpc_port: Annotated[int, Meta(ge=0, le=65535, description="gRPC port; 0 = any free one")] = 8083
    http_port: Annotated[int, Meta(ge=-1, le=65535, description="HTTP port; 0 = any free one, -1 = no HTTP")] = 8082
    protocol: Annotated[
        Literal["auto", "notls", "tls", "mtls"],
        Meta(
            description="notls: neither encryption nor tokens; tls: both; mtls: clients need a certificate as well; "
            "auto: mtls when cert_dir has certificates, else notls"
        ),
    ] = "auto"
    cert_dir: Annotated[
        Path | None,
        Meta(description="certificates and tokens, as `kusciajob init` makes them; default <data_dir>/certs"),
    ] = None
    allow_insecure_bind: Annotated[
        bool, Meta(description="allow notls on an address that other machines reach: they may do everything")
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="names by which HTTP may be addressed without TLS, beside localhost, loopback addresses and "
            "host, separated by commas; * = any, which lets web pages in by DNS rebinding"
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="origins of web pages that may change something over HTTP, beside the server's own, e.g. "
            "https://portal.example.com, separated by commas"
        ),
    ] = ()
    data_dir: Annotated[
        Path,
        Meta(
            description="where jobs, logs and party directories are kept; with testing, unless it is set, they are "
            "in memory only (:memory:)"
        ),
    ] = Path("kusciajob-data")
    store: Annotated[
        str,
        Meta(
            description="where jobs and their log are kept instead of in data_dir: postgresql://USER@HOST/DATABASE; "
            "several servers can share it, each with a data_dir of its own; needs the extra `postgres`; empty = SQLite"
        ),
    ] = ""
    store_password_file: Annotated[
        Path | None,
        Meta(description="file that holds the password for it, no more; default: that of PGPASSFILE, or ~/.pgpass"),
    ] = None
    migrate_at_start: Annotated[
        bool, Meta(description="a server may bring that database to its schema; else `kusciajob migrate` does")
    ] = True
    shared_dir: Annotated[
        Path | None,
        Meta(
            description="where what is known of programs in pods, and their output, is kept: one directory for all "
            "servers that share a store; default data_dir"
        ),
    ] = None
    app_image_dir: Annotated[
        Path | None, Meta(description="directory of AppImage files, YAML or JSON; default <data_dir>/appimages")
    ] = None
    domains_dir: Annotated[
        Path | None,
        Meta(description="each domain's own files are in <domains_dir>/<domain id>; default <data_dir>/domains"),
    ] = None
    domains_file: Annotated[
        Path | None,
        Meta(
            description="YAML or JSON file of what belongs to single domains, such as the values that their config "
            "templates may refer to; default <data_dir>/domains.yaml, which need not exist"
        ),
    ] = None
    strict_templates: Annotated[
        bool,
        Meta(description="a party fails when a config template refers to something unknown; else that is left empty"),
    ] = False
    runtime: Annotated[
        Literal["process", "container", "kubernetes", "simulated"],
        Meta(
            description="what runs the parties: programs on this machine; containers of an engine (Docker or Podman, "
            "needs the extra `containers`); pods of a cluster (needs the extra `kubernetes`); or scripts"
        ),
    ] = "process"
    testing: Annotated[
        bool,
        Meta(description="for tests of clients: the runtime is simulated, and host must be a loopback address"),
    ] = False
    quirks: Annotated[
        Literal["none", "kuscia"],
        Meta(description="with testing: kuscia = only the services of a plain Kuscia, with its habits"),
    ] = "none"
    clock: Annotated[
        Literal["stopped", "auto", "machine"],
        Meta(
            description="with testing, how time passes: not by itself; auto = to the next thing that a job does "
            "whenever nothing else can happen; machine = as this machine's"
        ),
    ] = "stopped"
    progress_address: Annotated[
        str,
        Meta(
            description="HOST:PORT under which programs in containers and pods reach this server to report progress; "
            "it listens on that port of all addresses; empty = they cannot report"
        ),
    ] = ""
    container_user: Annotated[
        str,
        Meta(
            description="UID or UID:GID as which programs in containers and pods run; empty = as the image says, and "
            "root only with allow_root"
        ),
    ] = ""
    allow_root: Annotated[bool, Meta(description="programs in containers and pods may be root there")] = False
    allow_privileged: Annotated[
        bool, Meta(description="AppImages may ask for privileged containers, which nothing keeps from their machine")
    ] = False
    max_processes: Annotated[
        int, Meta(ge=0, description="processes and threads of a program in a container; 0 = as the engine has it")
    ] = 4096
    kube_config: Annotated[
        Path | None,
        Meta(description="kubeconfig file; default: that of KUBECONFIG, ~/.kube/config, or of the pod that we are in"),
    ] = None
    kube_context: Annotated[str, Meta(description="context in it; empty = its current one")] = ""
    namespace: Annotated[str, Meta(description="namespace of a domain's pods, with {domain} for the domain's id")] = (
        "{domain}"
    )
    create_namespaces: Annotated[bool, Meta(description="make namespaces that are missing")] = False
    node_lost_seconds: Annotated[
        int,
        Meta(ge=0, le=86400, description="how long a node may be unreachable before what runs there is given up"),
    ] = 60
    path: Annotated[
        str, Meta(description="directories put before PATH for the parties' programs, separated by colons")
    ] = ""
    run_as: Annotated[
        str,
        Meta(
            description="the system's user that programs run as, so that they can read neither tokens and keys nor the "
            "database: USER, or DOMAIN=USER for one domain, several with commas between; the server must be root"
        ),
    ] = ""
    require_approval: Annotated[
        bool, Meta(description="a new job waits until every party's domain but the initiator's has accepted it")
    ] = False
    first_port: Annotated[int, Meta(ge=1024, le=65535, description="first port given to parties")] = 20000
    last_port: Annotated[int, Meta(ge=1024, le=65535, description="last port given to parties")] = 29999
    stop_grace_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="from SIGTERM to SIGKILL when a party is stopped")
    ] = 10.0
    max_restarts: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="how often a failed program with restartPolicy OnFailure is started again, each replica by "
            "itself",
        ),
    ] = 6
    restart_pause_seconds: Annotated[
        float,
        Meta(ge=0, le=300, description="before the first such start; each further pause is twice as long, up to 300"),
    ] = 10.0
    max_message_mib: Annotated[int, Meta(ge=1, le=2047, description="largest request, in MiB")] = 256
    max_running_parties: Annotated[
        int,
        Meta(
            ge=0,
            description="parties that run at once, each in one place with all its replicas; the tasks of others wait; "
            "0 = no limit",
        ),
    ] = 256
    max_running_parties_per_domain: Annotated[
        int, Meta(ge=0, description="the same of one domain, so that no domain has all slots; 0 = no limit")
    ] = 0
    max_jobs: Annotated[int, Meta(ge=0, description="jobs stored, whatever their state; 0 = no limit")] = 2_000_000
    max_jobs_per_domain: Annotated[
        int, Meta(ge=0, description="jobs stored of which one domain is the initiator; 0 = no limit")
    ] = 0
    max_connections: Annotated[
        int,
        Meta(
            ge=0,
            description="connections in all, over each protocol; fewer where the limit of open files is low; "
            "0 = as many as that allows",
        ),
    ] = 4096
    max_connections_per_peer: Annotated[
        int,
        Meta(ge=0, description="connections from one address, over each protocol, and at most half of all; 0 = half"),
    ] = 2048
    max_upload_mib: Annotated[
        int,
        Meta(ge=0, description="requests being received and decoded at once, over each protocol, in MiB; 0 = no limit"),
    ] = 1024
    max_upload_mib_per_peer: Annotated[
        int, Meta(ge=0, description="those from one address, over each protocol, in MiB; 0 = no limit")
    ] = 512
    max_calls_per_peer: Annotated[
        int, Meta(ge=0, description="calls in progress from one address, over each protocol; 0 = no limit")
    ] = 2048
    max_streams_per_peer: Annotated[
        int, Meta(ge=0, description="watch and log streams to one address, over each protocol; 0 = no limit")
    ] = 2048
    max_streams_per_domain: Annotated[
        int,
        Meta(ge=0, description="watch and log streams opened with a domain's token, over all protocols; 0 = no limit"),
    ] = 2048
    max_watch_streams: Annotated[int, Meta(ge=0, description="watch streams in all; 0 = no limit")] = 4096
    max_token_delay_seconds: Annotated[
        float,
        Meta(ge=0, le=60, description="how long an address that goes on sending wrong tokens waits for each refusal"),
    ] = 5.0
    output_limit_mib: Annotated[
        int,
        Meta(
            ge=0,
            le=2**20,
            description="what is kept of each output file of a party, and of each of its replicas, in MiB: the oldest "
            "part goes, and no file exceeds it by more than its program writes in about 20 ms; 0 = no limit",
        ),
    ] = 256
    job_retention_days: Annotated[
        float, Meta(ge=0, description="a finished job is deleted so long after its end; 0 = never")
    ] = 30.0
    log_retention_events: Annotated[
        int, Meta(ge=0, description="events kept in the log of changes, for watchers that lag behind; 0 = no limit")
    ] = 1_000_000
    log_retention_mib: Annotated[
        int, Meta(ge=0, description="what they may take on disk, in MiB, roughly; 0 = no limit")
    ] = 1024
    log_retention_hours: Annotated[float, Meta(ge=0, description="how long they are kept; 0 = no limit")] = 168.0
    audit_days: Annotated[
        float, Meta(ge=0, description="who called what is kept so long, also of jobs that are gone; 0 = no limit")
    ] = 90.0
    audit_entries: Annotated[int, Meta(ge=0, description="so many of these calls are kept; 0 = no limit")] = 1_000_000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="what is logged, to stderr")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="how it is logged")] = "text"
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="where traces of jobs are sent, OpenTelemetry over HTTP, e.g. http://localhost:4318; programs "
            "are given it, and their place in the trace; needs the extra `otel`; empty = no traces"
        ),
    ] = ""

    def __post_init__(self) -> None:
        self._check_testing()
        if self.first_port > self.last_port:
            raise ValueError(f"first_port {self.first_port} is above last_port {self.last_port}")
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"allowed_hosts has {host!r}: a host in lower case and without a port, or *")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"allowed_origins has {origin!r}: scheme, host and port only, in lower case, e.g. "
                    "https://portal.example.com"
                )
        if self.otlp_endpoint and not _ENDPOINT.fullmatch(self.otlp_endpoint):
            raise ValueError(
                f"setting otlp_endpoint is {reprlib.repr(self.otlp_endpoint)}: it must be http:// or https://, a host, "
                "a port and a path if need be, and neither user nor password, e.g. http://localhost:4318"
            )
        for name, form, example in (
            ("progress_address", _ADDRESS, "HOST:PORT, e.g. 10.0.0.5:8084"),
            ("container_user", _NUMERIC_USER, "UID or UID:GID, e.g. 65532:65532"),
            ("namespace", _NAMESPACE, "a DNS label in which {domain} may stand, e.g. kuscia-{domain}"),
        ):
            value = getattr(self, name)
            if value and not form.fullmatch(value):
                raise ValueError(f"setting {name} is {reprlib.repr(value)}: it must be {example}")
        _check_store(self.store)
        try:
            users.parse(self.run_as)
        except users.UserError as error:
            raise ValueError(f"setting run_as is {reprlib.repr(self.run_as)}: {error}") from None
        for name in ("max_upload_mib", "max_upload_mib_per_peer"):
            if 0 < getattr(self, name) < self.max_message_mib:
                raise ValueError(
                    f"{name} {getattr(self, name)} is below max_message_mib {self.max_message_mib}: "
                    "no request of that size could arrive"
                )

    def _check_testing(self) -> None:
        if self.testing and self.runtime != "simulated":
            raise ValueError(f"setting testing is for the simulated runtime, and setting runtime is {self.runtime!r}")
        if self.testing and not _is_loopback(self.host):
            raise ValueError(f"setting testing is for this machine only, and setting host is {self.host!r}")
        if self.testing and self.store:
            raise ValueError("setting testing is for one server with its own jobs: it cannot be with setting store")
        for name in ("quirks", "clock"):
            value = getattr(self, name)
            if value not in ("none", "stopped") and not self.testing:
                raise ValueError(f"setting {name} is {value!r}: it needs setting testing")
        if self.is_in_memory and not self.testing:
            raise ValueError(f"setting data_dir is '{IN_MEMORY}': only with setting testing is nothing kept")

    @property
    def is_in_memory(self) -> bool:
        """Whether jobs are kept as long as the server runs, and not in a directory."""
        return str(self.data_dir) == IN_MEMORY

    @property
    def users(self) -> users.Users | None:
        """Who runs the programs; None: the server's own user."""
        return users.parse(self.run_as)

    @property
    def bracketed_host(self) -> str:
        """The host as it stands before a port: an IPv6 address is in brackets."""
        return f"[{self.host}]" if ":" in self.host and self.host[0] != "[" else self.host

    @property
    def app_images(self) -> Path:
        """The directory of AppImages in force."""
        return self.app_image_dir or self.data_dir / "appimages"

    @property
    def certificates(self) -> Path:
        """The directory of certificates and tokens in force."""
        return self.cert_dir or self.data_dir / "certs"

    @property
    def runs(self) -> Path:
        """The directory in force below which the runs of containers and pods are kept."""
        return self.shared_dir or self.data_dir

    @property
    def domains(self) -> Path:
        """The directory of the domains' own files in force."""
        return self.domains_dir or self.data_dir / "domains"

    @property
    def domain_settings(self) -> Path:
        """The file of the domains' own settings in force."""
        return self.domains_file or self.data_dir / "domains.yaml"


class Setting(Struct, frozen=True):
    """One setting as a reader sees it."""

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    metavar: str = ""
    """What stands for the value in a command's help; empty for choices and for what is on or off."""

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"{ENVIRONMENT_PREFIX}{self.name.upper()}"


class Source(StrEnum):
    """Where a setting's value comes from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


def describe() -> list[Setting]:
    """All settings, in the order of their declaration."""
    hints = get_type_hints(Settings, include_extras=True)
    settings = []
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(hints[field.name])
        choices = get_args(kind) if getattr(kind, "__origin__", None) is Literal else ()
        metavar = "" if choices or kind is bool else _metavar(field.name)
        settings.append(Setting(field.name, field.default, meta.description, choices, metavar))
    return settings


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _metavar(name: str) -> str:
    """The placeholder for a setting's value in help texts, from its name: its unit, what is special, or a number."""
    if name in _METAVARS:
        return _METAVARS[name]
    return next((word.upper() for word in name.split("_") if word in _METAVAR_WORDS), "COUNT")


def load(
    flags: Mapping[str, object], *, environment: Mapping[str, str] = os.environ, file: Path | None = None
) -> Settings:
    """The settings in force. Raises SettingsError, which names the setting, its value and what it may be."""
    return load_with_sources(flags, environment=environment, file=file)[0]


def load_with_sources(
    flags: Mapping[str, object], *, environment: Mapping[str, str] = os.environ, file: Path | None = None
) -> tuple[Settings, Mapping[str, Source]]:
    """The settings in force, and for each by its name where it comes from. SettingsError as for load."""
    settings = describe()
    in_file = _read_file(file) if file else {}
    in_environment = {each.name: environment[each.variable] for each in settings if environment.get(each.variable)}
    in_flags = {each.name: flags[each.name] for each in settings if flags.get(each.name) is not None}
    merged: dict[str, object] = {**in_file, **in_environment, **in_flags}
    sources = dict.fromkeys((each.name for each in settings), Source.DEFAULT)
    for source, given in (
        (Source.FILE, in_file),
        (Source.ENVIRONMENT, in_environment),
        (Source.OPTION, in_flags),
    ):
        sources |= dict.fromkeys(given, source)
    if str(merged.get("testing")).lower() in ("true", "1"):
        merged.setdefault("runtime", "simulated")
        merged.setdefault("data_dir", IN_MEMORY)
    return _convert(merged, settings), sources


def _convert(merged: dict[str, object], settings: Sequence[Setting]) -> Settings:
    for name in (setting.name for setting in settings if isinstance(setting.default, tuple)):
        value = merged.get(name)
        if isinstance(value, str):
            merged[name] = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return msgspec.convert(merged, Settings, strict=False, dec_hook=_to_path)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).rstrip("`").rpartition(" - at `$.")
        if not problem:
            raise SettingsError(name) from None
        name = name.partition("[")[0]  # it may be an item of a list
        choices = next(setting.choices for setting in settings if setting.name == name)
        if choices:
            problem = f"it must be one of {', '.join(choices)}"
        raise SettingsError(f"setting {name} is {reprlib.repr(merged[name])}: {problem}") from None


def _read_file(file: Path) -> Mapping[str, object]:
    try:
        content = tomllib.loads(read_text(file)) if file.suffix == ".toml" else _only(read_documents(file))
    except (InvalidYaml, ValueError, RecursionError) as error:
        raise SettingsError(f"configuration file {file} cannot be read: {error}") from None
    known = {setting.name for setting in describe()}
    if not isinstance(content, dict):
        raise SettingsError(f"configuration file {file} holds no settings: expected `name: value` lines (YAML) or TOML")
    found: dict[str, object] = {}
    for written, value in content.items():
        name = str(written).replace("-", "_")
        if name not in known:
            raise SettingsError(
                f"configuration file {file}: unknown setting {reprlib.repr(written)}; known: {', '.join(sorted(known))}"
            )
        if name in found:
            raise SettingsError(f"configuration file {file} has setting {name} twice, with - and with _")
        found[name] = value
    return found


def _only(documents: list[Any]) -> Any:
    return documents[0] if len(documents) == 1 else None


def _check_store(url: str) -> None:
    """ValueError. It shows nothing of the value, which may hold a password."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        has_password = bool(parts.password) or "password" in parse_qs(parts.query)
        for host in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL's own form for several ones
            _ = urlsplit(f"//{host}").port
    except ValueError as error:
        raise ValueError(f"setting store is no URL: {error}") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("setting store must be postgresql://USER@HOST/DATABASE, or empty for SQLite in data_dir")
    if has_password:
        raise ValueError(
            "setting store has a password, which others can read in the list of processes: put it into a file that "
            "setting store_password_file names, or PGPASSFILE, or into ~/.pgpass"
        )


def _to_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str | Path):
        raise ValueError("it must be a text, the path of a file or directory")
    path = Path(value)
    if "\0" in str(path):
        raise ValueError("a path cannot hold a NUL")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error} (a path that begins with ~ names a user)") from None
