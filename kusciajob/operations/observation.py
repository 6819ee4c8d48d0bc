"""The measurements of a whole server: what its parts tell when asked, and what has to be counted in the files."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from kusciajob.events.hub import Hub
from kusciajob.model.status import JobState, TaskState
from kusciajob.operations.metrics import Metrics
from kusciajob.scheduler.loop import Scheduler
from kusciajob.store.sqlite import database
from kusciajob.store.sqlite.store import SqliteStore

COUNT_SECONDS = 10.0
"""Files and states are counted at most so often, on a thread of their own: it takes long on a large directory."""

# A large status is compressed; asking whether it is costs all others nothing. One that is damaged hides no other.
JOBS_BY_STATE = """
    SELECT CASE WHEN json_valid(status) THEN json_extract(status, '$.phase.state') END, count(*)
    FROM (
        SELECT CAST(CASE
            WHEN typeof(status) = 'blob' AND substr(status, 1, 1) <> x'7B' THEN plain_status(status) ELSE status
        END AS TEXT) AS status
        FROM job
    ) GROUP BY 1
"""
# By the index of unfinished jobs; a state that is Pending is left out when a status is stored.
PARTIES_BY_STATE = """
    SELECT coalesce(json_extract(party.value, '$.state'), 'Pending'), count(*)
    FROM (
        SELECT CAST(CASE
            WHEN typeof(status) = 'blob' AND substr(status, 1, 1) <> x'7B' THEN plain_status(status) ELSE status
        END AS TEXT) AS status
        FROM job WHERE unfinished = 1
    ) AS job, json_each(CASE WHEN json_valid(job.status) THEN job.status ELSE '{}' END, '$.tasks') AS task,
        json_each(task.value, '$.parties') AS party
    GROUP BY 1
"""

DAMAGED = "Unknown"
"""The state of jobs that cannot be read."""


class Observation:
    """Answers who reads the metrics."""

    def __init__(
        self,
        metrics: Metrics,
        directory: Path,
        *,
        store: SqliteStore,
        hub: Hub,
        scheduler: Scheduler,
    ) -> None:
        self._metrics = metrics
        self._directory = directory
        self._bytes = 0
        self._counting = asyncio.Lock()
        self._count_at = 0.0
        shown: dict[str, tuple[str, Callable[[], float]]] = {
            "parties_running": (
                "Parties that have a slot: placed, started or being stopped.",
                lambda: scheduler.parties,
            ),
            "watch_streams": ("Open streams of the event hub; the scheduler's is one.", lambda: len(hub.lags)),
            "watch_lag_events_max": (
                "Events the slowest stream has yet to read.",
                lambda: max(hub.lags, default=0),
            ),
            "watch_lag_events_sum": ("Events that all streams have yet to read.", lambda: sum(hub.lags)),
            "store_queue_length": ("Changes that wait for a commit.", lambda: store.queue_length),
            "scheduler_jobs": ("Jobs that the scheduler works on: Pending or Running ones.", lambda: scheduler.jobs),
            "scheduler_waiting_for_room": (
                "Jobs of which a task waits for a free slot or port.",
                lambda: scheduler.waiting_for_room,
            ),
            "revision": ("The newest revision that was published.", lambda: hub.head),
            "damaged_rows": ("Damaged rows met in the store since the start.", lambda: store.damaged_rows),
            "losses": ("Starts at which acknowledged changes were missing from the store.", lambda: store.losses),
            "data_directory_bytes": ("What the data directory takes on disk.", lambda: self._bytes),
        }
        for name, (meaning, value) in shown.items():
            metrics.watch(name, meaning, value)

    async def read(self) -> bytes:
        """The metrics of this moment; what has to be counted may be COUNT_SECONDS old."""
        async with self._counting:
            if time.monotonic() >= self._count_at:
                self._bytes, jobs, parties = await asyncio.to_thread(_count, self._directory)
                self._metrics.set_jobs(jobs)
                self._metrics.set_parties(parties)
                self._count_at = time.monotonic() + COUNT_SECONDS
        return self._metrics.render()


def _count(directory: Path) -> tuple[int, dict[str, int], dict[str, int]]:
    file = directory / "jobs.db"
    return disk_bytes(directory), count_jobs(file), count_parties(file)


def disk_bytes(directory: Path) -> int:
    """What the files below a directory take on disk; what vanishes meanwhile does not count."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


def count_jobs(file: Path) -> dict[str, int]:
    """Jobs by state; all of them 0 while the file cannot be read."""
    counts = dict.fromkeys(map(str, JobState), 0)
    for state, count in _ask(file, JOBS_BY_STATE).items():
        known = state if state in counts else DAMAGED
        counts[known] = counts.get(known, 0) + count
    return counts


def count_parties(file: Path) -> dict[str, int]:
    """Parties of unfinished jobs by state; all of them 0 while the file cannot be read."""
    found = _ask(file, PARTIES_BY_STATE)
    return {state: found.get(state, 0) for state in map(str, TaskState)}


def _ask(file: Path, query: str) -> dict[str, int]:
    with suppress(sqlite3.Error), closing(database.read_only(file)) as connection:
        return dict(connection.execute(query))
    return {}
