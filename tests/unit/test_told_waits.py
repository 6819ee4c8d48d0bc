"""Why a task waits is told once of each reason, however often it is asked in vain."""

import logging

import pytest

from kusciajob.contracts import NoCapacity
from kusciajob.model.status import JobState
from tests.support.house import opened_house
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime


async def test_a_reason_that_comes_back_is_not_told_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kusciajob.telemetry.story")
    runtime = ManualRuntime()
    async with opened_house(runtime) as house:
        runtime.allocate_error = NoCapacity("waiting for one thing")
        await house.create("job-1")
        await house.until_message("one thing")
        for reason in ("another", "one thing", "another"):
            runtime.allocate_error = NoCapacity(f"waiting for {reason}")
            house.clock.advance(1.0)
            await house.until_message(reason)
        runtime.allocate_error = None
        house.clock.advance(1.0)
        await eventually(lambda: len(runtime.running) == 2)
        runtime.end()
        await house.until(JobState.SUCCEEDED)
    waits = [vars(record)["reason"] for record in caplog.records if record.getMessage() == "task waits"]
    assert waits == ["waiting for one thing", "waiting for another"]
