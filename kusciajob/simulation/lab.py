"""A server that a test controls: its time, its programs, its faults, and its return to the start."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from google.protobuf.descriptor import MethodDescriptor

from kusciajob.api.grpc.server import SERVICES
from kusciajob.config import Settings
from kusciajob.contracts import JobStore, PartySpec
from kusciajob.core import Core
from kusciajob.model.errors import JobError, JobNotFound, StaleJob
from kusciajob.runtime.simulated import SimulatedRuntime
from kusciajob.security.delays import FailureDelays
from kusciajob.simulation import messages
from kusciajob.simulation.clock import Mode, VirtualClock
from kusciajob.simulation.faults import fits
from kusciajob.simulation.followers import Followers
from kusciajob.simulation.horizon import Horizon, latest
from kusciajob.simulation.idleness import PAUSE_SECONDS, CountingExecutor, NotIdle, Prober
from kusciajob.simulation.outages import OUTAGE, Outages
from kusciajob.simulation.rules import Rules, Selector
from kusciajob.simulation.traffic import Traffic
from kusciajob.store.memory import MemoryStore

logger = logging.getLogger(__name__)

PAGE = 500
AUTO_PATIENCE_SECONDS = 0.2
"""So long the clock that runs by itself waits for watchers that do not read."""
WORK_PATIENCE_SECONDS = 60.0
RETURN_LOOK_SECONDS = 0.005

Suspend = Callable[[], Awaitable[None]]
"""Stops the present core."""
Resume = Callable[[Settings, JobStore, JobStore], Awaitable[Core]]
"""Puts another core in its place: its settings, its store, and what its hub reads."""


class Lab:
    """Everything that the control calls act on. `begin` after the first core has been opened, `close` at the end."""

    def __init__(self, settings: Settings, *, suspend: Suspend, resume: Resume) -> None:
        self._settings = settings
        self._suspend = suspend
        self._resume = resume
        self.clock = VirtualClock(Mode(settings.clock))
        self.rules = Rules(self.clock.news.set)
        self.traffic = Traffic(self.clock, self._target)
        self.delays = FailureDelays(
            settings.max_token_delay_seconds, clock=self.clock.monotonic, sleep=self.clock.sleep
        )
        self.followers = Followers(lambda: (self.core.hub.head, self._runtime.lines_written))
        self.outages: Outages
        self.core: Core
        self._horizon = Horizon()
        self._prober = Prober()
        self._moving = asyncio.Lock()
        """Held while time passes, or everything is reset."""
        self._errors = _ErrorLog()
        self._executor = CountingExecutor()
        self._driver: asyncio.Task[None] | None = None

    async def take(self, store: JobStore) -> JobStore:
        """The store as the server is to use it. No time passes before what it has of an earlier server."""
        self.clock.land(await latest(store))
        return self.wrap(store)

    def wrap(self, store: JobStore) -> JobStore:
        """The store, with outages."""
        self.outages = Outages(store)
        return self.outages.store

    def begin(self, core: Core, note_end: Callable[[asyncio.Task[None]], None]) -> None:
        """From now on time can pass."""
        self.core = core
        asyncio.get_running_loop().set_default_executor(self._executor)
        logging.getLogger("kusciajob").addHandler(self._errors)
        self._driver = asyncio.create_task(self._drive(), name="virtual clock")
        self._driver.add_done_callback(note_end)

    async def close(self) -> None:
        logging.getLogger("kusciajob").removeHandler(self._errors)
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.wait([self._driver])
        # What still waits for time to pass must not keep the server from ending.
        self.clock.reset(Mode.STOPPED)

    def serves(self, method: MethodDescriptor) -> bool:
        return self.core.calls.of(method) is not None

    def has_method(self, pattern: str) -> bool:
        """Whether a pattern matches an RPC."""
        return any(fits(pattern, method.name) for service in SERVICES for method in service.methods)

    def set_store_down(self, *, is_down: bool) -> None:
        self.outages.set_down(is_down=is_down)
        self.clock.news.set()

    async def until_idle(self, patience_seconds: float) -> None:
        """Until nothing can happen before time passes; with a clock that runs by itself, until that has nothing to do.

        Raises NotIdle.
        """
        deadline = time.monotonic() + patience_seconds
        while True:
            await self._prober.until_idle(self._what_goes_on, patience_seconds=max(0.0, deadline - time.monotonic()))
            if not self._runs_on():
                return
            if time.monotonic() > deadline:
                raise NotIdle(f"after {patience_seconds:g} s the clock still runs, as it was told to")
            await asyncio.sleep(PAUSE_SECONDS)

    async def until_settled(self, patience_seconds: float) -> None:
        """Until it is idle, and all watchers are there whose streams a fault has ended.

        Who has not come back in time is not expected any more. Raises NotIdle.
        """
        deadline = time.monotonic() + patience_seconds
        while True:
            await self.until_idle(patience_seconds)
            if not self.traffic.away:
                return
            if time.monotonic() > deadline:
                self.traffic.expect_nobody()
                return
            await asyncio.sleep(RETURN_LOOK_SECONDS)

    async def until_held(self, wanted: Selector | None, patience_seconds: float) -> list[PartySpec]:
        """The parties that hold, once all is idle and a wanted one is among them. Raises NotIdle."""
        deadline = time.monotonic() + patience_seconds
        while True:
            await self.until_idle(max(0.0, deadline - time.monotonic()))
            held = self._held()
            if wanted is None or any(wanted.matches(party) for party in held):
                return held
            if time.monotonic() > deadline:
                raise NotIdle(f"after {patience_seconds:g} s no party holds that was to: {wanted}")
            await asyncio.sleep(PAUSE_SECONDS)

    def release(self, where: Selector) -> int:
        """Let the parties that hold end as they were told; how many. JobError if there are none."""
        chosen = [(party, end) for party, end in self._runtime.held.values() if where.matches(party)]
        if not chosen:
            held = ", ".join(f"{p.spec.job_id}/{p.task.alias}/{p.party.domain_id}" for p in self._held())
            raise JobError(f"no party holds that matches {where}; those that hold: {held or 'none'}")
        for _, end in chosen:
            end()
        return len(chosen)

    async def advance(self, seconds: float) -> None:
        """Let time pass, from one moment at which something happens to the next, and come to rest."""
        async with self._moving:
            target = self.clock.now() + seconds
            while (at := await self._next_stop(target)) is not None:
                self.clock.land(at)
            self.clock.land(target)
            await self._rest()

    async def _next_stop(self, target: float) -> float | None:
        await self._rest()
        ahead = await self._horizon.next_upkeep(self.core, self.outages.inner, self.clock.now())
        stops = [at for at in (self.clock.next_at, ahead) if at is not None and at <= target]
        return min(stops, default=None)

    async def _rest(self, patience_seconds: float = AUTO_PATIENCE_SECONDS) -> None:
        """Until nothing goes on; watchers that do not read are waited for in vain."""
        try:
            await self._prober.until_idle(self._what_goes_on, patience_seconds=patience_seconds)
        except NotIdle:
            await self._prober.until_idle(self._what_works, patience_seconds=WORK_PATIENCE_SECONDS)

    async def reset(self, given: Mapping[str, str], mode: Mode | None) -> None:
        """Everything is as at the start, with these settings changed. Raises InvalidJob."""
        settings = messages.settings_of(self._settings, given)
        async with self._moving:
            self.traffic.clear()
            self.rules.clear()
            self.outages.set_down(is_down=False)
            self._errors.lines.clear()
            await self._suspend()
            store = self.wrap(await _emptied(self.outages.inner))
            self.core = await self._resume(settings, store, self.outages.log)
            self.clock.reset(mode or Mode(self._settings.clock))
            self._errors.lines.clear()

    def problems(self) -> list[str]:
        """What makes a strict test fail."""
        logged = [f"the server has logged an error: {line}" for line in self._errors.lines]
        return [*self.rules.problems(), *logged]

    def _target(self, method: MethodDescriptor) -> Any:
        """What serves a method at present."""
        return self.core.calls.of(method)

    @property
    def _runtime(self) -> SimulatedRuntime:
        return cast("SimulatedRuntime", self.core.runtime.runtime)  # the settings see to that

    def _held(self) -> list[PartySpec]:
        return [party for party, _ in self._runtime.held.values()]

    def _what_works(self) -> str:
        """What is being done, but for what watchers have yet to take."""
        if not self.core.settled.is_set():
            return "the server starts"
        if self.traffic.active:
            return f"{self.traffic.active} calls are being served"
        if self._executor.pending:
            return f"{self._executor.pending} threads work"
        if self.outages.pending:
            return f"the store has {self.outages.pending} questions to answer"
        return ""

    def _what_goes_on(self) -> str:
        if what := self._what_works():
            return what
        behind = self.core.hub.waits_for + self.followers.hurry() - self.traffic.paused_streams
        return f"{behind} watches and followed logs have yet to take what there is" if behind > 0 else ""

    def _runs_on(self) -> bool:
        """Whether the clock is going to move by itself."""
        is_running = self.clock.mode is Mode.AUTO and not self.outages.failing.is_set()
        return is_running and (self.clock.next_at is not None or self._moving.locked())

    async def _drive(self) -> None:
        """Move the clock, where it is to move by itself."""
        while True:
            self.clock.news.clear()
            if self.clock.mode is Mode.MACHINE:
                self.clock.land(self.clock.now())
                at = self.clock.next_of_all
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if at is None else max(0.0, at - self.clock.now())):
                        await self.clock.news.wait()
            elif self._runs_on():
                async with self._moving:
                    await self._rest()
                    at = self.clock.next_at
                    if at is not None and self.clock.mode is Mode.AUTO and not self.outages.failing.is_set():
                        self.clock.land(at)
            else:
                await self.clock.news.wait()


async def _emptied(store: JobStore) -> JobStore:
    """A store without jobs and AppImages, in which the revisions continue."""
    if isinstance(store, MemoryStore):
        # With a gap: no watch of before can go on as if nothing had gone.
        return MemoryStore(after=await store.head() + 1)
    while page := await store.page(0, PAGE):
        for job in page:
            with suppress(StaleJob, JobNotFound):  # a last change was on its way to be committed
                await store.delete(job)
    for name in await store.app_images():
        await store.put_app_image(name, None)
    return store


class _ErrorLog(logging.Handler):
    """The errors that this thread has logged, but for those of outages that a test wants."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.thread == self._thread and OUTAGE not in text:
            self.lines.append(text)
