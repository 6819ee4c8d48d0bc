"""What keeps a program from others and from its machine."""

import asyncio
from typing import Any

import pytest

from kusciajob.contracts import PartyKey, StartFailed
from kusciajob.model.appimage import Image, Port, Quantities
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.containers.lab import NAME, ContainerLab
from tests.support.runtime_lab import CONFIG, task_of

KEY = PartyKey(1, 0, 0, 0)
SERVE = """
import http.server, os
port = int(os.environ["KUSCIA_PORT_HTTP_NUMBER"])
http.server.ThreadingHTTPServer(("", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
ASK = """
import json, os, sys, time, urllib.request

def status(address):
    try:
        return urllib.request.urlopen(f"http://{address}/", timeout=2).status
    except OSError:
        return "unreached"

bob = json.loads(os.environ["TASK_CLUSTER_DEFINE"])["parties"][1]["services"][0]["endpoints"][0]
while status(bob) != 200:
    time.sleep(0.1)
print("bob 200, stranger", status(sys.argv[1]))
"""
"""Bob is asked by the name that the task has for him, a stranger by number."""


async def told_by(lab: ContainerLab, script: str, **settings: Any) -> list[str]:
    """What a program writes that succeeds."""
    runtime = await lab.open(engine=lab.connect(**settings))
    (result,) = await run(runtime, task_of(lab, [script]))
    assert result.succeeded, result
    return (await output(runtime, KEY)).decode().splitlines()


async def test_a_program_has_no_privileges_and_cannot_gain_any(lab: ContainerLab) -> None:
    told = await told_by(lab, "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2")
    assert told == ["1000", "0000000000000000", "0000000000000000", "1", "2"]


async def test_a_program_sees_only_itself(lab: ContainerLab) -> None:
    told = await told_by(
        lab, "ls /proc | grep -c '^[0-9]'; ls /kuscia/domain | wc -l; touch /kuscia/domain/mine /tmp/mine"
    )
    assert int(told[0]) < 6
    assert told[1] == "0"
    assert [path.name for path in (lab.domains / "alice").iterdir()] == ["mine"]


async def test_limits_are_in_force(lab: ContainerLab) -> None:
    runtime = await lab.open(engine=lab.connect(max_processes=99))
    limits = Quantities(cpu="500m", memory="64Mi")
    parties = await started(runtime, task_of(lab, [FOR_EVER], limits=limits))
    config = (await lab.inspected(parties[0].key))["HostConfig"]
    assert (config["Memory"], config["MemorySwap"]) == (64 << 20, 64 << 20)
    assert (config["NanoCpus"], config["PidsLimit"]) == (500_000_000, 99)
    await runtime.stop(parties[0].key)


async def test_a_program_that_the_memory_limit_kills_says_so(lab: ContainerLab) -> None:
    runtime = await lab.open()
    eating = "exec python3 -c 'x = bytearray(400 * 1024 * 1024)'"
    (result,) = await run(runtime, task_of(lab, [eating], limits=Quantities(memory="64Mi")))
    assert result.message.startswith("killed: memory limit 64Mi")
    assert (result.exit_code, result.is_fault) == (137, False)


async def test_a_stop_by_force_is_not_told_as_the_memory_limit(lab: ContainerLab) -> None:
    runtime = await lab.open()
    script = f"trap '' TERM; echo ready; {FOR_EVER}"
    parties = await started(runtime, task_of(lab, [script], limits=Quantities(memory="64Mi")))
    await said(runtime, parties[0].key, b"ready")
    waiting = asyncio.create_task(runtime.wait(parties[0].key))
    await runtime.stop(parties[0].key)
    assert (await waiting).message == "killed by signal 9 (SIGKILL)"


async def test_an_image_that_runs_as_root_is_refused(lab: ContainerLab) -> None:
    lab.image = Image(NAME, "root")
    runtime = await lab.open()
    with pytest.raises(StartFailed, match=r"runs as root.*container_user, or allow_root"):
        await run(runtime, task_of(lab, ["id -u"]))
    await runtime.stop(KEY)
    assert not await lab.leftovers()


@pytest.mark.parametrize(("settings", "told"), [({"user": "1234"}, "1234"), ({"allow_root": True}, "0")])
async def test_the_operator_says_as_whom_it_runs(lab: ContainerLab, settings: dict[str, Any], told: str) -> None:
    lab.image = Image(NAME, "root")
    assert await told_by(lab, "id -u", **settings) == [told]


async def test_a_user_whom_the_image_names_is_known(lab: ContainerLab) -> None:
    """Secret files and the domain's directory are made for that user."""
    lab.image = Image(NAME, "named")
    assert await told_by(lab, "id -u; touch /kuscia/domain/mine && echo mine") == ["1000", "mine"]


async def test_files_are_at_their_paths_and_read_only(lab: ContainerLab) -> None:
    runtime = await lab.open()
    script = f"cat {CONFIG}; echo no >> {CONFIG} || rm -f {CONFIG} || echo kept; stat -c '%a %u' /etc {CONFIG}"
    (result,) = await run(runtime, task_of(lab, [script], config="{{.TASK_ID}}\n"))
    assert result.succeeded, result
    assert (await output(runtime, KEY)).decode().splitlines() == ["task-1", "kept", "755 0", "444 0"]


async def test_the_parties_of_a_task_reach_each_other_and_nobody_elses(lab: ContainerLab) -> None:
    runtime = await lab.open()
    port = Port("http", scope="Cluster", protocol="HTTP")
    serving = f"exec python3 -c '{SERVE}'"
    strangers = await started(runtime, task_of(lab, [serving], job=2, ports=[port]))
    networks = (await lab.inspected(strangers[0].key))["NetworkSettings"]["Networks"]
    (stranger,) = (network["IPAddress"] for network in networks.values())
    asking = f"exec python3 -c '{ASK}' {stranger}:20000"
    parties = await started(runtime, task_of(lab, [asking, serving], ports=[port]))
    result = await runtime.wait(parties[0].key)
    assert result.succeeded, result
    assert await output(runtime, parties[0].key) == b"bob 200, stranger unreached\n"
    await runtime.stop_job(1)
    await runtime.stop_job(2)
