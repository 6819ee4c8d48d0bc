"""Bytes that are no requests, to every RPC of kusciajob.v1 and every path that takes a body."""

from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.routes import V1_ROUTES, Route
from kusciajob.wire.json import to_json
from tests.fuzz import strategies
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge
from tests.support.polling import PATIENCE_SECONDS

pytestmark = pytest.mark.hostile

BODIES = [route for route in V1_ROUTES if route.has_body]
BUGS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("bytes"), max_message_mib=1) as edge:
        yield edge


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few changed, cut off or added."""
    changed = bytearray(data[:20_000])
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(changed)))
        changed[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(changed)


@st.composite
def submissions(draw: st.DrawFn) -> pb.SubmitJobRequest:
    """A job with what Kuscia's message cannot say, sensible or not."""
    job: job_pb2.CreateJobRequest = draw(strategies.jobs)
    seconds = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
    request = pb.SubmitJobRequest(job=job, labels=draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5))))
    request.deadline.seconds, request.ttl.seconds = draw(seconds), draw(seconds)
    for alias in {task.alias for task in job.tasks} | {draw(st.text(max_size=5))}:
        policy = request.task_policies[alias]
        policy.run_timeout.seconds, policy.run_timeout.nanos = draw(seconds), draw(st.integers(-(2**31), 2**31 - 1))
        policy.retry.max_attempts = draw(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3))
        policy.retry.factor = draw(st.floats())
        policy.retry.exit_codes.extend(draw(st.lists(st.integers(-1, 300), max_size=3)))
    return request


def request_of(route: Route, job: pb.SubmitJobRequest) -> Message:
    if route.request is pb.SubmitJobRequest:
        return job
    return pb.ValidateJobRequest(request=job) if route.request is pb.ValidateJobRequest else route.request()


async def ask(edge: Edge, route: Route, data: bytes) -> grpc.StatusCode:
    """How a call ends; a stream is left once its headers are there."""
    path = f"/{route.call.containing_service.full_name}/{route.name}"
    call = edge._channel.unary_stream(path, bytes, bytes)(data, timeout=PATIENCE_SECONDS)
    try:
        if route.is_stream and await call.initial_metadata():
            call.cancel()
            return grpc.StatusCode.OK
        async for answer in call:
            GetMessageClass(route.call.output_type).FromString(answer)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@examples(60)
@given(data=st.data(), route=st.sampled_from(V1_ROUTES))
def test_garbage_over_grpc(edge: Edge, data: st.DataObject, route: Route) -> None:
    whole = request_of(route, data.draw(submissions())).SerializeToString() if route.has_body else b""
    sent = data.draw(broken(whole) | st.binary(max_size=100))
    assert edge.run(ask(edge, route, sent)) not in BUGS, sent
    edge.check()


@examples(60)
@given(data=st.data(), route=st.sampled_from(BODIES), is_binary=st.booleans())
def test_garbage_over_http(edge: Edge, data: st.DataObject, route: Route, is_binary: bool) -> None:
    job = data.draw(submissions())
    job.ClearField("deadline")  # JSON has no form for any number of seconds
    job.ClearField("ttl")
    for policy in job.task_policies.values():
        policy.ClearField("run_timeout")
    message = request_of(route, job)
    whole = message.SerializeToString() if is_binary else to_json(message)
    body = data.draw(broken(whole) | st.text(max_size=50).map(str.encode))
    headers = {"Content-Type": "application/x-protobuf" if is_binary else "application/json"}
    answer = edge.http("POST", route.path, body, headers)
    assert answer.status in (200, 400, 403, 409, 413), answer
    assert b"Traceback" not in answer.body
    edge.check()
