"""Builds the runtime that the settings ask for, and the source of what it runs."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from kusciajob.config import Settings
from kusciajob.contracts import (
    Arrival,
    Clock,
    ConfigFile,
    DomainFacts,
    ImageSource,
    JobStore,
    Node,
    OutputPiece,
    OutputSource,
    OutputStream,
    PartyKey,
    PartyPreview,
    PartySpec,
    Previewer,
    ProgressReport,
    Runtime,
    WaitReport,
)
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.runtime.domains import DomainsFile
from kusciajob.runtime.hosted.engine import Engine, EngineUnavailable
from kusciajob.runtime.hosted.runtime import HostedRuntime
from kusciajob.runtime.hosted.workloads import Policy
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.runtime.scripts import Director
from kusciajob.runtime.simulated import AnyImage, SimulatedRuntime
from kusciajob.security.credentials import DomainCredentials
from kusciajob.security.guard import Guard

MIB = 1 << 20


class RuntimeUnavailable(Exception):
    """The runtime that the settings ask for cannot be used here; the text says what to do."""


class AnyRuntime(Runtime, OutputSource, Previewer, Protocol):
    """Runs parties, keeps their output, and tells beforehand what they would run."""


class Links(NamedTuple):
    """What a runtime tells the server, and asks it."""

    clock: Clock
    progress_url: Callable[[PartySpec], str]
    on_progress: ProgressReport
    on_waiting: WaitReport
    held: Callable[[], Awaitable[None]]
    """Returns once no other server can look after the programs."""
    director: Director | None = None
    """Of the simulated runtime."""


def ports_of(settings: Settings) -> range:
    """The ports that parties get which share this machine's addresses."""
    return range(settings.first_port, settings.last_port + 1)


def build_images(settings: Settings) -> tuple[ImageSource, AppImageCatalog]:
    """What the runtime can run, and the catalogue of the API. Raises NoAppImageDirectory.

    They are the same, unless the runtime needs no AppImages.
    """
    if settings.runtime == "simulated":
        return AnyImage(), AppImageCatalog(settings.app_images)
    images = AppImageCatalog(
        settings.app_images,
        is_required=settings.app_image_dir is not None,
        runs_images=settings.runtime != "process",
    )
    return images, images


def build_runtime(settings: Settings, guard: Guard | None, store: JobStore, links: Links) -> AnyRuntime:
    """The runtime. Raises RuntimeUnavailable, InvalidDomains."""
    if settings.runtime == "simulated":
        return SimulatedRuntime(
            clock=links.clock, on_progress=links.on_progress, on_waiting=links.on_waiting, director=links.director
        )
    domains = DomainsFile(settings.domain_settings, is_required=settings.domains_file is not None)
    credentials = DomainCredentials(settings.certificates, guard)

    def facts_of(domain: str) -> DomainFacts:
        return replace(credentials.of(domain), values=domains.values(domain))

    output_limit_bytes = settings.output_limit_mib * MIB or None
    if settings.runtime != "process":
        return HostedRuntime(
            open_engine(settings),
            store_id=store.id,
            directory=settings.runs,
            clock=links.clock,
            facts_of=facts_of,
            settings_of=domains.settings,
            progress_url=links.progress_url,
            on_waiting=links.on_waiting,
            stop_grace_seconds=settings.stop_grace_seconds,
            output_limit_bytes=output_limit_bytes,
            policy=Policy(
                allow_privileged=settings.allow_privileged,
                strict_templates=settings.strict_templates,
                max_restarts=settings.max_restarts,
                restart_pause_seconds=settings.restart_pause_seconds,
                otlp_endpoint=settings.otlp_endpoint,
            ),
            held=links.held,
        )
    return ProcessRuntime(
        directory=settings.data_dir,
        domains=settings.domains,
        path=settings.path,
        ports=ports_of(settings),
        stop_grace_seconds=settings.stop_grace_seconds,
        progress_url=links.progress_url,
        output_limit_bytes=output_limit_bytes,
        users=settings.users,
        facts_of=facts_of,
        strict_templates=settings.strict_templates,
        max_restarts=settings.max_restarts,
        restart_pause_seconds=settings.restart_pause_seconds,
        otlp_endpoint=settings.otlp_endpoint,
    )


class RuntimeInUse:
    """The runtime of this server, for whoever asks about output and nodes.

    Each lease has a runtime of its own: what one knows of programs is old once another server has scheduled.
    """

    def __init__(self, build: Callable[[], AnyRuntime]) -> None:
        self._build = build
        self.runtime = build()

    @property
    def failing(self) -> asyncio.Event:
        """See Runtime; that of the present one."""
        return self.runtime.failing

    async def close(self) -> None:
        """See Runtime."""
        await self.runtime.close()

    async def renew(self) -> None:
        """Close the runtime, and make another one."""
        await self.runtime.close()
        self.runtime = self._build()

    def preview(self, party: PartySpec) -> PartyPreview:
        """See Previewer."""
        return self.runtime.preview(party)

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """See Previewer."""
        return self.runtime.config_files(party)

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        """See Runtime."""
        return await self.runtime.node(key, replica=replica)

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """See OutputSource."""
        return await self.runtime.arrivals(key, replica=replica)

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """See OutputSource."""
        return await self.runtime.read_output(key, stream, offset, replica=replica)

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """See OutputSource."""
        return await self.runtime.output_size(key, stream, replica=replica)

    async def replicas(self, key: PartyKey) -> int:
        """See OutputSource."""
        return await self.runtime.replicas(key)


ENGINES = {
    "container": ("kusciajob.runtime.container.engine", "containers"),
    "kubernetes": ("kusciajob.runtime.kubernetes.engine", "kubernetes"),
}
"""By the setting: the module with `open_engine(settings) -> Engine`, and the extra that it needs."""


def open_engine(settings: Settings) -> Engine:
    """The engine of a runtime that has one. Its libraries are imported only where it is used. RuntimeUnavailable."""
    name, extra = ENGINES[settings.runtime]
    try:
        module: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(
            f"setting runtime is {settings.runtime!r}, but what it needs is not installed ({error}): "
            f"pip install 'kusciajob[{extra}]'"
        ) from None
    try:
        engine: Engine = module.open_engine(settings)
    except EngineUnavailable as error:
        raise RuntimeUnavailable(f"setting runtime is {settings.runtime!r}: {error}") from None
    return engine
