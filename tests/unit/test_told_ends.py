"""What ends otherwise than it began is told as well: a call whose caller has left, programs of a deleted job."""

import asyncio
import logging

import pytest

from kusciajob.events.hub import Hub
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from tests.support.builders import job_spec
from tests.support.clock import ManualClock
from tests.support.house import opened_house
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime
from tests.support.stores import SlowStore


def told(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """The jobs of which that was told."""
    return [vars(record)["job"] for record in caplog.records if text in record.getMessage()]


async def test_that_a_caller_left_before_its_job_was_stored_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kusciajob")
    store = SlowStore(MemoryStore(), "create")
    service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
    creating = asyncio.create_task(service.create(job_spec("job-1"), MASTER))
    await asyncio.sleep(0)
    creating.cancel()
    await asyncio.wait([creating])
    assert told(caplog, "caller left") == ["job-1"]
    assert told(caplog, "job created") == []


async def test_that_nothing_of_a_deleted_job_runs_any_more_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kusciajob")
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        await house.create("job-1")
        await eventually(lambda: len(runtime.running) == 2)
        runtime.stop_gate.close()
        await house.delete()
        await eventually(lambda: runtime.stop_gate.waiting > 0)
        assert told(caplog, "job deleted") == ["job-1"]
        assert told(caplog, "are gone") == []
        runtime.stop_gate.open()
        await eventually(lambda: told(caplog, "are gone"))
        await house.until_idle()
    assert told(caplog, "are gone") == ["job-1"]
