"""What every runtime promises. A room of tests imports this and gives the fixture `lab`, a RuntimeLab."""

import asyncio
import itertools
import time
from collections.abc import Sequence

from kusciajob.contracts import Arrival, ExitResult, OutputStream, PartyKey, PartySpec
from kusciajob.runtimes import AnyRuntime
from tests.support.polling import eventually_true
from tests.support.runtime_lab import RuntimeLab, placed, task_of

FOR_EVER = "while :; do sleep 0.2; done"
WITHOUT_TERM = f"trap '' TERM; echo ready; {FOR_EVER}"


async def run(runtime: AnyRuntime, parties: Sequence[PartySpec]) -> list[ExitResult]:
    """Start a task's parties together and wait for all ends."""
    own = await placed(runtime, parties)
    await asyncio.gather(*map(runtime.start, own))
    return await asyncio.gather(*(runtime.wait(party.key) for party in own))


async def started(runtime: AnyRuntime, parties: Sequence[PartySpec]) -> list[PartySpec]:
    own = await placed(runtime, parties)
    await asyncio.gather(*map(runtime.start, own))
    return own


async def output(
    runtime: AnyRuntime, key: PartyKey, stream: OutputStream = OutputStream.STDOUT, *, replica: int = 0
) -> bytes:
    text, offset = b"", 0
    while piece := await runtime.read_output(key, stream, offset, replica=replica):
        if not piece.data:
            return text
        text, offset = text + piece.data, piece.offset + len(piece.data)
    return text


async def said(runtime: AnyRuntime, key: PartyKey, text: bytes, *, replica: int = 0) -> None:
    """Return once the party has written that."""

    async def is_there() -> bool:
        return text in await output(runtime, key, replica=replica)

    await eventually_true(is_there)


async def test_a_program_that_succeeds_has_succeeded_and_its_output_is_kept(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    (result,) = await run(
        runtime, task_of(lab, ["echo out; echo $KUSCIA_DOMAIN_ID $TASK_ID; echo no-newline | tr -d '\\n'"])
    )
    assert result.succeeded, result
    assert await output(runtime, PartyKey(1, 0, 0, 0)) == b"out\nalice task-1\nno-newline"


async def test_a_failure_has_its_exit_code_and_the_last_words(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    (result,) = await run(runtime, task_of(lab, ["echo why it failed >&2; exit 3"]))
    assert (result.succeeded, result.exit_code, result.message) == (False, 3, "exit code 3")
    assert result.detail == "why it failed"
    assert not result.is_fault


async def test_what_config_templates_lack_is_told_once_at_the_head_of_the_partys_errors(lab: RuntimeLab) -> None:
    first = await lab.open()
    script = "echo begun; sleep 1; echo why it failed >&2; exit 3"
    parties = await started(first, task_of(lab, [script], config="{{.NOBODY}} {{.TASK_ID}}"))
    await said(first, parties[0].key, b"begun\n")
    await lab.cut(first)
    second = await lab.open()
    await second.attach(parties[0])
    result = await second.wait(parties[0].key)
    told = await output(second, parties[0].key, OutputStream.STDERR)
    assert told.startswith(b"kusciajob: config templates: nothing is known of {{.NOBODY}} (config, line 1): ")
    assert told.count(b"kusciajob: ") == 1
    assert result.detail.endswith("why it failed")


async def test_a_party_that_is_started_twice_runs_once(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [f"echo begun; {FOR_EVER}"]))
    await said(runtime, parties[0].key, b"begun\n")
    await runtime.start(parties[0])
    await runtime.stop(parties[0].key)
    assert await output(runtime, parties[0].key) == b"begun\n"


async def test_a_party_outlives_the_server_and_runs_once(lab: RuntimeLab) -> None:
    first = await lab.open()
    parties = await started(first, task_of(lab, ["echo begun; sleep 2; echo over; exit 4"]))
    await said(first, parties[0].key, b"begun\n")
    await lab.cut(first)
    second = await lab.open()
    await second.attach(parties[0])
    await second.start(parties[0])
    result = await second.wait(parties[0].key)
    assert (result.message, result.exit_code) == ("exit code 4", 4)
    assert await output(second, parties[0].key) == b"begun\nover\n"


async def test_what_ended_while_no_server_was_there_is_known(lab: RuntimeLab) -> None:
    first = await lab.open()
    parties = await started(first, task_of(lab, ["echo begun; sleep 1; echo over >&2; exit 5"]))
    await lab.cut(first)
    second = await lab.open()
    await second.attach(parties[0])
    result = await second.wait(parties[0].key)
    assert (result.message, result.exit_code, result.detail) == ("exit code 5", 5, "over")
    assert await output(second, parties[0].key) == b"begun\n"


async def test_a_stop_gives_a_program_time_to_end(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [f"trap 'echo bye; exit 0' TERM; echo ready; {FOR_EVER}"]))
    await said(runtime, parties[0].key, b"ready")
    await runtime.stop(parties[0].key)
    assert await output(runtime, parties[0].key) == b"ready\nbye\n"


