"""What the metrics show while the store cannot be read."""

from pathlib import Path

import pytest

from kusciajob.events.hub import Hub
from kusciajob.operations import server_metrics
from kusciajob.operations.server_metrics import ServerMetrics
from kusciajob.runtime.simulated import AnyImage
from kusciajob.scheduler.loop import Scheduler
from kusciajob.store.memory import MemoryStore
from kusciajob.telemetry.metrics import Metrics
from tests.support.builders import new_job
from tests.support.clock import ManualClock
from tests.support.runtimes import ManualRuntime
from tests.support.stores import FaultyStore

PENDING = b'kusciajob_jobs{state="Pending"} 1.0'


async def test_what_was_counted_last_is_shown_while_the_store_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_metrics, "COUNT_SECONDS", 0.0)
    store, clock = FaultyStore(MemoryStore()), ManualClock()
    hub = Hub(store)
    scheduler = Scheduler(store=store, hub=hub, runtime=ManualRuntime(), images=AnyImage(), clock=clock)
    observed = ServerMetrics(Metrics(), tmp_path, store=store, hub=hub, scheduler=lambda: scheduler)
    await store.create(new_job())
    assert PENDING in await observed.read()
    store.fails = {"census"}
    await store.create(new_job("second"))
    assert PENDING in await observed.read()
    assert "jobs are not counted" in caplog.text
    store.fails = set()
    assert PENDING not in await observed.read()
