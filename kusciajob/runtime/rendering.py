"""What a party's program is given: environment, command line and config files. The same for every runtime."""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import (
    CERTIFICATE_VARIABLES,
    SECRET_NAMES,
    ConfigFile,
    DomainFacts,
    PartySpec,
    ProgramPreview,
    StartFailed,
)
from kusciajob.model import cluster, template
from kusciajob.model.appimage import Container, DeployTemplate, Port
from kusciajob.model.errors import TemplateError, UnknownRole
from kusciajob.model.expansion import expand
from kusciajob.model.job import Resources
from kusciajob.model.status import Endpoint
from kusciajob.model.text import first

CERTIFICATE_DIRECTORY = "kuscia/certs"
"""Below the program's working directory, as in Kuscia."""
UNKNOWN_VARIABLES = dict.fromkeys(("KUSCIAJOB_DOMAIN_DIR", "TASK_PROGRESS_URL"), "")
"""The server's own variables, for a program that is not started."""
HIDDEN = "(left out)"
"""What is shown of a value that can be secret."""
_LISTED_REFERENCES = 10


class Rendering(Struct, frozen=True):
    """What the program gets. Files are keyed by their absolute path in the AppImage.

    `words` is the whole command line; so many of its first words as the container has in `command` are that.
    """

    words: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str]
    secret_files: dict[str, bytes]
    missing: tuple[template.Missing, ...] = ()
    """The references of config templates that found nothing."""

    @property
    def warning(self) -> str:
        """One line that names the references that found nothing; "" if there are none."""
        if not self.missing:
            return ""
        places = [f"{found.expression} ({found.file_name}, line {found.line})" for found in self.missing]
        listed = " ".join(first(places, _LISTED_REFERENCES).split())
        return f"config templates: nothing is known of {listed}: left empty (strict_templates makes it an error)"

    @property
    def notice(self) -> str:
        """The warning as a line of the program's standard error, for the party's owner; "" if there is none."""
        return f"kusciajob: {self.warning}\n" if self.missing else ""


def render(
    party: PartySpec,
    deploy: DeployTemplate,
    container: Container,
    *,
    facts: DomainFacts,
    surroundings: Mapping[str, str],
    variables: Mapping[str, str],
    place: Callable[[str], str],
    is_strict: bool,
    replica: int = 0,
    is_preview: bool = False,
) -> Rendering:
    """Render all that the party's program gets. Raises StartFailed.

    In the environment, the container's variables override `surroundings`, the machine's; `variables`, the server's,
    override both. `place` replaces the AppImage's absolute paths in a text by the paths at which the files are.
    In a preview the command line keeps its references: what they stand for is not known yet, or can be secret.
    """
    certificates = certificate_files(container, facts)
    supplied = {
        **variables,
        **_task_variables(party, deploy, replica),
        **_certificate_variables(certificates, place),
    }
    declared: dict[str, str] = {}
    for variable in container.env:
        # A variable can refer to those before it.
        declared[variable.name] = place(expand(variable.value, ChainMap(supplied, declared)))
    known = {} if is_preview else ChainMap(supplied, declared)
    words = [expand(word, known) for word in (*container.command, *container.args)]
    env = {**surroundings, **declared, **supplied}
    # The domain's own values override the machine's variables, and nothing else.
    values = {
        **surroundings,
        **facts.values,
        **facts.names,
        **declared,
        **supplied,
        "TASK_INPUT_CONFIG": party.task.task_input_config,
    }
    files = {}
    missing: tuple[template.Missing, ...] = ()
    templates = party.image.config_templates if party.image else {}
    for mount in container.config_volume_mounts:
        try:
            rendered = template.render(
                place(templates[mount.sub_path]),
                values,
                file_name=mount.sub_path,
                secrets=(*facts.values, *SECRET_NAMES),
                is_strict=is_strict,
            )
        except TemplateError as error:
            raise StartFailed(f"config templates cannot be rendered: {error}") from None
        files[mount.mount_path] = rendered.text
        missing += rendered.missing
    return Rendering(tuple(map(place, words)), env, files, certificates, missing)


def preview_of(
    party: PartySpec,
    deploy: DeployTemplate,
    container: Container,
    *,
    facts: DomainFacts,
    surroundings: Mapping[str, str],
    variables: Mapping[str, str],
    is_strict: bool,
) -> ProgramPreview:
    """What the program would get, by the code that renders it. Raises StartFailed."""
    rendering = render(
        party,
        deploy,
        container,
        facts=facts,
        surroundings=surroundings,
        variables=variables,
        place=lambda text: text,
        is_strict=is_strict,
        is_preview=True,
    )
    asked, of_command = party.party.resources or Resources(), len(container.command)
    return ProgramPreview(
        name=container.name,
        image=party.image.image.reference if party.image else "",
        command=rendering.words[:of_command],
        args=rendering.words[of_command:],
        working_dir=container.working_dir,
        environment_names=tuple(sorted(rendering.env)),
        config_paths=(*rendering.files, *rendering.secret_files),
        cpu_limit=asked.cpu or container.limits.cpu,
        memory_limit=asked.memory or container.limits.memory,
    )


