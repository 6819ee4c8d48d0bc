"""What a runtime promises whose programs an engine hosts. A room of tests gives the fixture `lab`, a HostedLab."""

import asyncio

import pytest

from kusciajob.contracts import PartyKey
from kusciajob.runtime.hosted.runtime import HostedRuntime
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.support.runtime_lab import DawdlingEngine, HostedLab, KillingEngine, placed, task_of


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["create", "release"])
async def test_a_server_killed_at_any_step_of_a_start_leads_to_one_run(lab: HostedLab, step: str, when: str) -> None:
    """Between the step and what is written about it, too."""
    killing = KillingEngine(lab.connect(), step, when)
    first = await lab.open(engine=killing)
    parties = await placed(first, task_of(lab, ["echo begun; sleep 1; exit 3"]))
    starting = asyncio.create_task(first.start(parties[0]))
    await asyncio.wait({asyncio.create_task(killing.is_killed.wait()), starting}, return_when=asyncio.FIRST_COMPLETED)
    assert killing.is_killed.is_set()
    await lab.kill(first, starting)
    second = await lab.open()
    await second.attach(parties[0])
    await second.start(parties[0])
    result = await second.wait(parties[0].key)
    assert (result.message, result.is_fault) == ("exit code 3", False)
    assert await output(second, parties[0].key) == b"begun\n"


async def test_what_has_ended_of_a_deleted_job_keeps_nobody_waiting(lab: HostedLab) -> None:
    """Thousands may be left of it: nothing of the job runs any more before all of it is removed."""
    first = await lab.open(engine=KillingEngine(lab.connect(), "remove", "before"))
    parties = await started(first, task_of(lab, ["exit 0"]))
    await first.wait(parties[0].key)
    await lab.kill(first)
    killing = KillingEngine(lab.connect(), "remove_job", "before")
    second = await lab.open(engine=killing)
    await second.stop_job(parties[0].key.job)
    assert not killing.is_killed.is_set()


async def test_a_signal_is_told_by_its_name(lab: HostedLab) -> None:
    """The first program of a container cannot be killed from inside: its shell tells the signal."""
    runtime = await lab.open()
    (result,) = await run(runtime, task_of(lab, ["sh -c 'kill -9 $$$$'; exit $?"]))  # of $$$$ two are left
    assert (result.succeeded, result.exit_code) == (False, 137), result
    assert result.message == "killed by signal 9 (SIGKILL)"


async def test_no_party_runs_before_all_of_its_task_are_created(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"] * 2))
    first = asyncio.create_task(runtime.start(parties[0]))
    await lab.created(parties[0].key)
    assert not first.done()
    assert await output(runtime, parties[0].key) == b""
    await asyncio.gather(first, runtime.start(parties[1]))
    assert all([(await runtime.wait(party.key)).succeeded for party in parties])


async def test_a_task_of_which_one_party_cannot_be_created_leaves_nothing(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"] * 2))
    first = asyncio.create_task(runtime.start(parties[0]))
    await lab.created(parties[0].key)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await runtime.stop(parties[0].key)
    assert not await lab.leftovers()


async def test_a_run_that_somebody_removed_has_failed_and_is_never_run_again(lab: HostedLab) -> None:
    """An engine kills what runs before it removes it; which of both a server sees first is a matter of moments."""
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [f"echo begun; {FOR_EVER}"]))
    await said(runtime, parties[0].key, b"begun")
    await lab.remove_by_hand(parties[0].key)
    result = await runtime.wait(parties[0].key)
    is_lost = result.is_fault and result.message.startswith("lost: ")
    assert not result.succeeded
    assert is_lost or result.message == "killed by signal 9 (SIGKILL)", result
    assert await output(runtime, parties[0].key) == b"begun\n"


async def test_a_run_that_vanished_while_no_server_was_there_is_lost_and_never_run_again(lab: HostedLab) -> None:
    first = await lab.open()
    parties = await started(first, task_of(lab, [FOR_EVER]))
    await lab.cut(first)
    await lab.remove_by_hand(parties[0].key)
    second = await lab.open()
    await second.attach(parties[0])
    await second.start(parties[0])
    result = await second.wait(parties[0].key)
    assert result.message.startswith("lost: ")
    assert not await lab.leftovers()


async def test_an_end_that_no_commit_has_seen_is_told_again(lab: HostedLab) -> None:
    """The workload is removed once its end is on disk; a server killed then must still know it."""
    first = await lab.open()
    parties = task_of(lab, ["echo out; exit 9"])
    (result,) = await run(first, parties)
    await lab.gone(parties[0].key)
    await lab.cut(first)
    second = await lab.open()
    (own,) = await placed(second, parties)
    await second.attach(own)
    await second.start(own)
    assert await second.wait(own.key) == result
    assert await output(second, own.key) == b"out\n"


async def test_ended_workloads_are_removed_and_their_output_stays(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = task_of(lab, ["echo kept"])
    await run(runtime, parties)
    await lab.gone(parties[0].key)
    assert not await lab.leftovers()
    assert await output(runtime, parties[0].key) == b"kept\n"


async def test_a_server_that_stops_at_once_removes_what_has_ended(lab: HostedLab) -> None:
    runtime = await lab.open(engine=DawdlingEngine(lab.connect()))
    await run(runtime, task_of(lab, ["echo a", "echo b"]))
    await runtime.close()
    assert not await lab.leftovers()


async def test_two_stores_on_one_engine_never_touch_each_others(lab: HostedLab) -> None:
    one, other = await lab.open(store_id="store-1"), await lab.open(store_id="store-2")
    of_one = await started(one, task_of(lab, [f"echo one; {FOR_EVER}"]))
    of_other = await started(other, task_of(lab, [f"echo other; {FOR_EVER}"]))
    assert of_one[0].key == of_other[0].key
    await said(other, of_other[0].key, b"other")
    await one.stop_job(1)
    await one.remove(1)
    assert list(await other.owned()) == [1]
    assert await output(other, of_other[0].key) == b"other\n"
    await other.stop(of_other[0].key)


async def test_output_is_told_once_however_often_the_server_is_cut(lab: HostedLab) -> None:
    script = "i=0; while [ $i -lt 40 ]; do echo line-$i; i=$((i+1)); sleep 0.05; done"
    runtime: HostedRuntime = await lab.open()
    parties = await started(runtime, task_of(lab, [script]))
    for line in (b"line-5\n", b"line-15\n", b"line-25\n"):
        await said(runtime, parties[0].key, line)
        await lab.cut(runtime)
        runtime = await lab.open()
        await runtime.attach(parties[0])
    assert (await runtime.wait(parties[0].key)).succeeded
    assert await output(runtime, parties[0].key) == b"".join(b"line-%d\n" % at for at in range(40))


@pytest.mark.outage
async def test_an_engine_that_is_away_is_waited_for_and_told(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await placed(runtime, task_of(lab, ["echo begun"]))
    await lab.take_away()
    starting = asyncio.create_task(runtime.start(parties[0]))
    await lab.told(PartyKey(1, 0, 0, 0), lab.away_text)
    await lab.bring_back()
    await starting
    assert (await runtime.wait(parties[0].key)).succeeded


@pytest.mark.outage
async def test_a_run_goes_on_while_the_engine_is_away(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, ["echo begun; sleep 3; echo over; exit 2"]))
    await said(runtime, parties[0].key, b"begun")
    await lab.take_away()
    waiting = asyncio.create_task(runtime.wait(parties[0].key))
    await lab.bring_back()
    assert (await waiting).message == "exit code 2"
    assert await output(runtime, parties[0].key) == b"begun\nover\n"
