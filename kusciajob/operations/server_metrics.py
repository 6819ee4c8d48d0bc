"""The metrics of a whole server: values that its parts have at hand, and values that must be counted."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from kusciajob.contracts import JobStore
from kusciajob.events.hub import Hub
from kusciajob.model.errors import StoreFailed
from kusciajob.scheduler.loop import Scheduler
from kusciajob.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

COUNT_SECONDS = 10.0
"""The shortest time between two counts of files and states: a large directory takes long."""


class ServerMetrics:
    """Collects and renders all metrics."""

    def __init__(
        self,
        metrics: Metrics,
        directory: Path,
        *,
        store: JobStore,
        hub: Hub,
        scheduler: Callable[[], Scheduler | None],
    ) -> None:
        """See `follow`."""

        def of_scheduler(value: Callable[[Scheduler], int]) -> Callable[[], float]:
            return lambda: value(present) if (present := self._scheduler()) is not None else 0

        self._metrics = metrics
        self._directory = directory
        self.follow(store=store, hub=hub, scheduler=scheduler)
        self._bytes = 0
        self._counting = asyncio.Lock()
        shown: dict[str, tuple[str, Callable[[], float]]] = {
            "parties_running": (
                "Parties that have a slot: placed, started or being stopped.",
                of_scheduler(lambda scheduler: scheduler.parties),
            ),
            "watch_streams": ("Open streams of the event hub; the scheduler's is one.", lambda: len(self._hub.lags)),
            "watch_lag_events_max": (
                "Events the slowest stream has yet to read.",
                lambda: max(self._hub.lags, default=0),
            ),
            "watch_lag_events_sum": ("Events that all streams have yet to read.", lambda: sum(self._hub.lags)),
            "store_queue_length": ("Changes that wait for a commit.", lambda: self._store.health.queue_length),
            "leader": ("Whether this server schedules.", lambda: self._scheduler() is not None),
            "scheduler_jobs": (
                "Jobs that the scheduler works on: Pending or Running ones.",
                of_scheduler(lambda scheduler: scheduler.jobs),
            ),
            "scheduler_waiting_for_room": (
                "Jobs of which a task waits for a free slot or port.",
                of_scheduler(lambda scheduler: scheduler.waiting_for_room),
            ),
            "revision": ("The newest revision that was published.", lambda: self._hub.head),
            "damaged_rows": ("Damaged rows met in the store since the start.", lambda: self._store.health.damaged_rows),
            "losses": (
                "Starts at which acknowledged changes were missing from the store.",
                lambda: self._store.health.losses,
            ),
            "data_directory_bytes": ("What the data directory takes on disk.", lambda: self._bytes),
        }
        for name, (meaning, value) in shown.items():
            metrics.watch(name, meaning, value)

    def follow(self, *, store: JobStore, hub: Hub, scheduler: Callable[[], Scheduler | None]) -> None:
        """Show these from now on. `scheduler` returns the one at work; None while another server schedules.

        What was counted of others is counted anew.
        """
        self._store, self._hub, self._scheduler = store, hub, scheduler
        self._count_at = 0.0

    async def read(self) -> bytes:
        """The present metrics. Counted values may be COUNT_SECONDS old."""
        async with self._counting:
            if time.monotonic() >= self._count_at:
                self._bytes = await asyncio.to_thread(disk_bytes, self._directory)
                await self._count_jobs()
                self._count_at = time.monotonic() + COUNT_SECONDS
        return self._metrics.render()

    async def _count_jobs(self) -> None:
        """Count jobs and parties. While the store cannot be read, the last counts stay."""
        try:
            census = await self._store.census()
        except StoreFailed as error:
            logger.warning("jobs are not counted for the metrics: %s", error)
            return
        self._metrics.set_jobs(census.jobs)
        self._metrics.set_parties(census.parties)


def disk_bytes(directory: Path) -> int:
    """The bytes that the files below a directory take on disk; files that vanish meanwhile do not count."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total
