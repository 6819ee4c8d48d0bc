"""The composition root: builds the parts, starts them, and stops them in order."""

import asyncio
import contextlib
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from kusciajob import users
from kusciajob.api.calls import ServedCalls
from kusciajob.api.calls.health import HealthCalls
from kusciajob.api.calls.v1.server import limits_in_force
from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc.descriptors import share_descriptors
from kusciajob.api.grpc.server import GrpcServer
from kusciajob.api.http.gateway import HttpGateway
from kusciajob.api.progress import ProgressListener
from kusciajob.clock import SystemClock
from kusciajob.config import Settings
from kusciajob.contracts import JobStore, PartyKey, PartySpec
from kusciajob.core import Core, Surroundings
from kusciajob.model.errors import StoreFailed
from kusciajob.operations import datadir, formats
from kusciajob.operations.server_metrics import ServerMetrics
from kusciajob.runtime.process.layout import PASSAGE
from kusciajob.runtimes import RuntimeInUse
from kusciajob.security.browser import BrowserRules
from kusciajob.security.errors import SecurityError
from kusciajob.security.guard import Guard, open_guard
from kusciajob.security.progress import open_progress_secrets
from kusciajob.store.memory import MemoryStore
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.telemetry.metrics import Metrics
from kusciajob.telemetry.story import Spans, Story
from kusciajob.usecases.logs import in_rounds
from kusciajob.users import UserError

if TYPE_CHECKING:
    from kusciajob.sharing import Sharing
    from kusciajob.simulation.lab import Lab

logger = logging.getLogger(__name__)

MIB = 1 << 20
PROBE_SECONDS = 1.0
LOOK_SECONDS = 5.0
PROGRESS_KEY = "progress.key"


class TracingUnavailable(Exception):
    """Traces are configured, but the packages that make them are not installed."""


