"""The filters of ListJobs and WatchJobs as values of the model."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.errors import InvalidJob
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobState
from kusciajob.wire.v1.filters import MAX_FILTER_CHARACTERS, MAX_JOB_IDS, MAX_PAIRS, decode_filter


def problems_of(request: pb.WatchJobsRequest | pb.ListJobsRequest) -> list[str]:
    with pytest.raises(InvalidJob) as refused:
        decode_filter(request, visible_to="")
    assert all(problem.text in str(refused.value) for problem in refused.value.problems[:10])
    return [problem.field for problem in refused.value.problems]


def test_an_empty_request_filters_nothing() -> None:
    assert decode_filter(pb.ListJobsRequest(), visible_to="") == JobFilter()
    assert decode_filter(pb.WatchJobsRequest(), visible_to="alice") == JobFilter(visible_to="alice")


def test_every_field_is_read() -> None:
    request = pb.WatchJobsRequest(
        states=["Running", "Pending", "Running"],
        initiator="alice",
        party="bob",
        job_id_prefix="psi-",
        app_image="app",
        custom_fields=["b=2", "a=1=one"],
        labels=["team="],
        created_after=Timestamp(seconds=1, nanos=500_000_000),
        created_before=Timestamp(seconds=2),
        ended_after=Timestamp(seconds=-3),
        ended_before=Timestamp(),
        job_ids=["y", "x"],
    )
    assert decode_filter(request, visible_to="carol") == JobFilter(
        states=frozenset({JobState.RUNNING, JobState.PENDING}),
        initiator="alice",
        party="bob",
        job_ids=frozenset({"x", "y"}),
        job_id_prefix="psi-",
        app_image="app",
        custom_fields=(("a", "1=one"), ("b", "2")),
        labels=(("team", ""),),
        created_after=1.5,
        created_before=2.0,
        ended_after=-3.0,
        ended_before=0.0,
        visible_to="carol",
    )


def test_equal_filters_are_equal_whatever_their_order() -> None:
    one = pb.ListJobsRequest(states=["Failed", "Pending"], labels=["a=1", "b=2", "a=1"])
    other = pb.ListJobsRequest(states=["Pending", "Failed"], labels=["b=2", "a=1"])
    assert decode_filter(one, visible_to="") == decode_filter(other, visible_to="")


def test_all_problems_are_told_at_once() -> None:
    request = pb.WatchJobsRequest(
        states=["Pending", "Gone"],
        custom_fields=["a"],
        labels=["x=1", "=2"],
        created_after=Timestamp(seconds=10**15),
        job_ids=["a", ""],
    )
    assert problems_of(request) == ["job_ids", "states[1]", "custom_fields[0]", "labels[1]", "created_after"]


def test_a_filter_is_bounded() -> None:
    assert problems_of(pb.WatchJobsRequest(job_ids=map(str, range(MAX_JOB_IDS + 1)))) == ["job_ids"]
    assert problems_of(pb.ListJobsRequest(labels=[f"{index}=" for index in range(MAX_PAIRS + 1)])) == ["labels"]
    assert problems_of(pb.ListJobsRequest(labels=["k=" + "x" * MAX_FILTER_CHARACTERS])) == [""]
    assert len(problems_of(pb.ListJobsRequest(states=["Gone"] * 1000))) < 20


def test_names_that_no_job_can_have_and_ranges_without_a_time_are_refused_by_name() -> None:
    request = pb.ListJobsRequest(
        initiator="a\0b",
        party="p" * 254,
        app_image="i" * 254,
        job_id_prefix="-x",
        custom_fields=["k=1", "k=2"],
        created_after=Timestamp(seconds=5),
        created_before=Timestamp(seconds=5),
    )
    assert problems_of(request) == [
        "custom_fields[1]",
        "initiator",
        "party",
        "app_image",
        "job_id_prefix",
        "created_before",
    ]