async def test_a_stop_ends_a_program_that_will_not(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [WITHOUT_TERM]))
    await said(runtime, parties[0].key, b"ready")
    await runtime.stop(parties[0].key)
    await runtime.stop(parties[0].key)  # what is gone is success
    await runtime.remove(1)
    assert not await lab.leftovers()


async def test_a_removed_job_leaves_nothing(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    parties = task_of(lab, [FOR_EVER, "exit 1"])
    await started(runtime, parties)
    assert 1 in await runtime.owned()
    await runtime.stop_job(1)
    await runtime.remove(1)
    assert 1 not in await runtime.owned()
    assert not await lab.leftovers()
    assert await output(runtime, parties[0].key) == b""


async def test_a_later_server_stops_and_removes_what_an_earlier_one_has_left(lab: RuntimeLab) -> None:
    first = await lab.open()
    await started(first, task_of(lab, [FOR_EVER], job=7))
    await lab.cut(first)
    second = await lab.open()
    assert 7 in await second.owned()
    await second.stop_job(7)
    await second.remove(7)
    assert 7 not in await second.owned()
    assert not await lab.leftovers()


async def test_each_attempt_is_a_run_of_its_own(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    for attempt in range(2):
        (result,) = await run(runtime, task_of(lab, ["echo again; exit 1"], attempt=attempt))
        assert result.exit_code == 1
        assert await output(runtime, PartyKey(1, 0, attempt, 0)) == b"again\n"


async def test_a_wait_for_what_nobody_knows_ends(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    result = await runtime.wait(PartyKey(99, 0, 0, 0))
    assert not result.succeeded
    assert result.is_fault
    assert "lost" in result.message


async def test_replicas_succeed_together_and_one_failure_ends_all(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    script = (
        f'case "$TASK_CLUSTER_DEFINE" in *\'"selfEndpointIdx":1\'*) echo second; exit 6;; esac; echo first; {FOR_EVER}'
    )
    (result,) = await run(runtime, task_of(lab, [script], replicas=2))
    assert (result.exit_code, result.message) == (6, "replica 1: exit code 6")
    key = PartyKey(1, 0, 0, 0)
    assert await runtime.replicas(key) == 2
    assert await output(runtime, key, replica=1) == b"second\n"


async def test_output_beyond_its_limit_loses_its_oldest_part(lab: RuntimeLab) -> None:
    runtime = await lab.open(output_limit_bytes=64 * 1024)
    script = "i=0; while [ $i -lt 6000 ]; do echo a-line-of-output-number-$i-with-some-more-text; i=$((i+1)); done"
    (result,) = await run(runtime, task_of(lab, [script]))
    assert result.succeeded
    piece = await runtime.read_output(PartyKey(1, 0, 0, 0), OutputStream.STDOUT, 0)
    assert piece.offset > 0
    told = await output(runtime, PartyKey(1, 0, 0, 0))
    assert told.endswith(b"number-5999-with-some-more-text\n"), told[-300:]


async def arrivals_of_steps(lab: RuntimeLab) -> Sequence[Arrival]:
    """When the four lines arrived that a program writes to its outputs in turn, half a second apart."""
    first = await lab.open()
    began_at = time.time() // 0.01 * 0.01  # some engines tell no more digits
    script = "echo one; sleep 0.5; echo two >&2; sleep 0.5; echo three; sleep 0.5; echo four >&2; exit 1"
    parties = await started(first, task_of(lab, [script]))
    key = parties[0].key
    await said(first, key, b"one\n")
    await lab.cut(first)
    second = await lab.open()
    await second.attach(parties[0])
    await second.wait(key)
    known = await second.arrivals(key)
    times = [began_at, *(each.at for each in known), time.time()]
    assert times == sorted(times)
    sizes = [await second.output_size(key, stream) for stream in OutputStream]
    assert sizes == [10, 9]
    return known


async def test_it_is_known_when_output_arrived(lab: RuntimeLab) -> None:
    """Some engines tell whole seconds."""
    known = await arrivals_of_steps(lab)
    steps = [(0, 0), *((each.stdout, each.stderr) for each in known)]
    assert steps[-1] == (10, 9)
    for (stdout, stderr), (later_stdout, later_stderr) in itertools.pairwise(steps):
        assert later_stdout >= stdout
        assert later_stderr >= stderr
    runtime = await lab.open()
    assert not await runtime.arrivals(PartyKey(99, 0, 1, 0))


async def test_when_output_arrived_is_known_also_of_what_was_dropped(lab: RuntimeLab) -> None:
    runtime = await lab.open(output_limit_bytes=64 * 1024)
    script = "i=0; while [ $i -lt 6000 ]; do echo a-line-of-output-number-$i-with-some-more-text; i=$((i+1)); done"
    await run(runtime, task_of(lab, [script]))
    size = await runtime.output_size(PartyKey(1, 0, 0, 0), OutputStream.STDOUT)
    assert size == sum(len(f"a-line-of-output-number-{number}-with-some-more-text\n") for number in range(6000))
    assert (await runtime.arrivals(PartyKey(1, 0, 0, 0)))[-1].stdout == size


async def test_the_machine_of_a_party_is_known(lab: RuntimeLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [FOR_EVER]))
    assert (await runtime.node(parties[0].key)).name
    await runtime.stop(parties[0].key)
