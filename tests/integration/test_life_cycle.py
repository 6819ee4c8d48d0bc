"""The life of jobs through gRPC, driven by stubs that were compiled from Kuscia's declarations, not by ours."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECLARATIONS = Path(__file__).parents[1] / "resources" / "kuscia_declarations"
API = "kuscia.proto.api.v1alpha1.kusciaapi"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, ModuleType]]:
    """(messages, stubs) as another project would have generated them, below the package `kuscia`."""
    out = tmp_path_factory.mktemp("foreign")
    protos = [str(path.relative_to(DECLARATIONS)) for path in DECLARATIONS.rglob("*.proto")]
    compile_protos = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={DECLARATIONS}"]
    subprocess.run([*compile_protos, f"--python_out={out}", f"--grpc_python_out={out}", *protos], check=True)
    sys.path.insert(0, str(out))
    yield import_module(f"{API}.job_pb2"), import_module(f"{API}.job_pb2_grpc")
    sys.path.remove(str(out))


class Client:
    """A Kuscia client: foreign stubs, and every event of one watch from the beginning."""

    def __init__(self, server: RunningServer, foreign: tuple[ModuleType, ModuleType]) -> None:
        self.pb, stubs = foreign
        self.stub: Any = stubs.JobServiceStub(server.channel)
        self.events: list[Any] = []
        self._job_ids: set[str] = set()

    def told(self, job_id: str) -> list[tuple[str, str]]:
        """(event type, job state) of each event of the job, in order."""
        return [
            (self.pb.EventType.Name(event.type), event.object.status.state)
            for event in self.events
            if event.object.job_id == job_id
        ]

    async def watch(self) -> None:
        async for event in self.stub.WatchJob(self.pb.WatchJobRequest()):
            self.events.append(event)

    def job(self, job_id: str, **fields: Any) -> Any:
        self._job_ids.add(job_id)
        party = [self.pb.Party(domain_id="alice", role="client"), self.pb.Party(domain_id="bob", role="server")]
        tasks = [
            self.pb.Task(app_image="any", alias="first", parties=party),
            self.pb.Task(app_image="any", alias="second", parties=party, dependencies=["first"]),
        ]
        return self.pb.CreateJobRequest(job_id=job_id, initiator="alice", **{"tasks": tasks, **fields})

    async def delete_all(self) -> None:
        """What has been asked for and is there still."""
        for job_id in self._job_ids:
            await self.stub.DeleteJob(self.pb.DeleteJobRequest(job_id=job_id))

    async def finished(self, job_id: str) -> Any:
        async def answer() -> Any:
            response = await self.stub.QueryJob(self.pb.QueryJobRequest(job_id=job_id))
            return response.data if response.data.status.end_time else None

        return await eventually_true(answer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path_factory.mktemp("cycle"), runtime="simulated") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: RunningServer, foreign: tuple[ModuleType, ModuleType]) -> AsyncIterator[Client]:
    """The only client of a server that has no job."""
    client = Client(server, foreign)
    watching = asyncio.create_task(client.watch())
    yield client
    watching.cancel()
    await asyncio.wait([watching])
    await client.delete_all()


async def test_a_job_from_creation_to_deletion(client: Client) -> None:
    created = await client.stub.CreateJob(client.job("cycle", custom_fields={"team": "risk"}))
    assert (created.status.code, created.status.message, created.data.job_id) == (0, "success", "cycle")

    job = await client.finished("cycle")
    assert job.status.state == "Succeeded"
    assert [(task.alias, task.state, task.progress) for task in job.status.tasks] == [
        ("first", "Succeeded", 1.0),
        ("second", "Succeeded", 1.0),
    ]
    assert [task.task_id for task in job.tasks] == [task.task_id for task in job.status.tasks]
    assert dict(job.custom_fields) == {"team": "risk"}
    assert [(stage.domain_id, stage.state) for stage in job.status.stage_status_list] == [
        ("alice", "JobStartStageSucceeded"),
        ("bob", "JobStartStageSucceeded"),
    ]

    deleted = await client.stub.DeleteJob(client.pb.DeleteJobRequest(job_id="cycle"))
    assert (deleted.status.code, deleted.data.job_id) == (0, "cycle")
    unknown = await client.stub.QueryJob(client.pb.QueryJobRequest(job_id="cycle"))
    assert (unknown.status.code, unknown.status.message) == (11202, 'job "cycle" not found')
    assert not unknown.HasField("data")

    async def last_event() -> bool:
        return bool(client.told("cycle")) and client.told("cycle")[-1][0] == "DELETED"

    await eventually_true(last_event)
    told = client.told("cycle")
    assert told[0] == ("ADDED", "Pending")
    assert told[-1] == ("DELETED", "Succeeded")
    assert told[-2] == ("MODIFIED", "Succeeded")
    assert {kind for kind, _ in told[1:-1]} == {"MODIFIED"}
    states = [state for _, state in told]
    assert states == sorted(states, key=["Pending", "Running", "Succeeded"].index)
    for event in client.events:
        assert bool(event.object.status.end_time) == (event.object.status.state == "Succeeded")


async def test_every_state_of_a_task_is_told_however_short(client: Client) -> None:
    await client.stub.CreateJob(client.job("quick"))
    await client.finished("quick")

    async def is_told() -> bool:
        return client.told("quick")[-1:] == [("MODIFIED", "Succeeded")]

    await eventually_true(is_told)
    for index in (0, 1):
        states = [event.object.status.tasks[index].state for event in client.events]
        assert list(dict.fromkeys(states)) == ["Pending", "Running", "Succeeded"]


async def test_delete_and_create_of_the_same_id_at_once(client: Client) -> None:
    task_ids = set()
    for _ in range(10):
        assert (await client.stub.CreateJob(client.job("again"))).status.code == 0
        response = await client.stub.QueryJob(client.pb.QueryJobRequest(job_id="again"))
        task_ids |= {task.task_id for task in response.data.tasks}
        assert (await client.stub.DeleteJob(client.pb.DeleteJobRequest(job_id="again"))).status.code == 0
    assert len(task_ids) == 20
    await client.stub.CreateJob(client.job("again"))
    assert (await client.finished("again")).status.state == "Succeeded"

    async def is_told() -> bool:
        return client.told("again")[-1:] == [("MODIFIED", "Succeeded")]

    await eventually_true(is_told)
    kinds = [kind for kind, _ in client.told("again") if kind != "MODIFIED"]
    assert kinds == ["ADDED", "DELETED"] * 10 + ["ADDED"]


async def test_creating_the_same_job_twice_is_one_job_another_spec_is_refused(client: Client) -> None:
    assert (await client.stub.CreateJob(client.job("twin"))).status.code == 0
    assert (await client.stub.CreateJob(client.job("twin"))).status.code == 0
    other = await client.stub.CreateJob(client.job("twin", max_parallelism=2))
    assert other.status.code == 11201
    assert "already exists with another specification" in other.status.message
    assert not other.HasField("data")
    await client.finished("twin")
    assert [kind for kind, _ in client.told("twin")].count("ADDED") == 1


async def test_batch_query_answers_in_order_and_names_all_that_are_unknown(client: Client) -> None:
    for job_id in ("b-1", "b-2", "b-3"):
        await client.stub.CreateJob(client.job(job_id))
    ask = client.pb.BatchQueryJobStatusRequest
    response = await client.stub.BatchQueryJobStatus(ask(job_ids=["b-3", "b-1", "b-2"]))
    assert [job.job_id for job in response.data.jobs] == ["b-3", "b-1", "b-2"]

    unknown = await client.stub.BatchQueryJobStatus(ask(job_ids=["b-1", "lost-1", "lost-2"]))
    assert (unknown.status.code, unknown.status.message) == (11203, 'jobs "lost-1", "lost-2" not found')
    assert not unknown.HasField("data")
    for job_ids, text in (([], "job_ids is empty"), (["b-1", ""], "job_ids[1] is empty")):
        refused = await client.stub.BatchQueryJobStatus(ask(job_ids=job_ids))
        assert refused.status.code == 11100
        assert refused.status.message.startswith(text)


async def test_stop_says_who_and_why_and_is_without_effect_afterwards(client: Client) -> None:
    party = [client.pb.Party(domain_id="alice")]
    slow = client.pb.Task(app_image="any", alias="slow", parties=party, task_input_config='{"seconds": 600}')
    after = client.pb.Task(app_image="any", alias="after", parties=party, dependencies=["slow"])
    await client.stub.CreateJob(client.job("halt", tasks=[slow, after]))

    request = client.pb.StopJobRequest(job_id="halt", reason="enough")
    assert (await client.stub.StopJob(request)).status.code == 0
    job = await client.finished("halt")
    assert job.status.state == "Failed"
    assert job.status.err_msg == "Party: master execute the cmd: Stop. Reason: enough"
    assert [(task.state, task.err_msg) for task in job.status.tasks] == [("Failed", "Job was stopped")] * 2
    assert job.status.stage_status_list[0].state == "JobStopStageSucceeded"

    assert (await client.stub.StopJob(request)).status.code == 0
    assert (await client.finished("halt")).status == job.status
    unknown = await client.stub.StopJob(client.pb.StopJobRequest(job_id="nobody"))
    assert (unknown.status.code, unknown.status.message) == (11205, 'job "nobody" not found')


async def test_watch_ends_cleanly_after_its_timeout(client: Client) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest(timeout_seconds=1))
    assert [event async for event in call] == []
    assert await call.code() == grpc.StatusCode.OK


async def test_a_watch_tells_that_it_is_in_place_before_there_is_an_event(client: Client) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await call.initial_metadata()
    call.cancel()


@pytest.mark.parametrize("seconds", [-1, 2**31])
async def test_watch_refuses_a_timeout_out_of_range(client: Client, seconds: int) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest(timeout_seconds=seconds))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"timeout_seconds {seconds} is out of range" in (refused.value.details() or "")
