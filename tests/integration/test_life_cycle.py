"""The life of jobs through gRPC, driven by stubs that were compiled from Kuscia's declarations, not by ours."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from kusciajob.testing.session import TestKit
from tests.support.polling import PATIENCE_SECONDS

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
    """A Kuscia client: foreign stubs, and a watch from the beginning."""

    def __init__(self, kuscia: TestKit, foreign: tuple[ModuleType, ModuleType]) -> None:
        self.pb, stubs = foreign
        self._kuscia = kuscia
        self._channel = grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub: Any = stubs.JobServiceStub(self._channel)
        self._watch = self.stub.WatchJob(self.pb.WatchJobRequest())
        self._watch.initial_metadata()

    def close(self) -> None:
        self._channel.close()

    def told(self) -> list[Any]:
        """All events up to now; there are no more after that."""
        self._kuscia.settle()
        self._kuscia.faults.cut_watches()
        events = []
        with suppress(grpc.RpcError):
            events.extend(self._watch)
        return events

    def name(self, event: Any) -> str:
        name: str = self.pb.EventType.Name(event.type)
        return name

    def job(self, job_id: str, **fields: Any) -> Any:
        party = [self.pb.Party(domain_id="alice", role="client"), self.pb.Party(domain_id="bob", role="server")]
        tasks = [
            self.pb.Task(app_image="any", alias="first", parties=party),
            self.pb.Task(app_image="any", alias="second", parties=party, dependencies=["first"]),
        ]
        return self.pb.CreateJobRequest(job_id=job_id, initiator="alice", **{"tasks": tasks, **fields})

    def finished(self, job_id: str) -> Any:
        self._kuscia.settle()
        data = self.stub.QueryJob(self.pb.QueryJobRequest(job_id=job_id)).data
        assert data.status.end_time
        return data


@pytest.fixture
def client(kuscia: TestKit, foreign: tuple[ModuleType, ModuleType]) -> Iterator[Client]:
    client = Client(kuscia, foreign)
    yield client
    client.close()


def test_a_job_from_creation_to_deletion(client: Client) -> None:
    created = client.stub.CreateJob(client.job("cycle", custom_fields={"team": "risk"}))
    assert (created.status.code, created.status.message, created.data.job_id) == (0, "success", "cycle")

    job = client.finished("cycle")
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

    deleted = client.stub.DeleteJob(client.pb.DeleteJobRequest(job_id="cycle"))
    assert (deleted.status.code, deleted.data.job_id) == (0, "cycle")
    unknown = client.stub.QueryJob(client.pb.QueryJobRequest(job_id="cycle"))
    assert (unknown.status.code, unknown.status.message) == (11202, 'job "cycle" not found')
    assert not unknown.HasField("data")

    events = client.told()
    told = [(client.name(event), event.object.status.state) for event in events]
    assert told[0] == ("ADDED", "Pending")
    assert told[-1] == ("DELETED", "Succeeded")
    assert told[-2] == ("MODIFIED", "Succeeded")
    assert {kind for kind, _ in told[1:-1]} == {"MODIFIED"}
    states = [state for _, state in told]
    assert states == sorted(states, key=["Pending", "Running", "Succeeded"].index)
    for event in events:
        assert bool(event.object.status.end_time) == (event.object.status.state == "Succeeded")


def test_every_state_of_a_task_is_told_however_short(client: Client) -> None:
    client.stub.CreateJob(client.job("quick"))
    events = client.told()
    for index in (0, 1):
        states = [event.object.status.tasks[index].state for event in events]
        assert list(dict.fromkeys(states)) == ["Pending", "Running", "Succeeded"]


def test_delete_and_create_of_the_same_id_at_once(client: Client) -> None:
    task_ids = set()
    for _ in range(10):
        assert client.stub.CreateJob(client.job("again")).status.code == 0
        response = client.stub.QueryJob(client.pb.QueryJobRequest(job_id="again"))
        task_ids |= {task.task_id for task in response.data.tasks}
        assert client.stub.DeleteJob(client.pb.DeleteJobRequest(job_id="again")).status.code == 0
    assert len(task_ids) == 20
    client.stub.CreateJob(client.job("again"))
    assert client.finished("again").status.state == "Succeeded"
    kinds = [client.name(event) for event in client.told() if event.type != client.pb.MODIFIED]
    assert kinds == ["ADDED", "DELETED"] * 10 + ["ADDED"]


def test_creating_the_same_job_twice_is_one_job_another_spec_is_refused(client: Client) -> None:
    assert client.stub.CreateJob(client.job("twin")).status.code == 0
    assert client.stub.CreateJob(client.job("twin")).status.code == 0
    other = client.stub.CreateJob(client.job("twin", max_parallelism=2))
    assert other.status.code == 11201
    assert "already exists with another specification" in other.status.message
    assert not other.HasField("data")
    assert [client.name(event) for event in client.told()].count("ADDED") == 1


def test_batch_query_answers_in_order_and_names_all_that_are_unknown(client: Client) -> None:
    for job_id in ("b-1", "b-2", "b-3"):
        client.stub.CreateJob(client.job(job_id))
    ask = client.pb.BatchQueryJobStatusRequest
    response = client.stub.BatchQueryJobStatus(ask(job_ids=["b-3", "b-1", "b-2"]))
    assert [job.job_id for job in response.data.jobs] == ["b-3", "b-1", "b-2"]

    unknown = client.stub.BatchQueryJobStatus(ask(job_ids=["b-1", "lost-1", "lost-2"]))
    assert (unknown.status.code, unknown.status.message) == (11203, 'jobs "lost-1", "lost-2" not found')
    assert not unknown.HasField("data")
    for job_ids, text in (([], "job_ids is empty"), (["b-1", ""], "job_ids[1] is empty")):
        refused = client.stub.BatchQueryJobStatus(ask(job_ids=job_ids))
        assert refused.status.code == 11100
        assert refused.status.message.startswith(text)


def test_stop_says_who_and_why_and_is_without_effect_afterwards(kuscia: TestKit, client: Client) -> None:
    kuscia.task("first").hangs()
    client.stub.CreateJob(client.job("halt"))

    request = client.pb.StopJobRequest(job_id="halt", reason="enough")
    assert client.stub.StopJob(request).status.code == 0
    job = client.finished("halt")
    assert job.status.state == "Failed"
    assert job.status.err_msg == "Party: master execute the cmd: Stop. Reason: enough"
    assert [(task.state, task.err_msg) for task in job.status.tasks] == [("Failed", "Job was stopped")] * 2
    assert job.status.stage_status_list[0].state == "JobStopStageSucceeded"

    assert client.stub.StopJob(request).status.code == 0
    assert client.finished("halt").status == job.status
    unknown = client.stub.StopJob(client.pb.StopJobRequest(job_id="nobody"))
    assert (unknown.status.code, unknown.status.message) == (11205, 'job "nobody" not found')


def test_watch_ends_cleanly_after_its_timeout(kuscia: TestKit, client: Client) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest(timeout_seconds=3600))
    call.initial_metadata()
    kuscia.clock.advance(hours=1)
    assert list(call) == []
    assert call.code() == grpc.StatusCode.OK


def test_a_watch_tells_that_it_is_in_place_before_there_is_an_event(client: Client) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest(), timeout=PATIENCE_SECONDS)
    call.initial_metadata()  # else it comes with the end of the call
    assert call.is_active()
    call.cancel()


@pytest.mark.parametrize("seconds", [-1, 2**31])
def test_watch_refuses_a_timeout_out_of_range(client: Client, seconds: int) -> None:
    call = client.stub.WatchJob(client.pb.WatchJobRequest(timeout_seconds=seconds))
    with pytest.raises(grpc.RpcError) as refused:
        next(call)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"timeout_seconds {seconds} is out of range" in (refused.value.details() or "")
