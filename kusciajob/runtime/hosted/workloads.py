"""Makes workloads from parties: what each program of a party gets, and under which name it runs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from kusciajob.contracts import ConfigFile, DomainFacts, PartyKey, PartyPreview, PartySpec, StartFailed
from kusciajob.model.appimage import Container, DeployTemplate, Port, Quantities
from kusciajob.model.errors import UnknownRole
from kusciajob.model.job import Resources
from kusciajob.model.status import Endpoint
from kusciajob.model.text import shown
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.engine import DOMAIN_DIRECTORY, Limits, Program, Ref, Workload, WorkloadPort
from kusciajob.runtime.rendering import (
    UNKNOWN_VARIABLES,
    Rendering,
    config_files,
    ports_of,
    preview_of,
    render,
    trace_collector,
    with_likely_endpoints,
)

FIRST_PORT = 20000
"""The number of the first port for which the AppImage states none."""


class Policy(NamedTuple):
    """What the operator allows and wants for all programs."""

    allow_privileged: bool = False
    strict_templates: bool = False
    max_restarts: int = 0
    restart_pause_seconds: float = 10.0
    otlp_endpoint: str = ""


STRICT_POLICY = Policy()


class Planned(Struct, frozen=True):
    """A workload, and what is told of it before it runs: to the operator, and in its output."""

    workload: Workload
    warnings: tuple[str, ...] = ()
    notice: str = ""


def template_of(party: PartySpec) -> DeployTemplate:
    """The party's deploy template. Raises StartFailed."""
    if party.image is None:
        raise StartFailed(f'AppImage "{party.task.app_image}" is not registered any more')
    if not party.image.image.name:
        raise StartFailed(f'AppImage "{party.image.name}" names no image: spec.image.name is required to run it')
    try:
        return party.image.template_for(party.party.role)
    except UnknownRole as error:
        raise StartFailed(str(error)) from None


def port_numbers(deploy: DeployTemplate) -> list[tuple[Port, int]]:
    """The ports of one replica with their numbers: those that the AppImage states, else the first free ones."""
    taken = {port.port for port in ports_of(deploy) if port.port}
    free = (number for number in range(FIRST_PORT, 65536) if number not in taken)
    return [(port, port.port or next(free)) for port in ports_of(deploy)]


def endpoints_of(deploy: DeployTemplate, hosts: Sequence[str]) -> tuple[Endpoint, ...]:
    """One address per port, replica by replica; `hosts` are the replicas' names."""
    return tuple(
        Endpoint(port.name, port.scope, port.protocol, f"{host}:{number}")
        for host in hosts
        for port, number in port_numbers(deploy)
    )


def ref_of(store_id: str, key: PartyKey, replica: int, domain_id: str) -> Ref:
    """The name of one replica of a party."""
    return Ref(names.of_replica(store_id, key, replica), names.of_task(store_id, key), key, replica, domain_id)


def workload_of(
    party: PartySpec,
    replica: int,
    *,
    store_id: str,
    domain: DomainSettings,
    facts: DomainFacts,
    progress_url: str,
    policy: Policy,
) -> Planned:
    """The workload of one replica of a party. Raises StartFailed."""
    deploy = template_of(party)
    renderings = []
    programs = []
    for container in deploy.containers:
        _check_allowed(container, policy)
        variables = {"KUSCIAJOB_DOMAIN_DIR": DOMAIN_DIRECTORY}
        if progress_url:
            variables["TASK_PROGRESS_URL"] = progress_url
        rendering = render(
            party,
            deploy,
            container,
            facts=facts,
            surroundings=trace_collector(policy.otlp_endpoint),
            variables=variables,
            place=lambda text: text,
            is_strict=policy.strict_templates,
            replica=replica,
        )
        renderings.append(rendering)
        programs.append(_program(party, deploy, container, rendering))
    workload = Workload(
        ref=ref_of(store_id, party.key, replica, party.party.domain_id),
        owner=store_id,
        task_id=party.task_id,
        domain=domain,
        programs=tuple(programs),
        max_restarts=policy.max_restarts if deploy.restart_policy == "OnFailure" else None,
        restart_pause_seconds=policy.restart_pause_seconds,
    )
    warnings = tuple(rendering.warning for rendering in renderings if rendering.warning)
    return Planned(workload, warnings, "".join(rendering.notice for rendering in renderings))


def preview(party: PartySpec, *, facts: DomainFacts, policy: Policy) -> PartyPreview:
    """What would be executed for a party. Raises StartFailed."""
    deploy = template_of(party)
    likely = with_likely_endpoints(party)
    programs = []
    for container in deploy.containers:
        _check_allowed(container, policy)
        programs.append(
            preview_of(
                likely,
                deploy,
                container,
                facts=facts,
                surroundings=trace_collector(policy.otlp_endpoint),
                variables=UNKNOWN_VARIABLES,
                is_strict=policy.strict_templates,
            )
        )
    return PartyPreview(deploy.name, deploy.replicas, tuple(programs))


def config(party: PartySpec, *, facts: DomainFacts, policy: Policy) -> tuple[ConfigFile, ...]:
    """See Previewer."""
    deploy, surroundings = template_of(party), trace_collector(policy.otlp_endpoint)
    return tuple(
        file
        for container in deploy.containers
        for file in config_files(
            party, deploy, container, facts=facts, surroundings=surroundings, variables=UNKNOWN_VARIABLES
        )
    )


def _check_allowed(container: Container, policy: Policy) -> None:
    if container.is_privileged and not policy.allow_privileged:
        raise StartFailed(
            f"container {shown(container.name)} wants to be privileged: the operator must allow it "
            "(setting allow_privileged)"
        )


def _program(party: PartySpec, deploy: DeployTemplate, container: Container, rendering: Rendering) -> Program:
    numbers = dict(port_numbers(deploy))
    image = party.image.image.reference if party.image else ""
    of_command = len(container.command)
    return Program(
        name=container.name,
        image=image,
        command=rendering.words[:of_command],
        args=rendering.words[of_command:],
        working_dir=container.working_dir,
        env=rendering.env,
        files=_encoded(rendering.files),
        secret_files=rendering.secret_files,
        ports=tuple(WorkloadPort(port.name, numbers[port], port.protocol, port.is_shared) for port in container.ports),
        requests=_amounts(container.requests, party.party.resources),
        limits=_amounts(container.limits, party.party.resources),
        probes=container.probes,
        is_privileged=container.is_privileged,
    )


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in files.items()}


def _amounts(of_image: Quantities, of_party: Resources | None) -> Limits:
    """The job's word goes before the AppImage's."""
    if of_party is None:
        return Limits(of_image.cpu, of_image.memory)
    return Limits(of_party.cpu or of_image.cpu, of_party.memory or of_image.memory)
