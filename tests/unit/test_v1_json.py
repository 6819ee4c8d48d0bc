"""The JSON of kusciajob.v1: times, durations and what is optional, as in protobuf's own mapping; no unknown names."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.wire.json import JsonError, from_json, to_json

seconds = st.integers(-62_135_596_800, 253_402_300_799)
nanos = st.integers(0, 999_999_999)
times = st.builds(Timestamp, seconds=seconds, nanos=nanos)
durations = st.builds(Duration, seconds=st.integers(0, 315_576_000_000), nanos=nanos) | st.builds(
    Duration, seconds=st.integers(-315_576_000_000, 0), nanos=st.integers(-999_999_999, 0)
)


@given(after=times, before=st.none() | times)
def test_times_are_written_and_read_as_protobuf_does(after: Timestamp, before: Timestamp | None) -> None:
    message = pb.ListJobsRequest(created_after=after, created_before=before)
    body = to_json(message)
    theirs = json_format.MessageToDict(message, preserving_proto_field_name=True)
    ours = json.loads(body)
    assert ours["created_after"] == theirs["created_after"]
    assert ours["created_before"] == theirs.get("created_before")
    assert from_json(body, pb.ListJobsRequest) == message


@given(deadline=durations, backoff=durations)
def test_durations_are_written_and_read_as_protobuf_does(deadline: Duration, backoff: Duration) -> None:
    policy = pb.TaskPolicy(retry=pb.Retry(max_attempts=2, first_backoff=backoff))
    message = pb.SubmitJobRequest(deadline=deadline, task_policies={"a": policy})
    body = to_json(message)
    assert json.loads(body)["deadline"] == json_format.MessageToDict(message)["deadline"]
    assert from_json(body, pb.SubmitJobRequest) == message


@pytest.mark.parametrize("given_code", [None, 0, 137])
def test_what_is_optional_is_null_or_itself(given_code: int | None) -> None:
    message = pb.PartyAttempt(exit_code=given_code)
    assert json.loads(to_json(message))["exit_code"] == given_code
    assert from_json(to_json(message), pb.PartyAttempt) == message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"deadline": "90"}, 'deadline: expected a duration in seconds such as "90s" or "0.5s", not "90"'),
        ({"deadline": 90}, "deadline: expected a duration"),
        ({"deadline": "1_0s"}, "deadline: expected a duration"),
        ({"deadline": "٣s"}, "deadline: expected a duration"),
        ({"deadline": "999999999999s"}, "deadline: expected a duration"),
        ({"deadline": {"seconds": 5}}, "deadline: expected a duration"),
        ({"deadline": "9" * 100_000 + "s"}, "deadline: expected a duration"),
        ({"task_policies": {"a": {"rety": {}}}}, 'task_policies["a"]: "rety" is unknown here: there is retry, run_t'),
        ({"job": {"jobid": "a"}}, 'job: "jobid" is unknown here: there is header, job_id'),
        ({"x" * 100_000: 1}, "is unknown here"),
        ({"nothing": None}, '"nothing" is unknown here'),
    ],
)
def test_what_cannot_be_read_is_named_with_what_would_be_right(body: dict[str, Any], words: str) -> None:
    with pytest.raises(JsonError) as refused:
        from_json(json.dumps(body).encode(), pb.SubmitJobRequest)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 500


def test_kuscias_own_requests_may_have_unknown_names_still() -> None:
    assert from_json(b'{"job_id": "a", "nothing": 1}', job_pb2.CreateJobRequest).job_id == "a"
    assert from_json(b'{"tasks": [{"nothing": 1}]}', job_pb2.CreateJobRequest).tasks
