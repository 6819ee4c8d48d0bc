"""Structured requests to every call of a real server: answered, never with a fault; stored as sent or not at all."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.routes import ROUTES, Route
from tests.fuzz import strategies
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge

pytestmark = pytest.mark.hostile

JOBS = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService"
FAULT = 11101
PROTOBUF = {"Content-Type": "application/x-protobuf"}
_numbers = count()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


def create(edge: Edge, request: pb.CreateJobRequest, form: str) -> pb.CreateJobResponse:
    """By gRPC, HTTP with JSON or HTTP with binary protobuf."""
    if form == "grpc":
        return edge.call(f"{JOBS}/CreateJob", request, pb.CreateJobResponse)
    if form == "protobuf":
        answer = edge.http("POST", "/api/v1/job/create", request.SerializeToString(), PROTOBUF)
        assert answer.status == 200
        return pb.CreateJobResponse.FromString(answer.body)
    body = json_format.MessageToJson(request, preserving_proto_field_name=form == "snake").encode()
    answer = edge.http("POST", "/api/v1/job/create", body)
    assert answer.status == 200
    return json_format.Parse(answer.body, pb.CreateJobResponse())


def as_stored(request: pb.CreateJobRequest, answer: pb.QueryJobResponseData) -> pb.QueryJobResponseData:
    """What QueryJob must tell of the request; ids that the server gave are the answer's."""
    tasks = []
    for task, told in zip(request.tasks, answer.tasks, strict=True):
        config = pb.TaskConfig(task_id=task.task_id or told.task_id)
        for field in ("app_image", "alias", "task_input_config", "priority"):
            setattr(config, field, getattr(task, field))
        config.parties.extend(task.parties)
        config.dependencies.extend(task.dependencies)
        if task.HasField("schedule_config"):
            config.schedule_config.CopyFrom(task.schedule_config)
        tasks.append(config)
    return pb.QueryJobResponseData(
        job_id=request.job_id,
        initiator=request.initiator,
        max_parallelism=max(request.max_parallelism, 1),
        tasks=tasks,
        custom_fields=request.custom_fields,
    )


@examples(40)
@given(request=strategies.jobs, form=st.sampled_from(["grpc", "protobuf", "snake", "camel"]))
def test_a_job_is_stored_as_sent_or_not_at_all(edge: Edge, request: pb.CreateJobRequest, form: str) -> None:
    head = edge.head()
    created = create(edge, request, form)
    if created.status.code:
        assert created.status.code == 11100, created.status
        assert created.status.message
        assert not created.HasField("data")
        assert edge.head() == head
    else:
        ask = pb.QueryJobRequest(job_id=request.job_id)
        answer = edge.call(f"{JOBS}/QueryJob", ask, pb.QueryJobResponse)
        assert answer.status.code == 0, answer.status
        expected = as_stored(request, answer.data)
        answer.data.ClearField("status")
        assert answer.data == expected
        again = create(edge, request, form)
        assert again.status.code == 0, again.status
        delete = pb.DeleteJobRequest(job_id=request.job_id)
        deleted = edge.call(f"{JOBS}/DeleteJob", delete, pb.DeleteJobResponse)
        assert deleted.status.code == 0
    edge.check()


@examples(40)
@given(data=st.data(), route=st.sampled_from([route for route in ROUTES if not route.is_stream]))
def test_every_call_answers_whatever_it_is_asked(edge: Edge, data: st.DataObject, route: Route) -> None:
    request = data.draw(strategies.messages(route.call.input_type))
    service = route.call.containing_service.full_name
    answer: Any = edge.call(f"/{service}/{route.name}", request, route.response)
    assert answer.status.code != FAULT, answer.status
    binary = edge.http("POST", route.path, request.SerializeToString(), PROTOBUF)
    text = edge.http("POST", route.path, json_format.MessageToJson(request).encode())
    assert (binary.status, text.status) == (200, 200)
    told: Any = route.response.FromString(binary.body)
    read: Any = json_format.Parse(text.body, route.response())
    assert told.status.code == read.status.code == answer.status.code
    assert answer.ByteSize() < 20_000 or answer.status.code == 0
    edge.check()


@examples(40)
@given(value=strategies.json_values, route=st.sampled_from(ROUTES))
def test_any_json_over_http(edge: Edge, value: object, route: Route) -> None:
    answer = edge.http("POST", route.path, msgspec.json.encode(value))
    assert answer.status in (200, 400)
    edge.check()


@examples(20)
@given(request=strategies.messages(pb.WatchJobRequest.DESCRIPTOR).filter(lambda request: request.timeout_seconds))
def test_watch_starts_or_says_what_is_wrong(edge: Edge, request: pb.WatchJobRequest) -> None:
    job = pb.CreateJobRequest(
        job_id=f"watched-{next(_numbers)}",
        initiator="alice",
        tasks=[pb.Task(alias="a", app_image="any", parties=[pb.Party(domain_id="alice")])],
    )
    assert create(edge, job, "grpc").status.code == 0
    code, _ = edge.call_bytes(f"{JOBS}/WatchJob", request.SerializeToString())
    is_possible = 0 <= request.timeout_seconds < 2**31
    assert code is (grpc.StatusCode.OK if is_possible else grpc.StatusCode.INVALID_ARGUMENT)
    answer = edge.http("POST", "/api/v1/job/watch", request.SerializeToString(), PROTOBUF)
    assert answer.status == (200 if is_possible else 400)
    edge.check()
