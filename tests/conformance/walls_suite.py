"""What surrounds a program in a container or pod. A room of tests gives the fixture `lab`, a HostedLab with walls."""

import asyncio

from kusciajob.contracts import PartyKey, StartFailed
from kusciajob.model.appimage import Image, Port, Quantities
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.support.runtime_lab import CONFIG, HostedLab, placed, task_of

MAIN = Port("main", protocol="TCP", scope="Cluster")
CALL_ALICE = r"""
alice=$(echo "$TASK_CLUSTER_DEFINE" | sed 's/.*"name":"alice"[^]]*"endpoints":\["\([^"]*\)".*/\1/')
until answer=$(nc -w 2 ${alice%:*} ${alice##*:} </dev/null 2>/dev/null) && [ -n "$answer" ]; do sleep 0.2; done
echo $answer
"""
ANSWER = "while :; do echo hello-from-alice | nc -l -p $KUSCIA_PORT_MAIN_NUMBER; done"


async def test_parties_of_a_task_reach_each_other_by_the_names_that_they_are_told(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [ANSWER, CALL_ALICE], ports=[MAIN]))
    assert (await runtime.wait(parties[1].key)).succeeded
    assert await output(runtime, parties[1].key) == b"hello-from-alice\n"
    await runtime.stop(parties[0].key)


async def test_config_files_are_at_their_absolute_paths_and_cannot_be_written(lab: HostedLab) -> None:
    runtime = await lab.open()
    script = f"cat {CONFIG}; echo; echo more >> {CONFIG} && echo written; exit 0"
    (result,) = await run(runtime, task_of(lab, [script], config='{"domain": "{{.KUSCIA_DOMAIN_ID}}"}'))
    assert result.succeeded, result
    assert await output(runtime, PartyKey(1, 0, 0, 0)) == b'{"domain": "alice"}\n'


async def test_a_domain_has_its_own_data_and_nobody_elses(lab: HostedLab) -> None:
    runtime = await lab.open()
    write = "echo $KUSCIA_DOMAIN_ID > $KUSCIAJOB_DOMAIN_DIR/mine; ls $KUSCIAJOB_DOMAIN_DIR"
    assert all(result.succeeded for result in await run(runtime, task_of(lab, [write, write])))
    read = "cat $KUSCIAJOB_DOMAIN_DIR/mine"
    await run(runtime, task_of(lab, [read, read], job=2))
    assert await output(runtime, PartyKey(2, 0, 0, 0)) == b"alice\n"
    assert await output(runtime, PartyKey(2, 0, 0, 1)) == b"bob\n"


async def test_a_program_beyond_its_memory_limit_is_killed_and_told_so(lab: HostedLab) -> None:
    runtime = await lab.open()
    script = "echo begun; tail /dev/zero"
    (result,) = await run(runtime, task_of(lab, [script], limits=Quantities(memory="32Mi")))
    assert not result.succeeded
    assert result.message == "killed: memory limit 32Mi"


async def test_an_image_that_cannot_be_had_is_told_by_its_name(lab: HostedLab) -> None:
    runtime = await lab.open()
    lab.image = Image("localhost/no-such-image", "9")
    parties = await placed(runtime, task_of(lab, ["exit 0"]))
    starting = asyncio.create_task(runtime.start(parties[0]))
    reason = asyncio.create_task(lab.told(parties[0].key, "localhost/no-such-image:9: "))
    await asyncio.wait({starting, reason}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        assert isinstance(starting.exception(), StartFailed)
        assert "localhost/no-such-image:9: " in str(starting.exception())
    else:
        assert reason.done()
    for task in (starting, reason):
        task.cancel()
    await asyncio.gather(starting, reason, return_exceptions=True)
    await runtime.stop(parties[0].key)
    assert not await lab.leftovers()


async def test_a_program_is_not_root_and_gains_no_privileges(lab: HostedLab) -> None:
    runtime = await lab.open()
    script = "id -u; grep -E 'NoNewPrivs|CapEff|Seccomp:' /proc/self/status"
    (result,) = await run(runtime, task_of(lab, [script]))
    assert result.succeeded, result
    told = (await output(runtime, PartyKey(1, 0, 0, 0))).decode().split()
    assert told[0] != "0"
    assert told[1:] == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]


async def test_a_program_sees_nothing_of_the_server(lab: HostedLab) -> None:
    runtime = await lab.open()
    parties = await started(runtime, task_of(lab, [f"env; ls /; {FOR_EVER}"]))
    await said(runtime, parties[0].key, b"proc\n")
    told = await output(runtime, parties[0].key)
    assert b"KUSCIAJOB_RUNTIME" not in told
    assert b"work\n" not in told
    await runtime.stop(parties[0].key)