def config_files(
    party: PartySpec,
    deploy: DeployTemplate,
    container: Container,
    *,
    facts: DomainFacts,
    surroundings: Mapping[str, str],
    variables: Mapping[str, str],
) -> list[ConfigFile]:
    """The config files as the program gets them, rendered by the same code from values of which none is secret.

    A path into a hidden value finds nothing. Raises StartFailed.
    """
    secret = {name: HIDDEN for name in SECRET_NAMES if facts.names.get(name)}
    rendering = render(
        party if party.endpoints else with_likely_endpoints(party),
        deploy,
        replace(container, env=tuple(replace(variable, value=HIDDEN) for variable in container.env)),
        facts=replace(facts, values=dict.fromkeys(facts.values, HIDDEN), names={**facts.names, **secret}),
        surroundings=dict.fromkeys(surroundings, HIDDEN),
        variables=variables,
        place=lambda text: text,
        is_strict=False,
        is_preview=True,
    )
    return [ConfigFile(container.name, path, text) for path, text in rendering.files.items()]


def with_likely_endpoints(party: PartySpec) -> PartySpec:
    """The party as it may be once addresses are allocated, so that config templates find them all."""
    endpoints = []
    for member in party.task.parties:
        deploy = None
        if party.image is not None:
            with suppress(UnknownRole):
                deploy = party.image.template_for(member.role)
        ports = ports_of(deploy) * deploy.replicas if deploy else ()
        host = member.domain_id
        endpoints.append(
            tuple(Endpoint(port.name, port.scope, port.protocol, f"{host}:{port.port or 0}") for port in ports)
        )
    return replace(party, endpoints=tuple(endpoints))


def certificate_files(container: Container, facts: DomainFacts) -> dict[str, bytes]:
    """The domain's certificates by the absolute path at which the program finds them."""
    directory = PurePosixPath(container.working_dir or "/", CERTIFICATE_DIRECTORY)
    return {str(directory / name): pem for name, pem in facts.certificates.items()}


def port_of(endpoint: Endpoint) -> int:
    """The port number of an address."""
    return int(endpoint.address.rpartition(":")[2])


def trace_collector(endpoint: str) -> dict[str, str]:
    """Environment variables that tell a program where to send spans of its own; none without an endpoint."""
    if not endpoint:
        return {}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def _certificate_variables(certificates: Mapping[str, bytes], place: Callable[[str], str]) -> dict[str, str]:
    paths = {PurePosixPath(path).name: path for path in certificates}
    return {variable: place(paths[name]) for variable, name in CERTIFICATE_VARIABLES.items() if name in paths}


def ports_of(deploy: DeployTemplate) -> list[Port]:
    """The ports of one replica, container by container."""
    return [port for container in deploy.containers for port in container.ports]


def _endpoints_of_replica(deploy: DeployTemplate, endpoints: Sequence[Endpoint], replica: int) -> Sequence[Endpoint]:
    """The addresses of one replica. A party's addresses stand replica by replica, each in the order of the ports."""
    ports = len(ports_of(deploy))
    return endpoints[replica * ports : (replica + 1) * ports]


def _task_variables(party: PartySpec, deploy: DeployTemplate, replica: int) -> dict[str, str]:
    endpoints = _endpoints_of_replica(deploy, party.endpoints[party.key.party], replica)
    variables = {
        "TASK_ID": party.task_id,
        "KUSCIA_DOMAIN_ID": party.party.domain_id,
        "TASK_CLUSTER_DEFINE": _cluster_define(party, replica),
        "ALLOCATED_PORTS": cluster.allocated_ports(
            [
                cluster.AllocatedPort(endpoint.port_name, port_of(endpoint), endpoint.scope, endpoint.protocol)
                for endpoint in endpoints
            ]
        ),
    }
    for endpoint in endpoints:
        variables[cluster.port_variable(endpoint.port_name)] = str(port_of(endpoint))
    if party.traceparent:
        variables["TRACEPARENT"] = party.traceparent
    return variables


def _cluster_define(party: PartySpec, replica: int) -> str:
    parties = [
        cluster.ClusterParty(member.domain_id, member.role, tuple(_services(endpoints)))
        for member, endpoints in zip(party.task.parties, party.endpoints, strict=True)
    ]
    return cluster.cluster_define(parties, self_party=party.key.party, self_endpoint=replica)


def _services(endpoints: Sequence[Endpoint]) -> Iterator[cluster.Service]:
    """The shared ports, each with the addresses of all replicas in their order."""
    addresses: dict[str, list[str]] = {}
    for endpoint in endpoints:
        if endpoint.scope != "Local":
            addresses.setdefault(endpoint.port_name, []).append(endpoint.address)
    return (cluster.Service(name, tuple(of_port)) for name, of_port in addresses.items())
