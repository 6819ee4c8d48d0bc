"""Who stops supervising a party gets on with its work: the program runs on, and nothing of the supervision is left."""

import asyncio

from msgspec.structs import replace

from kusciajob.scheduler.supervisor import PartyReport, PartySupervisor
from kusciajob.scheduler.worker import party_specs
from tests.support.builders import new_job
from tests.support.clock import ManualClock
from tests.support.polling import eventually
from tests.support.runtimes import ManualRuntime
from tests.support.steps import admit_and_place


def left_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("party ")]


async def supervised(runtime: ManualRuntime, reports: list[PartyReport]) -> PartySupervisor:
    (party, _) = party_specs(admit_and_place(replace(new_job(), number=1)), 0, None)
    await runtime.allocate([party])
    return PartySupervisor(party, runtime=runtime, clock=ManualClock(), report=reports.append)


async def test_a_party_that_runs_is_left_running(runtime: ManualRuntime) -> None:
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    await eventually(lambda: reports)
    await supervisor.cancel()
    assert left_tasks() == []
    assert [report.event for report in reports] == ["started"]
    assert (len(runtime.running), runtime.stops) == (1, [])


async def test_a_party_that_is_being_started_is_left(runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    await eventually(lambda: runtime.start_gate.waiting)
    await supervisor.cancel()
    assert left_tasks() == []
    assert (reports, runtime.stops) == ([], [])


async def test_a_party_that_is_being_stopped_is_left(runtime: ManualRuntime) -> None:
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    await eventually(lambda: reports)
    runtime.stop_gate.close()
    supervisor.stop("no longer needed")
    await eventually(lambda: runtime.stop_gate.waiting)
    await supervisor.cancel()
    assert left_tasks() == []
    assert [report.event for report in reports] == ["started"]


async def test_a_stop_during_the_start_is_the_reason_of_the_one_end_that_is_told(runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    await eventually(lambda: runtime.start_gate.waiting)
    supervisor.stop("no longer needed")
    await eventually(lambda: reports)
    assert [(report.event, report.message) for report in reports] == [("failed", "no longer needed")]
    assert runtime.reserved == set()
    assert left_tasks() == []


async def test_a_party_that_is_left_at_once_after_its_stop_is_left(runtime: ManualRuntime) -> None:
    runtime.start_gate.close()
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    await eventually(lambda: runtime.start_gate.waiting)
    supervisor.stop("no longer needed")
    await supervisor.cancel()
    assert left_tasks() == []
    assert (reports, runtime.stops) == ([], [])


async def test_a_party_that_is_stopped_before_its_start_is_never_started(runtime: ManualRuntime) -> None:
    reports: list[PartyReport] = []
    supervisor = await supervised(runtime, reports)
    supervisor.stop("no longer needed")
    await eventually(lambda: reports)
    assert [(report.event, report.message) for report in reports] == [("failed", "no longer needed")]
    assert runtime.starts == []
    assert left_tasks() == []
