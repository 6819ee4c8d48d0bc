"""What a test breaks on the wire is broken just so, over gRPC and HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from kusciajob.api import kuscia as messages
from kusciajob.client import CallFailed, Change, ChangeType, Client, ClientError, JobSpec, Task, Unavailable
from kusciajob.testing import KitError
from kusciajob.testing.session import TestKit
from tests.support.polling import PATIENCE_SECONDS
from tests.support.program import kusciajob


@pytest.fixture
def stub(kuscia: TestKit) -> Iterator[Any]:
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield messages.JobServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio


def request(job_id: str = "j1") -> messages.CreateJobRequest:
    task = messages.Task(alias="train", app_image="app", parties=[messages.Party(domain_id="alice")])
    return messages.CreateJobRequest(job_id=job_id, initiator="alice", tasks=[task])


def spec(job_id: str = "j1") -> JobSpec:
    return JobSpec(job_id, "alice", [Task("train", "app", ["alice"])])


def post(kuscia: TestKit, path: str, body: object) -> tuple[int, dict[str, object]]:
    sent = urllib.request.Request(
        f"http://{kuscia.http_address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_call_ends_with_a_status_so_many_times(kuscia: TestKit, stub: Any) -> None:
    kuscia.faults.answer("CreateJob", grpc="UNAVAILABLE", message="try later", times=2)
    for _ in range(2):
        with pytest.raises(grpc.RpcError, match="try later") as failure:
            stub.CreateJob(request())
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert stub.CreateJob(request()).status.code == 0
    assert [call.outcome for call in kuscia.calls] == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert [call.fault for call in kuscia.calls] == [1, 1, 0]
    assert kuscia.faults.matched == [2]


def test_a_client_of_ours_tries_again(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.faults.answer("CreateJob", grpc="UNAVAILABLE", times=2)
    kuscia_client.create(spec())
    assert [call.method for call in kuscia.calls].count("CreateJob") == 3


def test_a_call_has_kuscias_name_whoever_calls(kuscia: TestKit, stub: Any, kuscia_client: Client) -> None:
    kuscia.faults.delay("CreateJob", 0.001, times=0)
    stub.CreateJob(request())
    post(kuscia, "/api/v1/job/create", MessageToDict(request("j2"), preserving_proto_field_name=True))
    kuscia_client.create(spec("j3"))
    post(kuscia, "/v1/jobs", {"job": MessageToDict(request("j4"), preserving_proto_field_name=True)})
    created = [call for call in kuscia.calls if call.method == "CreateJob"]
    assert [call.rpc.rpartition(".")[2] for call in created] == ["CreateJob", "CreateJob", "SubmitJob", "SubmitJob"]
    assert [call.outcome for call in created] == ["OK"] * 4
    assert kuscia.faults.matched == [4]


def test_a_fault_can_be_for_the_rpc_of_one_api(kuscia: TestKit, stub: Any, kuscia_client: Client) -> None:
    kuscia.faults.answer("SubmitJob", grpc="PERMISSION_DENIED")
    assert stub.CreateJob(request()).status.code == 0
    with pytest.raises(ClientError, match="a test has injected this fault"):
        kuscia_client.create(spec())


def test_a_stream_can_answer_with_a_code_in_its_body(kuscia: TestKit) -> None:
    kuscia.faults.answer("QueryLog", code=13200, message="no log today")
    with grpc.insecure_channel(kuscia.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        logs: Any = messages.LogServiceStub(channel)  # type: ignore[arg-type]  # typed for grpc.aio
        answers = list(logs.QueryLog(messages.QueryLogRequest(task_id="t1"), timeout=PATIENCE_SECONDS))
    assert [(answer.status.code, answer.status.message) for answer in answers] == [(13200, "no log today")]


def test_an_answer_has_a_code_in_its_body(kuscia: TestKit, stub: Any) -> None:
    kuscia.faults.answer("Create*", code=11201, message="the store is full", skip=1)
    assert stub.CreateJob(request()).status.code == 0
    status = stub.CreateJob(request("j2")).status
    assert (status.code, status.message) == (11201, "the store is full")
    assert stub.QueryJob(messages.QueryJobRequest(job_id="j2")).status.code == 11202


def test_an_answer_is_lost_after_the_call_took_effect(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.faults.lose_answer("CreateJob")
    kuscia_client.create(spec()).result(timeout=60)
    kuscia.faults.lose_answer("DeleteJob")
    kuscia_client.job("j1").delete()
    assert kuscia_client.statuses("j1", missing="skip") == {}


def test_http_shows_the_same(kuscia: TestKit) -> None:
    body = {"job_id": "j1", "initiator": "alice", "tasks": []}
    kuscia.faults.answer("CreateJob", grpc="UNAVAILABLE")
    assert post(kuscia, "/api/v1/job/create", body)[0] == 503
    kuscia.faults.answer("CreateJob", code=11201, message="no")
    status, answer = post(kuscia, "/api/v1/job/create", body)
    assert (status, answer["status"]) == (200, {"code": 11201, "message": "no", "details": []})
    kuscia.faults.answer("ListJobs", grpc="PERMISSION_DENIED")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{kuscia.http_address}/v1/jobs", timeout=30)
    kuscia.faults.cut("ListJobs")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://{kuscia.http_address}/v1/jobs", timeout=30)


def test_a_server_that_answers_but_cannot_serve_is_not_told_as_one_that_is_not_there(kuscia: TestKit) -> None:
    kuscia.faults.answer("GetJob", grpc="UNAVAILABLE", message="the job store cannot be read")
    finished = kusciajob("describe", "j1", server=kuscia)
    assert finished.stderr == (
        f"kusciajob: the server at {kuscia.address} cannot serve this now: the job store cannot be read\n"
    )


def test_the_control_itself_is_offered_over_http(kuscia: TestKit) -> None:
    rule = {"where": {"task": "train"}, "script": {"after": "60s", "exit_code": 3}}
    assert post(kuscia, "/v1/testing/scripts", {"rules": [rule]})[0] == 200
    wrong = {"where": {"tusk": "train"}}
    status, answer = post(kuscia, "/v1/testing/scripts", {"rules": [wrong]})
    assert status == 400
    assert "tusk" in json.dumps(answer)
    assert post(kuscia, "/v1/testing/clock", {"by": "3600s"})[1] == {"now": "2030-01-01T01:00:00Z"}
    kuscia.reset()


def test_a_delay_is_one_of_the_servers_time(kuscia: TestKit, stub: Any) -> None:
    kuscia.faults.delay("QueryJob", "1h")
    began = kuscia.clock.now
    stub.QueryJob(messages.QueryJobRequest(job_id="j1"), timeout=PATIENCE_SECONDS)
    assert (kuscia.clock.now - began).total_seconds() == 3600


def test_a_watch_that_is_cut_goes_on_without_loss(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.faults.cut_after(2, "WatchJobs", times=3)
    changes: list[Change] = []
    gate = kuscia.task("train").waits()
    watching = kuscia_client.watch()
    job = kuscia_client.create(spec())
    gate.reached()
    changes.append(next(watching))
    kuscia.faults.cut_watches()
    gate.release()
    job.result(timeout=60)
    kuscia_client.job("j1").delete()
    while changes[-1].type is not ChangeType.DELETED:
        changes.append(next(watching))
    revisions = [change.revision for change in changes if change.revision is not None]
    assert revisions == sorted(set(revisions))
    assert [change.type for change in changes].count(ChangeType.DELETED) == 1


def test_while_the_store_is_down_calls_fail_and_watches_wait(kuscia: TestKit, kuscia_client: Client) -> None:
    job = kuscia_client.create(spec())
    job.result(timeout=60)
    with kuscia.faults.store_down(), pytest.raises(CallFailed, match="the store is down"):
        job.restart()  # what is not tried again
    kuscia_client.create(spec("j2")).result(timeout=60)


def test_a_partition_cuts_every_connection(kuscia: TestKit) -> None:
    with kuscia.client() as client:
        job = client.create(spec())
        with kuscia.faults.partition(), pytest.raises(Unavailable):
            job.restart()  # what is not tried again
    with kuscia.client() as client:
        client.job("j1").result(timeout=60)


def test_a_slow_stream_takes_time(kuscia: TestKit, kuscia_client: Client) -> None:
    kuscia.faults.slow("1h", "WatchJobs", times=1)
    began = kuscia.clock.now
    watching = kuscia_client.watch()
    kuscia_client.create(spec())
    next(watching)
    assert (kuscia.clock.now - began).total_seconds() >= 3600


def test_a_fault_that_cannot_be_is_refused(kuscia: TestKit) -> None:
    with pytest.raises(KitError, match='"CreatJob" matches no RPC'):
        kuscia.faults.answer("CreatJob", grpc="UNAVAILABLE")
    with pytest.raises(KitError, match='"BUSY" is no error'):
        kuscia.faults.answer("CreateJob", grpc="BUSY")
    with pytest.raises(KitError, match="does nothing"):
        kuscia.faults.answer("CreateJob")
