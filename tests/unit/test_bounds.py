"""The elements of a message are counted before it is read; what a request may have is read as before."""

from typing import Any

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.decoding import parse_protobuf
from kusciajob.model.errors import InvalidJob
from kusciajob.wire import bounds, codec
from kusciajob.wire.bounds import TooManyElements
from kusciajob.wire.json import JsonError, from_json, to_json

FEW = 10_000
TOO_MANY = "more than 10,000 elements"

PROTOBUF_BOMBS: dict[str, tuple[bytes, Any]] = {
    "empty tasks": (b"\x2a\x00" * 150_000, pb.CreateJobRequest),
    "empty parties": (b"\x2a\xe0\xa7\x12" + b"\x12\x00" * 150_000, pb.CreateJobRequest),
    "custom fields": (b"\x32\x00" * 150_000, pb.CreateJobRequest),
    "unknown fields": (b"\x78\x00" * 150_000, pb.CreateJobRequest),
    "empty ids": (b"\x12\x00" * 150_000, pb.BatchQueryJobStatusRequest),
    "headers of headers": (b"\x0a\xe0\xa7\x12" + b"\x0a\x00" * 150_000, pb.WatchJobRequest),
}
JSON_BOMBS = {
    "empty tasks": b'{"tasks":[' + b",".join([b"{}"] * 200_000) + b"]}",
    "numbers": b'{"tasks":[' + b",".join([b"1"] * 200_000) + b"]}",
    "nested lists": b'{"x":[' + b",".join([b"[[[[]]]]"] * 50_000) + b"]}",
    "names": b"{" + b",".join(b'"%d":1' % number for number in range(50_000)) + b"}",
}


def largest_job() -> pb.CreateJobRequest:
    """With the most tasks, parties and dependencies that the contract allows."""
    party: dict[str, Any] = {
        "resources": pb.JobResource(cpu="1", memory="1Gi", bandwidth="1"),
        "bandwidth_limits": [pb.BandwidthLimit(destination_id="x", limit_kbps=1)] * 3,
    }
    return pb.CreateJobRequest(
        job_id="largest",
        initiator="alice",
        tasks=[
            pb.Task(
                alias=f"t{task}",
                app_image="any",
                parties=[pb.Party(domain_id="alice", role=f"r{role}", **party) for role in range(128)],
                dependencies=[f"t{other}" for other in range(task)],
            )
            for task in range(128)
        ],
    )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer elements are allowed, so that a bomb can be small."""
    monkeypatch.setattr(bounds, "MAX_ELEMENTS", FEW)


@pytest.mark.parametrize("name", PROTOBUF_BOMBS)
@pytest.mark.usefixtures("few")
def test_protobuf_of_too_many_elements_is_refused_before_it_is_read(name: str) -> None:
    data, kind = PROTOBUF_BOMBS[name]
    kind.FromString(data)  # which would be read
    with pytest.raises(TooManyElements, match=TOO_MANY):
        parse_protobuf(data, kind)


@pytest.mark.parametrize("name", JSON_BOMBS)
@pytest.mark.usefixtures("few")
def test_json_of_too_many_elements_is_refused_before_it_is_read(name: str) -> None:
    with pytest.raises(JsonError, match=TOO_MANY):
        from_json(JSON_BOMBS[name], pb.CreateJobRequest)


def test_the_largest_job_is_read() -> None:
    job = largest_job()
    assert parse_protobuf(job.SerializeToString(), pb.CreateJobRequest) == job
    assert from_json(to_json(job), pb.CreateJobRequest) == job


def test_a_text_may_hold_as_many_commas_and_brackets_as_it_likes() -> None:
    text = '[{"a": "b\\"c\\\\"},' * 100_000
    job = pb.CreateJobRequest(tasks=[pb.Task(task_input_config=text)])
    assert parse_protobuf(job.SerializeToString(), pb.CreateJobRequest) == job
    assert from_json(to_json(job), pb.CreateJobRequest) == job


@pytest.mark.parametrize("data", [b"\x2a\xff\xff\xff\xff\x0f", b"\x2b" * 300_000, b"\xff" * 300_000, b"\x2a"])
def test_what_is_no_message_is_told_by_the_parser(data: bytes) -> None:
    padded = data + b"\x2a\x7f" + b"x" * 300_000
    with pytest.raises(Exception, match="Error parsing message"):
        parse_protobuf(padded, pb.CreateJobRequest)


def test_tasks_and_parties_are_counted_before_they_are_decoded() -> None:
    with pytest.raises(InvalidJob, match="tasks has 129 entries: 1 to 128 are possible"):
        codec.decode_spec(pb.CreateJobRequest(tasks=[pb.Task()] * 129))
    with pytest.raises(InvalidJob, match=r"tasks\[0\]: parties has 129 entries: 1 to 128 are possible"):
        codec.decode_spec(pb.CreateJobRequest(tasks=[pb.Task(parties=[pb.Party()] * 129)]))
