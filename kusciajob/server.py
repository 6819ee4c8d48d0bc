"""The composition root: builds the parts, starts them, and stops them in order."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from kusciajob import users
from kusciajob.api.calls import Calls, build_calls
from kusciajob.api.calls.v1.questions import QuestionCalls
from kusciajob.api.calls.v1.server import ServerCalls, limits_in_force
from kusciajob.api.calls.v1.task_config import TaskConfigCalls
from kusciajob.api.calls.v1.task_log import TaskLogCalls
from kusciajob.api.calls.v1.watching import WatchCalls
from kusciajob.api.gate import Gate, Limits, open_gates
from kusciajob.api.grpc.descriptors import share_descriptors
from kusciajob.api.grpc.server import GrpcServer
from kusciajob.api.http.connections import ConnectionLimits
from kusciajob.api.http.gateway import HttpGateway
from kusciajob.api.progress import ProgressListener
from kusciajob.api.usage import Usage
from kusciajob.config import Settings
from kusciajob.contracts import Clock, JobStore, Lease, Leases, PartyKey, PartySpec
from kusciajob.events.hub import Hub
from kusciajob.model.errors import StoreFailed
from kusciajob.operations import datadir, formats
from kusciajob.operations.server_metrics import ServerMetrics
from kusciajob.runtime.process.layout import PASSAGE
from kusciajob.runtimes import AnyRuntime, Links, RuntimeInUse, build_images, build_runtime, ports_of
from kusciajob.scheduler.leases import LedRuntime, SoleLeases
from kusciajob.scheduler.loop import Scheduler
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.security.browser import BrowserRules
from kusciajob.security.errors import SecurityError
from kusciajob.security.guard import Guard, open_guard
from kusciajob.security.progress import ProgressSecrets, open_progress_secrets
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.telemetry.metrics import Metrics
from kusciajob.telemetry.story import Spans, Story
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.dry_run import DryRun
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.leadership import Leadership, Office
from kusciajob.usecases.logs import TaskOutput
from kusciajob.usecases.questions import Questions
from kusciajob.usecases.refusals import RefusalLog
from kusciajob.usecases.retention import Retention
from kusciajob.usecases.task_config import TaskConfigs
from kusciajob.usecases.watching import JobWatch
from kusciajob.users import UserError

if TYPE_CHECKING:
    from kusciajob.store.postgres.store import PostgresStore

logger = logging.getLogger(__name__)

MIB = 1 << 20
PROBE_SECONDS = 1.0
LOOK_SECONDS = 5.0
PROGRESS_KEY = "progress.key"


class TracingUnavailable(Exception):
    """Traces are configured, but the packages that make them are not installed."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> float:
        return time.time()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class Server:
    """A whole job server. `async with` starts it and stops it; tasks go on running and are found again.

    It takes calls as soon as it has started. Before the scheduler has found what runs it is not healthy, and nothing
    new is started.
    Raises TracingUnavailable, SecurityError, DataDirectoryError, UserError, AddressInUse, StoreFailed on the way up.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grpc_port = 0
        self.http_port: int | None = None
        """None: switched off."""
        self.app_images: tuple[str, ...] | None = ()
        """The names of those found at the start; None where any name will do."""
        self._guard: Guard | None = None
        self._shared: PostgresStore | None = None
        self._lease: Lease | None = None
        """The present one, or the last."""
        self._passing: set[asyncio.Task[None]] = set()
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
        settings, clock = self.settings, SystemClock()
        story = Story(_open_spans(settings.otlp_endpoint, stack))
        guard = self._guard = open_guard(settings)
        datadir.claim(settings.data_dir, mode=PASSAGE if settings.users else 0o700)
        stack.enter_context(datadir.held(settings.data_dir))
        formats.check(settings.data_dir)
        if not settings.store:
            datadir.keep_private(settings.data_dir)
        _check_users(settings, is_tls=guard is not None)
        metrics = Metrics()
        shared = self._shared = await _open_shared_store(settings, metrics) if settings.store else None
        store = shared or await SqliteStore.open(settings.data_dir / datadir.DATABASE, on_commit=metrics.note_commit)
        stack.push_async_callback(store.close)
        images, catalog = build_images(settings)
        app_images = AppImageService(
            store=store, catalog=catalog, clock=clock, version=shared.images_version if shared else None
        )
        # Those of the API, too, are there before any job is taken up.
        catalog.restore(await store.app_images())
        self.app_images = catalog.names() if images is catalog else None
        runtime = RuntimeInUse(partial(self._build_runtime, clock, guard, store))
        stack.push_async_callback(runtime.close)
        hub = Hub(store)

        def appoint(lease: Lease) -> Office:
            self._lease = lease
            scheduler = Scheduler(
                store=lease.store,
                hub=hub,
                runtime=LedRuntime(runtime.runtime, lease) if shared else runtime.runtime,
                images=images,
                clock=clock,
                limits=_slot_limits(settings),
                story=story,
                renew_images=app_images.renew if shared else None,
            )
            return Office(scheduler, _retention(settings, lease.store, clock, story))

        leases = _leases_of(shared, settings) if shared else SoleLeases(store)
        stack.push_async_callback(leases.close)
        leadership = self._leadership = Leadership(leases, appoint=appoint, resign=runtime.renew)
        connections, progress_connections = share_descriptors(
            in_all=settings.max_connections, per_peer=settings.max_connections_per_peer
        )
        self._progress = ProgressListener(
            self._report_progress,
            secrets=ProgressSecrets(shared.progress_key)
            if shared
            else open_progress_secrets(settings.data_dir / PROGRESS_KEY),
            port_file=settings.data_dir / "progress.port",
            connections=progress_connections,
            address=settings.progress_address,
        )
        stack.push_async_callback(self._progress.stop)
        await self._progress.start()
        await hub.open()
        await leadership.open()
        parts = {"scheduler": leadership.run(), "event hub": hub.wait_failed()}
        if shared:
            shared.tail.on_progress = self._note_progress
            parts["AppImages"] = _follow_app_images(shared, app_images)
        for name, work in parts.items():
            part = asyncio.create_task(work, name=name)
            part.add_done_callback(self._note_end)
            stack.push_async_callback(_cancel, part)
        service = JobService(
            store=store,
            hub=hub,
            images=images,
            clock=clock,
            requires_approval=settings.require_approval,
            max_jobs=settings.max_jobs,
            max_jobs_per_domain=settings.max_jobs_per_domain,
            story=story,
            renew_images=app_images.renew if shared else None,
        )
        limits = Limits(
            calls_per_peer=settings.max_calls_per_peer,
            streams_per_peer=settings.max_streams_per_peer,
            streams_per_domain=settings.max_streams_per_domain,
            watch_streams=settings.max_watch_streams,
            body_bytes_per_peer=settings.max_upload_mib_per_peer * MIB,
            body_bytes=settings.max_upload_mib * MIB,
        )
        server_metrics = ServerMetrics(
            metrics, settings.data_dir, store=store, hub=hub, scheduler=lambda: leadership.scheduler
        )
        output = TaskOutput(store=store, runtime=runtime, source=runtime, images=images)
        gates = open_gates(limits, metrics)
        usage = Usage(store=store, hub=hub, scheduler=lambda: leadership.scheduler, metrics=metrics, gates=gates)
        calls = build_calls(
            service,
            output,
            ServerCalls(
                runtime=settings.runtime,
                limits=limits_in_force(
                    settings, connections=connections.in_all, connections_per_peer=connections.per_peer
                ),
                clock=clock,
                head=store.head,
                usage=usage,
                http_port=lambda: self.http_port,  # known once HTTP listens
            ),
            TaskLogCalls(output),
            WatchCalls(JobWatch(store=store, hub=hub)),
            QuestionCalls(
                service,
                Questions(store=store, jobs=service),
                DryRun(jobs=service, images=images, previewer=runtime),
            ),
            TaskConfigCalls(TaskConfigs(jobs=service, images=images, previewer=runtime)),
            app_images=app_images,
            refusals=RefusalLog(store=store, clock=clock),
        )
        health = partial(_tell_health, leadership.settled, store, runtime)
        # Streams end with the hub, before the calls in flight are given their grace.
        await self._open_edges(
            stack,
            calls,
            gates=gates,
            connections=connections,
            metrics=server_metrics,
            before_grace=hub.close,
            health=health,
        )

    async def _open_edges(
        self,
        stack: AsyncExitStack,
        calls: Calls,
        *,
        gates: tuple[Gate, Gate],
        connections: ConnectionLimits,
        metrics: ServerMetrics,
        before_grace: Callable[[], Awaitable[None]],
        health: Callable[[GrpcServer], Coroutine[Any, Any, None]],
    ) -> None:
        """Take calls, over gRPC and HTTP."""
        settings, host = self.settings, self.settings.bracketed_host
        max_message_bytes = settings.max_message_mib * MIB
        grpc_server = GrpcServer(
            calls,
            gate=gates[0],
            max_message_bytes=max_message_bytes,
            guard=self._guard,
            connections=connections,
        )
        stack.push_async_callback(grpc_server.stop)
        if settings.http_port >= 0:
            gateway = HttpGateway(
                calls,
                gate=gates[1],
                read_metrics=metrics.read,
                max_message_bytes=max_message_bytes,
                browser_rules=BrowserRules(
                    bound_host=settings.host,
                    hosts=settings.allowed_hosts,
                    origins=settings.allowed_origins,
                    is_tls=self._guard is not None,
                ),
                guard=self._guard,
                connections=connections,
            )
            stack.push_async_callback(gateway.stop)
            self.http_port = await gateway.start(host, settings.http_port)
            logger.info("serving HTTP on %s:%d", host, self.http_port)
        stack.push_async_callback(before_grace)
        self.grpc_port = await grpc_server.start(f"{host}:{settings.grpc_port}")
        await grpc_server.set_serving(is_serving=False)
        stack.push_async_callback(grpc_server.set_serving, is_serving=False)
        telling = asyncio.create_task(health(grpc_server), name="health")
        telling.add_done_callback(self._note_end)
        stack.push_async_callback(_cancel, telling)
        logger.info("serving gRPC on %s:%d", host, self.grpc_port)

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

    def _build_runtime(self, clock: Clock, guard: Guard | None, store: JobStore) -> AnyRuntime:
        links = Links(
            clock=clock,
            progress_url=self._progress_url,
            on_progress=self._note_progress,
            on_waiting=self._report_waiting,
            held=self._held,
        )
        return build_runtime(self.settings, guard, store, links)

    def _progress_url(self, party: PartySpec) -> str:
        """Where a program reports; "" where it cannot reach this server."""
        is_reached = self.settings.runtime == "process" or self.settings.progress_address
        return self._progress.url(party) if is_reached else ""

    def _report_progress(self, key: PartyKey, progress: float) -> bool:
        """What a program reports to this server. False if its run is over."""
        if self._leadership.scheduler is not None:
            return self._leadership.scheduler.report_progress(key, progress)
        if self._shared is not None:
            passing = asyncio.create_task(_pass_progress(self._shared, key, progress), name="progress")
            self._passing.add(passing)
            passing.add_done_callback(self._passing.discard)
        return True

    def _note_progress(self, key: PartyKey, progress: float) -> None:
        if self._leadership.scheduler is not None:
            self._leadership.scheduler.report_progress(key, progress)

    async def _held(self) -> None:
        if self._lease is not None:
            await self._lease.held()

    def _report_waiting(self, key: PartyKey, text: str) -> None:
        if self._leadership.scheduler is not None:
            self._leadership.scheduler.report_waiting(key, text)

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


async def _open_shared_store(settings: Settings, metrics: Metrics) -> "PostgresStore":
    """Without a database of its own nothing of PostgreSQL is imported. Raises StoreFailed."""
    try:
        from kusciajob.store.postgres.store import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StoreFailed(
            f"setting store names a PostgreSQL, but what speaks to it is not installed ({error}): "
            "pip install 'kusciajob[postgres]', or leave store empty"
        ) from None
    return await PostgresStore.open(
        settings.store,
        password_file=settings.store_password_file,
        may_migrate=settings.migrate_at_start,
        on_commit=metrics.note_commit,
    )


def _leases_of(store: "PostgresStore", settings: Settings) -> Leases:
    """Programs on this machine, and containers, can be led from here only. Raises DataDirectoryError."""
    from kusciajob.store.postgres.lease import PostgresLeases  # noqa: PLC0415

    is_bound = settings.runtime in ("process", "container")
    home = datadir.server_id(settings.data_dir) if is_bound else ""
    return PostgresLeases(store, server=f"{socket.gethostname()}, process {os.getpid()}", home=home)


def _retention(settings: Settings, store: JobStore, clock: Clock, story: Story) -> Retention:
    return Retention(
        store=store,
        clock=clock,
        job_days=settings.job_retention_days,
        log_events=settings.log_retention_events,
        log_hours=settings.log_retention_hours,
        log_bytes=settings.log_retention_mib * MIB,
        audit_days=settings.audit_days,
        audit_entries=settings.audit_entries,
        story=story,
    )


async def _follow_app_images(store: "PostgresStore", app_images: AppImageService) -> None:
    """Take in what other servers change of AppImages, for ever."""
    while True:
        await store.tail.images_changed.wait()
        store.tail.images_changed.clear()
        try:
            await app_images.renew()
        except StoreFailed as error:
            logger.warning("AppImages of other servers are not read, trying again: %s", error)
            await asyncio.sleep(PROBE_SECONDS)
            store.tail.images_changed.set()


async def _pass_progress(store: "PostgresStore", key: PartyKey, progress: float) -> None:
    try:
        await store.pass_progress(key, progress)
    except StoreFailed as error:
        logger.debug("a program's progress is lost, its next report follows: %s", error)


def _slot_limits(settings: Settings) -> SlotLimits:
    return SlotLimits(
        parties=settings.max_running_parties,
        parties_per_domain=settings.max_running_parties_per_domain,
        ports=ports_of(settings),
    )


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


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
