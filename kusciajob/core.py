"""What a server serves: the hub, the scheduler with its runtime, retention and the calls, all on one store."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from kusciajob.api.calls import Calls, build_calls
from kusciajob.api.calls.health import HealthCalls
from kusciajob.api.calls.v1.questions import QuestionCalls
from kusciajob.api.calls.v1.server import ServerCalls
from kusciajob.api.calls.v1.task_config import TaskConfigCalls
from kusciajob.api.calls.v1.task_log import TaskLogCalls
from kusciajob.api.calls.v1.watching import WatchCalls
from kusciajob.api.gate import Gate
from kusciajob.api.usage import Usage
from kusciajob.config import Settings
from kusciajob.contracts import Clock, JobStore, Lease, PartyKey, PartySpec
from kusciajob.events.hub import Hub
from kusciajob.model.job import JobSpec
from kusciajob.runtime.scripts import Director, check_scripts
from kusciajob.runtimes import Links, RuntimeInUse, build_images, build_runtime, ports_of
from kusciajob.scheduler.leases import LedRuntime, SoleLeases
from kusciajob.scheduler.loop import Scheduler
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.security.guard import Guard
from kusciajob.telemetry.metrics import Metrics
from kusciajob.telemetry.story import LOG_ONLY, Story
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.dry_run import DryRun
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.leadership import Leadership, Office
from kusciajob.usecases.logs import Following, TaskOutput, in_rounds
from kusciajob.usecases.questions import Questions
from kusciajob.usecases.refusals import RefusalLog
from kusciajob.usecases.retention import Retention
from kusciajob.usecases.task_config import TaskConfigs
from kusciajob.usecases.watching import JobWatch

if TYPE_CHECKING:
    from kusciajob.sharing import Sharing

MIB = 1 << 20


class Surroundings(Struct, frozen=True):
    """What a core needs of its server. `limits`: those in force, by name.

    `upkeep`: the clock of what works in rounds. `director`: what tells the simulated runtime what programs do.
    """

    clock: Clock
    upkeep: Clock
    guard: Guard | None
    progress_url: Callable[[PartySpec], str]
    limits: Mapping[str, int]
    metrics: Metrics
    gates: Sequence[Gate]
    http_port: Callable[[], int | None]
    health: HealthCalls
    story: Story = LOG_ONLY
    director: Director | None = None
    following: Following = in_rounds


class Core:
    """Everything between the edges and the store. `open`, then `run`, then `close`; the store stays open."""

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        around: Surroundings,
        *,
        log: JobStore | None = None,
        sharing: "Sharing | None" = None,
    ) -> None:
        """`log`: the store as the hub reads it, if that is another view. `sharing`: None if the store is this server's.

        Raises RuntimeUnavailable, NoAppImageDirectory, InvalidDomains.
        """
        self.settings = settings
        self.store = store
        self._around = around
        self._sharing = sharing
        self._lease: Lease | None = None
        """The present one, or the last."""
        links = Links(
            clock=around.clock,
            progress_url=around.progress_url,
            on_progress=self._note_progress,
            on_waiting=self._note_waiting,
            held=self._held,
            director=around.director,
        )
        self.images, self.catalog = build_images(settings)
        self.runtime = RuntimeInUse(partial(build_runtime, settings, around.guard, store, links))
        self.hub = Hub(log or store, timeouts=around.clock.timeout)
        self._app_images = AppImageService(
            store=store,
            catalog=self.catalog,
            clock=around.clock,
            version=sharing.store.images_version if sharing else None,
        )
        self._renew_images = self._app_images.renew if sharing else None
        self._leases = sharing.leases if sharing else SoleLeases(store)
        self._leadership = Leadership(self._leases, appoint=self._appoint, resign=self.runtime.renew)
        self.settled = self._leadership.settled
        """Set once all that ran is attached to, or another server schedules."""
        self.calls = self._build_calls()
        self._parts: list[asyncio.Task[None]] = []

    @property
    def image_names(self) -> tuple[str, ...] | None:
        """Of the AppImages that there are; None where any name will do."""
        return self.catalog.names() if self.images is self.catalog else None

    async def open(self) -> None:
        """Read the store, before anybody changes it: the AppImages of the API are there before any job is taken up."""
        self.catalog.restore(await self.store.app_images())
        await self.hub.open()
        await self._leadership.open()

    def run(self, note_end: Callable[[asyncio.Task[None]], None]) -> None:
        """Begin to work. `note_end` is called with each part that has ended."""
        parts = {"scheduler": self._leadership.run(), "event hub": self.hub.wait_failed()}
        if self._sharing is not None:
            self._sharing.on_progress(self._note_progress)
            parts["AppImages"] = self._sharing.follow_app_images(self._app_images)
        for name, work in parts.items():
            part = asyncio.create_task(work, name=name)
            part.add_done_callback(note_end)
            self._parts.append(part)

    async def close(self) -> None:
        """End all streams and stop working; programs go on running."""
        await self.hub.close()
        for part in reversed(self._parts):
            part.cancel()
            await asyncio.wait([part])
        await self._leadership.close()
        await self._leases.close()
        await self.runtime.close()

    def scheduler(self) -> Scheduler | None:
        """The one at work; None while another server schedules, and before `run`."""
        return self._leadership.scheduler

    def report_progress(self, key: PartyKey, progress: float) -> bool:
        """Note the progress of a task, 0 to 1, or pass it on to who schedules. False if the party's run is over."""
        if scheduler := self.scheduler():
            return scheduler.report_progress(key, progress)
        if self._sharing is not None:
            self._sharing.pass_progress(key, progress)
        return True

    def _note_progress(self, key: PartyKey, progress: float) -> None:
        if scheduler := self.scheduler():
            scheduler.report_progress(key, progress)

    def _note_waiting(self, key: PartyKey, text: str) -> None:
        if scheduler := self.scheduler():
            scheduler.report_waiting(key, text)

    async def _held(self) -> None:
        if self._lease is not None:
            await self._lease.held()

    def _appoint(self, lease: Lease) -> Office:
        """What works under a lease."""
        self._lease = lease
        settings, around, runtime = self.settings, self._around, self.runtime.runtime
        scheduler = Scheduler(
            store=lease.store,
            hub=self.hub,
            runtime=LedRuntime(runtime, lease) if self._sharing else runtime,
            images=self.images,
            clock=around.clock,
            upkeep=around.upkeep,
            limits=_slot_limits(settings),
            story=around.story,
            renew_images=self._renew_images,
        )
        retention = Retention(
            store=lease.store,
            clock=around.upkeep,
            job_days=settings.job_retention_days,
            log_events=settings.log_retention_events,
            log_hours=settings.log_retention_hours,
            log_bytes=settings.log_retention_mib * MIB,
            audit_days=settings.audit_days,
            audit_entries=settings.audit_entries,
            story=around.story,
        )
        return Office(scheduler, retention)

    def _build_calls(self) -> Calls:
        settings, store, around, clock = self.settings, self.store, self._around, self._around.clock
        service = JobService(
            store=store,
            hub=self.hub,
            images=self.images,
            clock=clock,
            requires_approval=settings.require_approval,
            max_jobs=settings.max_jobs,
            max_jobs_per_domain=settings.max_jobs_per_domain,
            check=check_scripts if settings.runtime == "simulated" else _accept,
            story=around.story,
            renew_images=self._renew_images,
        )
        output = TaskOutput(
            store=store, runtime=self.runtime, source=self.runtime, images=self.images, following=around.following
        )
        usage = Usage(store=store, hub=self.hub, scheduler=self.scheduler, metrics=around.metrics, gates=around.gates)
        return build_calls(
            service,
            output,
            ServerCalls(
                runtime=settings.runtime,
                limits=around.limits,
                clock=clock,
                head=store.head,
                usage=usage,
                http_port=around.http_port,
            ),
            TaskLogCalls(output),
            WatchCalls(JobWatch(store=store, hub=self.hub), monotonic=clock.monotonic),
            QuestionCalls(
                service,
                Questions(store=store, jobs=service),
                DryRun(jobs=service, images=self.images, previewer=self.runtime),
            ),
            TaskConfigCalls(TaskConfigs(jobs=service, images=self.images, previewer=self.runtime)),
            app_images=self._app_images,
            refusals=RefusalLog(store=store, clock=clock),
            health=around.health,
            has_habits=settings.quirks == "kuscia",
        )


def _accept(_: JobSpec) -> None:
    pass


def _slot_limits(settings: Settings) -> SlotLimits:
    return SlotLimits(
        parties=settings.max_running_parties,
        parties_per_domain=settings.max_running_parties_per_domain,
        ports=ports_of(settings),
    )
