"""The OpenAPI document: valid, and true to what the gateway answers."""

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2
from kusciajob.api.http import openapi
from kusciajob.api.routes import ROUTES, V1_ROUTES, Route, variables_in
from kusciajob.wire.json import from_json, to_json

DOCUMENT = json.loads(openapi.document())


def schema_of(name: str) -> OAS31Validator:
    return OAS31Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_it_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_an_operation_of_its_own_name() -> None:
    paths: dict[str, dict[str, Any]] = DOCUMENT["paths"]
    methods: dict[str, list[str]] = {}
    for route in (*ROUTES, *V1_ROUTES):
        methods.setdefault(route.path, []).extend(method.lower() for method in route.http_methods)
    assert {path: sorted(operations) for path, operations in paths.items()} == {
        path: sorted(names) for path, names in methods.items()
    }
    names = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(set(names)) == len(names)


full_status = pb.JobStatusDetail(
    state="Running",
    tasks=[{"progress": 0.42, "parties": [{"endpoints": [{"port_name": "p"}]}]}],
    stage_status_list=[{"state": "x"}],
    approve_status_list=[{"state": "y"}],
)
full_task = pb.TaskConfig(
    parties=[{"resources": {"cpu": "1"}, "bandwidth_limits": [{"limit_kbps": 2**63}]}], schedule_config={}
)


@pytest.mark.parametrize(
    "message",
    [
        *(route.response() for route in ROUTES),
        pb.WatchJobEventResponse(type=pb.HEARTBEAT, object=pb.JobStatus(status=full_status)),
        pb.QueryJobResponse(data=pb.QueryJobResponseData(tasks=[full_task], custom_fields={"a": "b"})),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_answered_has_its_schema(message: Message) -> None:
    schema_of(message.DESCRIPTOR.name).validate(json.loads(to_json(message)))


full_job = jobs_pb2.Job(
    summary=jobs_pb2.JobSummary(create_time={"seconds": 5, "nanos": 7}, task_states={"Failed": 1}, labels={"a": "b"}),
    request=jobs_pb2.SubmitJobRequest(
        job={"job_id": "a"},
        task_policies={"first": jobs_pb2.TaskPolicy(retry={"first_backoff": {"seconds": 1, "nanos": 500_000_000}})},
        deadline={"seconds": 90},
    ),
    status=full_status,
    tasks=[{"attempts": [{"parties": [{"exit_code": 0}, {"signal": "SIGKILL"}]}]}],
)


@pytest.mark.parametrize(
    "message",
    [
        *(route.response() for route in V1_ROUTES),
        jobs_pb2.GetJobResponse(job=full_job),
        jobs_pb2.WatchJobsResponse(type=jobs_pb2.WatchJobsResponse.TYPE_LEFT, job=full_job.summary),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_v1_answers_has_its_schema_and_can_be_read_again(message: Message) -> None:
    body = to_json(message)
    schema_of(message.DESCRIPTOR.full_name).validate(json.loads(body))
    assert from_json(body, type(message)) == message


@pytest.mark.parametrize("route", V1_ROUTES, ids=lambda route: route.name)
def test_each_field_of_a_request_has_its_place(route: Route) -> None:
    operation = DOCUMENT["paths"][route.path][route.http_methods[0].lower()]
    places = {parameter["name"]: parameter["in"] for parameter in operation["parameters"]}
    fields = {str(field.name) for field in route.call.input_type.fields}
    if route.has_body:
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("Request")
        assert not places
    else:
        assert {name for name, place in places.items() if place == "path"} == set(variables_in(route.path))
        assert set(places) - {"Last-Event-ID"} == fields
    content = operation["responses"]["200"]["content"]
    kinds = {"application/x-ndjson", "text/event-stream"} if route.is_stream else {"application/json"}
    assert set(content) == kinds


def test_another_form_does_not_have_it() -> None:
    wrong: list[Any] = [{"status": 5}, {"status": {"code": "0"}}, {"data": {"tasks": {}}}]
    assert not any(schema_of("QueryJobResponse").is_valid(answer) for answer in wrong)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(-(2**31), 2**31 - 1), st.text(max_size=5), st.none() | st.just({"task_timeout_seconds": 5}))
def test_what_the_schema_asks_for_can_be_read(number: int, text: str, schedule: dict[str, int] | None) -> None:
    request = {"job_id": text, "max_parallelism": number, "tasks": [{"schedule_config": schedule}], "header": None}
    schema_of("CreateJobRequest").validate(request)
    assert from_json(json.dumps(request).encode(), pb.CreateJobRequest).max_parallelism == number
