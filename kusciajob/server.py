"""The composition root: builds the parts, starts them, and stops them in order."""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import msgspec

from kusciajob.api.gate import Limits, open_gates
from kusciajob.api.grpc_server import GrpcServer
from kusciajob.api.http_gateway import HttpGateway
from kusciajob.api.progress import ProgressListener
from kusciajob.catalog import AppImageCatalog
from kusciajob.config import Settings
from kusciajob.contracts import DomainFacts, ImageSource, PartyKey
from kusciajob.domains import DomainsFile
from kusciajob.events.hub import Hub
from kusciajob.metrics import Metrics
from kusciajob.model.errors import StoreFailed
from kusciajob.observation import Observation
from kusciajob.output import TaskOutput
from kusciajob.retention import Retention
from kusciajob.runtime.process import ProcessRuntime
from kusciajob.runtime.simulated import AnyImage, SimulatedRuntime
from kusciajob.scheduler.loop import Scheduler
from kusciajob.security.credentials import DomainCredentials
from kusciajob.security.errors import SecurityError
from kusciajob.security.guard import Guard, open_guard
from kusciajob.service import JobService
from kusciajob.store.sqlite import SqliteStore

logger = logging.getLogger(__name__)

MIB = 1 << 20
STORE_PROBE_SECONDS = 1.0


class DataDirectoryInUse(Exception):
    """Another server works in the data directory."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> float:
        return time.time()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class Server:
    """A whole job server. `async with` starts it and stops it; tasks go on running and are found again.

    Raises SecurityError, DataDirectoryInUse, AddressInUse, StoreFailed on the way up.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grpc_port = 0
        self.http_port: int | None = None
        """None: switched off."""
        self._guard: Guard | None = None
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
        guard = self._guard = open_guard(settings)
        host = f"[{settings.host}]" if ":" in settings.host and settings.host[0] != "[" else settings.host
        _lock(settings.data_dir, stack)
        metrics = Metrics()
        store = await SqliteStore.open(settings.data_dir / "jobs.db", on_commit=metrics.note_commit)
        stack.push_async_callback(store.close)
        runtime, images = self._build_runtime(clock, guard)
        stack.push_async_callback(runtime.close)
        hub = Hub(store)
        scheduler = self._scheduler = Scheduler(store=store, hub=hub, runtime=runtime, images=images, clock=clock)
        progress = ProgressListener(scheduler.report_task_progress, settings.data_dir / "progress.port")
        stack.push_async_callback(progress.stop)
        self._progress_url = await progress.start()
        await hub.open()
        await scheduler.open()
        retention = Retention(
            store=store,
            clock=clock,
            job_days=settings.job_retention_days,
            log_events=settings.log_retention_events,
            log_hours=settings.log_retention_hours,
        )
        parts = {"scheduler": scheduler.run(), "event hub": hub.wait_failed(), "retention": retention.run()}
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
        )
        limits = Limits(
            calls_per_peer=settings.max_calls_per_peer,
            streams_per_peer=settings.max_streams_per_peer,
            watch_streams=settings.max_watch_streams,
        )
        grpc_gate, http_gate = open_gates(limits, metrics)
        observation = Observation(
            metrics, settings.data_dir, store=store, hub=hub, scheduler=scheduler, runtime=runtime
        )
        output = TaskOutput(store=store, source=runtime)
        max_message_bytes = settings.max_message_mib * MIB
        grpc_server = GrpcServer(service, output, gate=grpc_gate, max_message_bytes=max_message_bytes, guard=guard)
        stack.push_async_callback(grpc_server.stop)
        if settings.http_port >= 0:
            gateway = HttpGateway(
                service,
                output,
                gate=http_gate,
                read_metrics=observation.read,
                is_serving=lambda: grpc_server.is_serving,
                max_message_bytes=max_message_bytes,
                guard=guard,
            )
            stack.push_async_callback(gateway.stop)
            self.http_port = await gateway.start(host, settings.http_port)
            logger.info("serving HTTP on %s:%d", host, self.http_port)
        # Streams end with the hub, before the calls in flight are given their grace.
        stack.push_async_callback(hub.close)
        self.grpc_port = await grpc_server.start(f"{host}:{settings.grpc_port}")
        await grpc_server.set_serving(is_serving=True)
        stack.push_async_callback(grpc_server.set_serving, is_serving=False)
        health = asyncio.create_task(_tell_store_health(store, grpc_server), name="store health")
        health.add_done_callback(self._note_end)
        stack.push_async_callback(_cancel, health)
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
        """Return never, or raise the error of a part that has died."""
        await asyncio.shield(self._failed)

    def _build_runtime(
        self, clock: SystemClock, guard: Guard | None
    ) -> tuple[ProcessRuntime | SimulatedRuntime, ImageSource]:
        settings = self.settings
        if settings.runtime == "simulated":
            simulated = SimulatedRuntime(
                clock=clock, on_progress=self._report_progress, max_running_parties=settings.max_running_parties
            )
            return simulated, AnyImage()
        domains = DomainsFile(settings.domain_settings, is_required=settings.domains_file is not None)
        credentials = DomainCredentials(settings.certificates, guard)

        def facts_of(domain: str) -> DomainFacts:
            return msgspec.structs.replace(credentials.of(domain), values=domains.values(domain))

        runtime = ProcessRuntime(
            directory=settings.data_dir,
            domains=settings.domains,
            path=settings.path,
            ports=range(settings.first_port, settings.last_port + 1),
            stop_grace_seconds=settings.stop_grace_seconds,
            progress_url=lambda: self._progress_url,
            max_running_parties=settings.max_running_parties,
            output_limit_bytes=settings.output_limit_mib * MIB or None,
            facts_of=facts_of,
            strict_templates=settings.strict_templates,
            max_restarts=settings.max_restarts,
            restart_pause_seconds=settings.restart_pause_seconds,
        )
        return runtime, AppImageCatalog(settings.app_images, is_required=settings.app_image_dir is not None)

    def _report_progress(self, key: PartyKey, progress: float) -> None:
        self._scheduler.report_progress(key, progress)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)


def _lock(directory: Path, stack: AsyncExitStack) -> None:
    """Hold the data directory until the stack unwinds or the process dies."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise DataDirectoryInUse(
            f"data directory {directory} is in use by the server with process id {pid}: "
            "stop that one or choose another with --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


async def _tell_store_health(store: SqliteStore, grpc_server: GrpcServer) -> None:
    """Not serving while the store cannot commit; it is asked until it can, without waiting for a client's try."""
    while True:
        await store.failing.wait()
        await grpc_server.set_serving(is_serving=False)
        while store.failing.is_set():
            await asyncio.sleep(STORE_PROBE_SECONDS)
            with contextlib.suppress(StoreFailed):
                await store.probe()
        logger.info("the store commits again")
        await grpc_server.set_serving(is_serving=True)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
