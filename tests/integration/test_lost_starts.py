"""A start whose outcome is unknown is not "not started": the process runtime keeps the party until it knows its end."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kusciajob.contracts import NoCapacity, PartySpec, StartFailed
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.model import transitions
from kusciajob.model.job import Party
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.runtime.process.shim.processes import list_processes, marker_of, read_marker
from kusciajob.runtime.process.shim_client import PartyState, ShimClient, ShimError, ShimUnavailable
from kusciajob.scheduler.worker import party_specs
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.images import write_image
from tests.support.polling import eventually
from tests.support.ports import free_range


class ForgetfulClient(ShimClient):
    """Loses the answer of each start, and fails as many requests to recover as it is told."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failing_recoveries = 0

    async def start(self, key: str, **fields: Any) -> PartyState:
        await super().start(key, **fields)
        self.forget(key)
        raise ShimUnavailable("no answer")

    async def recover(self, key: str, directory: Path) -> PartyState:
        self.failing_recoveries -= 1
        if self.failing_recoveries >= 0:
            raise ShimUnavailable("no answer")
        return await super().recover(key, directory)


@pytest.fixture
def client(tmp_path: Path) -> ForgetfulClient:
    return ForgetfulClient(tmp_path / "data")


def new_runtime(tmp_path: Path, client: ShimClient) -> ProcessRuntime:
    """One that has a port for a single party."""
    runtime = ProcessRuntime(
        directory=tmp_path / "data",
        domains=tmp_path / "domains",
        path="",
        ports=free_range(1),
        stop_grace_seconds=0.3,
        progress_url=lambda _: "http://127.0.0.1:9/",
    )
    runtime._shim = client
    return runtime


@pytest.fixture
async def runtime(tmp_path: Path, client: ForgetfulClient) -> AsyncIterator[ProcessRuntime]:
    runtime = new_runtime(tmp_path, client)
    await runtime.open()
    yield runtime
    await runtime.close()


@pytest.fixture
async def party(tmp_path: Path, runtime: ProcessRuntime) -> PartySpec:
    """With its reservations; it would run for ever."""
    write_image(tmp_path / "images", "app", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], ports=["peer"])
    lone = replace(task(), parties=(Party("alice"),))
    job = transitions.admit(replace(new_job(job_spec(tasks=[lone])), number=1), 0, now=NOW)
    image = AppImageCatalog(tmp_path / "images").get("app")
    endpoints = await runtime.allocate(party_specs(job, 0, image))
    (placed,) = party_specs(transitions.place(job, 0, endpoints, now=NOW), 0, image)
    return placed


def programs(runtime: ProcessRuntime, party: PartySpec) -> list[int]:
    """What lives of the party, by its marker."""
    marker = marker_of(str(party.key), str(runtime._directory(party.key)))
    return [pid for pid in list_processes() if read_marker(pid) == marker]


async def start_in_vain(runtime: ProcessRuntime, party: PartySpec) -> None:
    with pytest.raises(StartFailed) as caught:
        await runtime.start(party)
    assert caught.value.detail == "no answer"
    await eventually(lambda: programs(runtime, party))


def another(party: PartySpec) -> PartySpec:
    return replace(party, key=replace(party.key, attempt=2), endpoints=())


async def assert_room(runtime: ProcessRuntime, party: PartySpec) -> None:
    """The party has no reservations any more."""
    assert await runtime.allocate([another(party)])


async def assert_no_room(runtime: ProcessRuntime, party: PartySpec) -> None:
    """The party has its reservations still."""
    with pytest.raises(NoCapacity):
        await runtime.allocate([another(party)])


async def test_a_party_without_an_answer_keeps_its_reservations_until_it_is_gone(
    runtime: ProcessRuntime, party: PartySpec
) -> None:
    await start_in_vain(runtime, party)
    await assert_no_room(runtime, party)
    await runtime.stop(party.key)
    assert programs(runtime, party) == []
    await assert_room(runtime, party)


