"""What the process runtime reserves for a party is free again after each way to its end, all of it and no more."""

from pathlib import Path

import pytest

from kusciajob.contracts import NoCapacity, PartyKey, PartySpec
from kusciajob.model.appimage import AppImage, Container, DeployTemplate, Port
from kusciajob.model.job import Party, Task
from kusciajob.runtime.process.runtime import ProcessRuntime
from tests.support.builders import job_spec
from tests.support.ports import free_range

IMAGE = AppImage("app", (DeployTemplate("app", (Container("main", command=("true",), ports=(Port("own"),)),)),))


@pytest.fixture
def runtime(tmp_path: Path) -> ProcessRuntime:
    """With ports for three parties."""
    return ProcessRuntime(
        directory=tmp_path / "data",
        domains=tmp_path / "domains",
        path="",
        ports=free_range(3),
        stop_grace_seconds=0.1,
        progress_url=lambda _: "",
    )


def parties(job: int, count: int) -> list[PartySpec]:
    members = tuple(Party(f"domain-{at}") for at in range(count))
    spec = job_spec(f"job-{job}", tasks=[Task("t", "app", members)])
    return [PartySpec(PartyKey(job, 0, 1, at), f"t{job}", spec, IMAGE) for at in range(count)]


async def test_a_removed_job_gives_all_its_ports_back_and_no_others(runtime: ProcessRuntime) -> None:
    await runtime.allocate(parties(1, 2))
    await runtime.allocate(parties(2, 1))
    await runtime.stop_job(1)
    await runtime.allocate(parties(3, 2))
    with pytest.raises(NoCapacity):
        await runtime.allocate(parties(4, 1))


async def test_a_party_that_never_started_gives_its_ports_back_once(runtime: ProcessRuntime) -> None:
    first, second = parties(1, 2)
    await runtime.allocate([first, second])
    await runtime.stop(first.key)
    await runtime.allocate(parties(2, 2))
    await runtime.stop(first.key)
    with pytest.raises(NoCapacity):
        await runtime.allocate(parties(3, 1))


async def test_a_task_that_is_refused_keeps_nothing(runtime: ProcessRuntime) -> None:
    with pytest.raises(NoCapacity):
        await runtime.allocate(parties(1, 4))
    await runtime.allocate(parties(2, 3))