class Server:
    """A whole job server. `async with` starts it and stops it; tasks go on running and are found again.

    It takes calls as soon as it has started. Before the scheduler has found what runs it is not healthy, and nothing
    new is started.
    Raises TracingUnavailable, SecurityError, DataDirectoryError, UserError, AddressInUse, StoreFailed on the way up.
    """

    def __init__(self, settings: Settings, *, store: MemoryStore | None = None) -> None:
        """`store`: what a server in memory goes on with; it stays open at the end."""
        self.settings = settings
        self.grpc_port = 0
        self.http_port: int | None = None
        """None: switched off."""
        self.app_images: tuple[str, ...] | None = ()
        """The names of those found at the start; None where any name will do."""
        self._guard: Guard | None = None
        self._lab: Lab | None = None
        """What a test controls; None without the setting `testing`."""
        self._sharing: Sharing | None = None
        """What there is of a store that several servers share; None without the setting `store`."""
        self._kept = store
        self._core: Core
        self._surroundings: Surroundings
        self._metrics: ServerMetrics
        self._grpc_server: GrpcServer
        self._health: asyncio.Task[None]
        self._stack = AsyncExitStack()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        if self.settings.is_in_memory:
            self._kept = self._kept or MemoryStore()
            directory = stack.enter_context(TemporaryDirectory(prefix="kusciajob-"))
            self.settings = replace(self.settings, data_dir=Path(directory))
        settings = self.settings
        lab = self._lab = self._build_lab() if settings.testing else None
        clock = lab.clock if lab else SystemClock()
        story = Story(_open_spans(settings.otlp_endpoint, stack))
        guard = self._guard = open_guard(settings, delays=lab.delays if lab else None)
        host = settings.bracketed_host
        datadir.claim(settings.data_dir, mode=PASSAGE if settings.users else 0o700)
        stack.enter_context(datadir.held(settings.data_dir))
        formats.check(settings.data_dir)
        _check_users(settings, is_tls=guard is not None)
        metrics = Metrics()
        store = await self._open_store(stack, metrics)
        connections, progress_connections = share_descriptors(
            in_all=settings.max_connections, per_peer=settings.max_connections_per_peer
        )
        self._progress = ProgressListener(
            self._report_progress,
            secrets=self._sharing.progress_secrets
            if self._sharing
            else open_progress_secrets(settings.data_dir / PROGRESS_KEY),
            port_file=settings.data_dir / "progress.port",
            connections=progress_connections,
            address=settings.progress_address,
        )
        limits = Limits(
            calls_per_peer=settings.max_calls_per_peer,
            streams_per_peer=settings.max_streams_per_peer,
            streams_per_domain=settings.max_streams_per_domain,
            watch_streams=settings.max_watch_streams,
            body_bytes_per_peer=settings.max_upload_mib_per_peer * MIB,
            body_bytes=settings.max_upload_mib * MIB,
        )
        grpc_gate, http_gate = open_gates(limits, metrics)
        health = HealthCalls()
        self._surroundings = Surroundings(
            clock=clock,
            upkeep=lab.clock.upkeep if lab else clock,
            guard=guard,
            progress_url=self._progress_url,
            limits=limits_in_force(settings, connections=connections.in_all, connections_per_peer=connections.per_peer),
            metrics=metrics,
            gates=(grpc_gate, http_gate),
            http_port=lambda: self.http_port,  # known once HTTP listens
            health=health,
            story=story,
            director=lab.rules if lab else None,
            following=lab.followers.follow if lab else in_rounds,
        )
        core = self._core = Core(
            settings, store, self._surroundings, log=lab.outages.log if lab else None, sharing=self._sharing
        )
        stack.push_async_callback(self._close_core)
        await core.open()
        self.app_images = core.image_names
        stack.push_async_callback(self._progress.stop)
        await self._progress.start()
        core.run(self._note_end)
        self._metrics = ServerMetrics(metrics, settings.data_dir, store=store, hub=core.hub, scheduler=core.scheduler)
        calls: ServedCalls = core.calls
        if lab:
            calls = _tested(lab, health)
            lab.begin(core, self._note_end)
            stack.push_async_callback(lab.close)
        max_message_bytes = settings.max_message_mib * MIB
        grpc_server = self._grpc_server = GrpcServer(
            calls,
            gate=grpc_gate,
            max_message_bytes=max_message_bytes,
            guard=guard,
            connections=connections,
        )
        stack.push_async_callback(grpc_server.stop)
        if settings.http_port >= 0:
            gateway = HttpGateway(
                calls,
                gate=http_gate,
                read_metrics=self._metrics.read,
                max_message_bytes=max_message_bytes,
                browser_rules=BrowserRules(
                    bound_host=settings.host,
                    hosts=settings.allowed_hosts,
                    origins=settings.allowed_origins,
                    is_tls=guard is not None,
                ),
                guard=guard,
                connections=connections,
                has_page=settings.quirks == "none",
                clock=self._surroundings.upkeep,
            )
            stack.push_async_callback(gateway.stop)
            self.http_port = await gateway.start(host, settings.http_port)
            logger.info("serving HTTP on %s:%d", host, self.http_port)
        # Streams end with the hub, before the calls in flight are given their grace.
        stack.push_async_callback(self._end_streams)
        self.grpc_port = await grpc_server.start(f"{host}:{settings.grpc_port}")
        await grpc_server.set_serving(is_serving=False)
        stack.push_async_callback(grpc_server.set_serving, is_serving=False)
        self._watch_health()
        stack.push_async_callback(self._end_health)
        logger.info("serving gRPC on %s:%d", host, self.grpc_port)

    async def _open_store(self, stack: AsyncExitStack, metrics: Metrics) -> JobStore:
        """The store, as the server uses it. Raises StoreFailed."""
        directory = self.settings.data_dir
        found: JobStore
        if self.settings.store:
            sharing = self._sharing = await _open_shared_store(self.settings, metrics)
            found = sharing.store
            stack.push_async_callback(found.close)
        elif self._kept is None:
            datadir.keep_private(directory)
            found = await SqliteStore.open(directory / datadir.DATABASE, on_commit=metrics.note_commit)
            stack.push_async_callback(found.close)
        else:
            found = self._kept
        return await self._lab.take(found) if self._lab else found

    def _build_lab(self) -> "Lab":
        # Not with the module: other servers do not have it.
        from kusciajob.simulation.lab import Lab  # noqa: PLC0415

        return Lab(self.settings, suspend=self._suspend, resume=self._resume)

    async def _suspend(self) -> None:
        """End all streams and stop working."""
        await self._end_health()
        await self._core.close()

    async def _resume(self, settings: Settings, store: JobStore, log: JobStore) -> Core:
        """Go on with another core in the place of the last one."""
        core = self._core = Core(settings, store, self._surroundings, log=log)
        await core.open()
        core.run(self._note_end)
        self._metrics.follow(store=store, hub=core.hub, scheduler=core.scheduler)
        self._watch_health()
        return core

    def _watch_health(self) -> None:
        core = self._core
        telling = _tell_health(core.settled, core.store, core.runtime, self._grpc_server)
        self._health = asyncio.create_task(telling, name="health")
        self._health.add_done_callback(self._note_end)

    async def _end_health(self) -> None:
        self._health.cancel()
        await asyncio.wait([self._health])

    async def _end_streams(self) -> None:
        await self._core.hub.close()

    async def _close_core(self) -> None:
        await self._core.close()

    def reload(self) -> None:
        """Read certificates and tokens again, for new connections and calls. What cannot be used is logged, no more."""
        if self._guard is None:
            logger.info("nothing to reload: without TLS there are neither certificates nor tokens")
            return
        try:
            self._guard.reload()
        except SecurityError as error:
            logger.error("certificates and tokens stay as they were: %s", error)

    async def wait_failed(self) -> None:
        """Never return; raise the error of a part that has died."""
        await asyncio.shield(self._failed)

    def _progress_url(self, party: PartySpec) -> str:
        """Where a program reports; "" where it cannot reach this server."""
        is_reached = self.settings.runtime == "process" or self.settings.progress_address
        return self._progress.url(party) if is_reached else ""

    def _report_progress(self, key: PartyKey, progress: float) -> bool:
        return self._core.report_progress(key, progress)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)