async def test_a_survivor_of_a_killed_shim_is_ended_by_the_stop(
    runtime: ProcessRuntime, party: PartySpec, client: ForgetfulClient
) -> None:
    await start_in_vain(runtime, party)
    assert client.shim_pid is not None
    os.kill(client.shim_pid, signal.SIGKILL)
    await runtime.stop(party.key)
    assert programs(runtime, party) == []
    await assert_room(runtime, party)


async def test_a_stop_that_cannot_know_is_an_error_and_frees_nothing(
    runtime: ProcessRuntime, party: PartySpec, client: ForgetfulClient
) -> None:
    await start_in_vain(runtime, party)
    client.failing_recoveries = 1
    with pytest.raises(ShimError):
        await runtime.stop(party.key)
    await assert_no_room(runtime, party)
    await runtime.stop(party.key)
    assert programs(runtime, party) == []
    await assert_room(runtime, party)


async def test_a_party_whose_end_cannot_be_known_is_not_told_to_have_ended(
    runtime: ProcessRuntime, party: PartySpec, client: ForgetfulClient
) -> None:
    await start_in_vain(runtime, party)
    await runtime.attach(party)
    client._end(str(party.key), ShimError("party cannot be recovered: no descriptors"))
    with pytest.raises(ShimError, match="no descriptors"):
        await runtime.wait(party.key)
    await assert_no_room(runtime, party)
    await runtime.stop(party.key)
    assert programs(runtime, party) == []
    await assert_room(runtime, party)


async def test_after_a_stop_a_start_that_was_still_on_its_way_starts_nothing(
    runtime: ProcessRuntime, party: PartySpec, tmp_path: Path
) -> None:
    directory = tmp_path / "data" / "runs" / str(party.key)
    directory.mkdir(parents=True)
    await runtime.attach(party)  # of an earlier server, whose request is still in the shim's queue
    await runtime.stop(party.key)
    late = ShimClient(tmp_path / "data")
    await late.connect()
    state = await late.start(str(party.key), argv=["/bin/sleep", "600"], env={}, cwd="/", directory=directory)
    assert state.state == "lost"
    assert programs(runtime, party) == []
    await late.close()


async def test_a_program_that_could_not_be_started_leaves_no_reservation(
    runtime: ProcessRuntime, party: PartySpec
) -> None:
    runtime._shim = ShimClient(runtime._runs.parent)
    broken = replace(party, image=replace_command(party))
    with pytest.raises(StartFailed) as caught:
        await runtime.start(broken)
    assert "does not exist" in caught.value.detail
    await runtime.stop(party.key)
    await assert_room(runtime, party)


def replace_command(party: PartySpec) -> Any:
    """The party's AppImage with a program that there is not."""
    assert party.image is not None
    (deploy,) = party.image.deploy_templates
    (container,) = deploy.containers
    container = replace(container, command=("/no/such/program",))
    return replace(party.image, deploy_templates=(replace(deploy, containers=(container,)),))


async def test_what_a_deleted_job_left_goes_also_where_nobody_may_write(
    runtime: ProcessRuntime, party: PartySpec, tmp_path: Path
) -> None:
    locked = tmp_path / "data" / "runs" / "1" / "0.1" / "0" / "root" / "cache"
    (locked / "inner").mkdir(parents=True)
    (locked / "inner" / "file").write_text("kept by nobody")
    (tmp_path / "elsewhere").mkdir(mode=0o500)
    (locked / "link").symlink_to(tmp_path / "elsewhere")
    locked.chmod(0o500)
    await start_in_vain(runtime, party)
    await runtime.stop_job(1)
    await runtime.remove(1)
    await eventually(lambda: not (tmp_path / "data" / "runs" / "1").exists())
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o500
    assert programs(runtime, party) == []
    await assert_room(runtime, party)


async def test_a_program_that_has_deleted_its_directory_is_ended_with_its_job(
    runtime: ProcessRuntime, party: PartySpec, tmp_path: Path
) -> None:
    await start_in_vain(runtime, party)
    shutil.rmtree(tmp_path / "data" / "runs" / "1")
    await runtime.stop_job(1)
    await runtime.remove(1)
    assert programs(runtime, party) == []
    await assert_room(runtime, party)
