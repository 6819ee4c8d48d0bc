"""What of an AppImage counts in a container."""

import asyncio

import msgspec
import pytest

from kusciajob.contracts import PartyKey, PartySpec, StartFailed
from kusciajob.model.appimage import AppImage, Container
from kusciajob.runtime.hosted.workloads import Policy
from tests.conformance.runtime_suite import FOR_EVER, output, run, said, started
from tests.containers.lab import ContainerLab
from tests.support.runtime_lab import task_of

KEY = PartyKey(1, 0, 0, 0)
RESTARTING = Policy(max_restarts=2)


def of_containers(lab: ContainerLab, *containers: Container, restart_policy: str = "") -> list[PartySpec]:
    """A task of one party with these containers."""
    (party,) = task_of(lab, ["true"])
    assert party.image
    template = msgspec.structs.replace(
        party.image.deploy_templates[0], containers=containers, restart_policy=restart_policy
    )
    image = AppImage("app", (template,), image=lab.image)
    return [msgspec.structs.replace(party, image=image)]


def shell(name: str, script: str) -> Container:
    return Container(name, command=("/bin/sh", "-c", script))


async def test_without_a_command_line_the_images_own_counts(lab: ContainerLab) -> None:
    runtime = await lab.open()
    (result,) = await run(runtime, of_containers(lab, Container("main")))
    assert result.succeeded, result
    assert await output(runtime, KEY) == b"the image's own\n"


async def test_with_arguments_alone_they_are_the_images_command(lab: ContainerLab) -> None:
    runtime = await lab.open()
    (result,) = await run(runtime, of_containers(lab, Container("main", args=("/bin/echo", "other"))))
    assert result.succeeded, result
    assert await output(runtime, KEY) == b"other\n"


async def test_a_program_that_the_image_lacks_cannot_be_started(lab: ContainerLab) -> None:
    runtime = await lab.open()
    with pytest.raises(StartFailed, match=r"cannot be started: .*nowhere"):
        await run(runtime, of_containers(lab, Container("main", command=("/nowhere",))))
    await runtime.stop(KEY)
    assert not await lab.leftovers()


async def test_a_program_that_fails_is_started_again_as_often_as_allowed(lab: ContainerLab) -> None:
    runtime = await lab.open(policy=RESTARTING)
    (result,) = await run(runtime, of_containers(lab, shell("main", "echo run; exit 3"), restart_policy="OnFailure"))
    assert (result.exit_code, result.message) == (3, "exit code 3, after 2 restarts")
    assert await output(runtime, KEY) == b"run\n" * 3


async def test_all_lines_are_kept_of_a_program_that_is_started_again_at_once(lab: ContainerLab) -> None:
    runtime = await lab.open(policy=RESTARTING)
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exit 3"
    await run(runtime, of_containers(lab, shell("main", script), restart_policy="OnFailure"))
    lines = (await output(runtime, KEY)).split()
    assert lines == [b"%d" % at for at in range(3000)] * 3


async def test_a_stopped_program_is_not_started_again(lab: ContainerLab) -> None:
    runtime = await lab.open(policy=RESTARTING)
    script = f"trap 'exit 7' TERM; echo run; {FOR_EVER}"
    parties = await started(runtime, of_containers(lab, shell("main", script), restart_policy="OnFailure"))
    await said(runtime, KEY, b"run")
    waiting = asyncio.create_task(runtime.wait(parties[0].key))
    await runtime.stop(KEY)
    assert (await waiting).exit_code == 7
    assert await output(runtime, KEY) == b"run\n"


async def test_the_containers_of_a_party_share_its_network(lab: ContainerLab) -> None:
    runtime = await lab.open()
    serve = "import http.server as s; s.HTTPServer(('127.0.0.1', 9000), s.SimpleHTTPRequestHandler).handle_request()"
    ask = "while ! wget -q -O /dev/null http://127.0.0.1:9000/; do usleep 50000; done; echo asked; sleep 1"
    # wget of busybox resolves nothing here: a number is enough for it.
    asking = ask.replace("wget -q -O /dev/null http://127.0.0.1:9000/", "echo GET / | nc 127.0.0.1 9000 >/dev/null")
    parties = of_containers(lab, shell("main", f'python3 -c "{serve}"'), shell("side", asking))
    (result,) = await run(runtime, parties)
    assert result.succeeded, result
    assert b"asked\n" in await output(runtime, KEY)


async def test_the_first_container_that_fails_ends_the_others(lab: ContainerLab) -> None:
    runtime = await lab.open()
    parties = of_containers(lab, shell("main", FOR_EVER), shell("side", "echo failing; exit 5"))
    (result,) = await run(runtime, parties)
    assert (result.exit_code, result.message) == (5, "container side: exit code 5")
    assert not await lab.leftovers()