def _open_spans(endpoint: str, stack: AsyncExitStack) -> Spans | None:
    """The maker of traces. Without an endpoint nothing of OpenTelemetry is imported. Raises TracingUnavailable."""
    if not endpoint:
        return None
    try:
        from kusciajob.telemetry.tracing import Tracing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise TracingUnavailable(
            f"setting otlp_endpoint is {endpoint!r}, but OpenTelemetry is not installed ({error}): "
            "pip install 'kusciajob[otel]', or leave otlp_endpoint empty"
        ) from None
    tracing = Tracing(endpoint)
    stack.push_async_callback(tracing.close)
    return tracing


async def _open_shared_store(settings: Settings, metrics: Metrics) -> "Sharing":
    """Without a database of its own nothing of PostgreSQL is imported. Raises StoreFailed, DataDirectoryError."""
    try:
        from kusciajob.sharing import Sharing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StoreFailed(
            f"setting store names a PostgreSQL, but what speaks to it is not installed ({error}): "
            "pip install 'kusciajob[postgres]', or leave store empty"
        ) from None
    return await Sharing.open(settings, on_commit=metrics.note_commit)


def _tested(lab: "Lab", health: HealthCalls) -> ServedCalls:
    from kusciajob.simulation.control import TestedCalls  # noqa: PLC0415

    return TestedCalls(lab, health)


def _check_users(settings: Settings, *, is_tls: bool) -> None:
    """Check that programs cannot read the server's files; log it if they can. Raises UserError."""
    if settings.runtime != "process":
        return
    if settings.users is None:
        readable = [f"{settings.certificates} (tokens, keys)"] if is_tls else []
        if settings.domain_settings.exists():
            readable.append(f"{settings.domain_settings} (the values of all domains)")
        if readable:
            logger.info(
                "the programs of tasks run as the server's own user and can read %s and the database: "
                "setting run_as prevents it",
                ", ".join(readable),
            )
        return
    if os.geteuid() != 0:
        raise UserError(f"setting run_as is {settings.run_as!r}, but only a server that runs as root can change users")
    if not settings.domains.is_dir():
        settings.domains.mkdir(parents=True)
        settings.domains.chmod(PASSAGE)
    own = [settings.data_dir / datadir.DATABASE, settings.data_dir / PROGRESS_KEY, settings.domain_settings]
    secrets = [path for path in settings.certificates.rglob("*") if path.suffix in (".key", ".token", "")]
    users.check(
        settings.users,
        passages=[settings.data_dir, settings.domains],
        secrets=[*own, *(path for path in secrets if path.is_file())],
        domains=settings.domains,
    )


async def _tell_health(settled: asyncio.Event, store: JobStore, runtime: RuntimeInUse, grpc_server: GrpcServer) -> None:
    """Serving once what ran is attached to, and while the store can commit and the runtime can start and stop programs.

    The store is asked until it can, without waiting for a client's try.
    """
    await settled.wait()
    while True:
        await grpc_server.set_serving(is_serving=True)
        while not (store.failing.is_set() or runtime.failing.is_set()):
            await _any_set(store.failing, runtime.failing)  # it may be another runtime meanwhile
        await grpc_server.set_serving(is_serving=False)
        cause = "the store cannot commit" if store.failing.is_set() else "the runtime can start and stop nothing"
        logger.warning("not serving: %s", cause)
        while store.failing.is_set() or runtime.failing.is_set():
            await asyncio.sleep(PROBE_SECONDS)
            if store.failing.is_set():
                with contextlib.suppress(StoreFailed):
                    await store.probe()
        logger.info("serving again: the store commits, and the runtime starts and stops programs")


async def _any_set(*events: asyncio.Event) -> None:
    """Return once one of them is set, or after a while."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
