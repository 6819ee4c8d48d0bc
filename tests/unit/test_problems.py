"""A dry run's rules are those by which requests are refused: all problems, each with its place."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob.model import graph
from kusciajob.model.errors import InvalidJob
from kusciajob.wire import codec
from kusciajob.wire.v1.submissions import MAX_PROBLEMS, decode_submission, encode_submission, problems
from tests.support.requests import job_request, task_request

_NAMES = st.sampled_from(["", "a", "b", "c", "x" * 300, "Bad_Name", "a.b-c"])
_DOMAINS = st.sampled_from(["", "alice", "bob", "d" * 64, "d" * 300, "e\x00f"])
_LIMITS = st.builds(pb.BandwidthLimit, destination_id=_DOMAINS, limit_kbps=st.integers(0, 2))
_RESOURCES = st.builds(pb.JobResource, cpu=st.sampled_from(["", "1", "x"]), memory=st.sampled_from(["", "4Gi", "-"]))
_PARTIES = st.builds(
    pb.Party,
    domain_id=_DOMAINS,
    role=st.sampled_from(["", "host", "r" * 300]),
    resources=st.none() | _RESOURCES,
    bandwidth_limits=st.lists(_LIMITS, max_size=2),
)
_TASKS = st.builds(
    pb.Task,
    alias=_NAMES,
    app_image=st.sampled_from(["", "app", "y" * 300]),
    task_id=_NAMES,
    parties=st.lists(_PARTIES, max_size=3),
    dependencies=st.lists(_NAMES, max_size=3),
)
_REQUESTS = st.builds(
    pb.CreateJobRequest,
    job_id=_NAMES,
    initiator=_DOMAINS,
    max_parallelism=st.sampled_from([-1, 0, 1, 128, 129]),
    tasks=st.lists(_TASKS, max_size=4),
    custom_fields=st.dictionaries(st.sampled_from(["k", "k" * 64]), st.sampled_from(["", "v" * 64])),
)


@settings(max_examples=300, deadline=None)
@given(_REQUESTS)
def test_what_refuses_a_request_is_the_first_of_its_problems(request: pb.CreateJobRequest) -> None:
    found = list(codec.problems(request))
    if not found:
        codec.decode_spec(request)
        return
    with pytest.raises(InvalidJob) as refused:
        codec.decode_spec(request)
    assert (str(refused.value), *refused.value.problems) == (found[0].text, found[0])


def test_all_problems_are_told_at_once_each_with_its_field_path() -> None:
    request = v1.SubmitJobRequest(
        job=pb.CreateJobRequest(
            job_id="No",
            initiator="alice",
            max_parallelism=129,
            tasks=[
                pb.Task(alias="a", app_image="app", parties=[pb.Party(domain_id="bob"), pb.Party()]),
                task_request("a", dependencies=["gone", "b"]),
                task_request("b", "", dependencies=["c"]),
                task_request("c", dependencies=["b"], task_id="-"),
            ],
            custom_fields={"k" * 64: ""},
        ),
        deadline=Duration(seconds=-1),
        ttl=Duration(seconds=1, nanos=-1),
        labels={"": "x"},
    )
    request.task_policies["z"].retry.max_attempts = 1
    request.task_policies["b"].run_timeout.seconds = 0
    assert [problem.field for problem in problems(request)] == [
        "tasks[0].parties[1].domain_id",
        "tasks[2].app_image",
        "tasks[3].task_id",
        "job_id",
        "max_parallelism",
        "tasks[1].alias",
        "tasks[1].dependencies[0]",
        "tasks[2].dependencies[0]",
        f'custom_fields["{"k" * 64}"]',
        'task_policies["b"].run_timeout',
        'task_policies["z"]',
        'task_policies["z"].retry.max_attempts',
        "deadline",
        "ttl",
        'labels[""]',
    ]
    with pytest.raises(InvalidJob) as refused:
        decode_submission(request)
    assert list(refused.value.problems) == problems(request)


def test_every_cycle_is_told_that_shares_no_task_with_another() -> None:
    nodes = [("a", ["b"]), ("b", ["a"]), ("c", ["d", "a"]), ("d", ["c"]), ("e", ["e"])]
    found = {problem.field: problem.text for problem in graph.problems(nodes)}
    assert list(found) == ["tasks[4].dependencies[0]", "tasks[0].dependencies[0]", "tasks[2].dependencies[0]"]
    assert found["tasks[2].dependencies[0]"] == "dependencies form a cycle: c -> d -> c"


def test_the_problems_of_a_hostile_request_are_bounded() -> None:
    parties = [pb.Party(bandwidth_limits=[pb.BandwidthLimit()] * 128)] * 128
    request = v1.SubmitJobRequest(job=job_request("j", *[pb.Task(parties=parties)] * 128))
    found = problems(request)
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1].text == "there are more problems: the first 1,000 are told"


def test_a_submission_comes_back_as_it_was_asked_for() -> None:
    request = v1.SubmitJobRequest(
        job=job_request("j", task_request("a", task_id="t-a"), max_parallelism=3, custom_fields={"k": "v"}),
        deadline=Duration(seconds=90, nanos=500_000_000),
        ttl=Duration(seconds=3600),
        labels={"team": "x" * 4096},
    )
    request.job.header.custom_headers["schedule_mode"] = "Strict"
    policy = request.task_policies["a"]
    policy.retry.max_attempts, policy.retry.factor = 3, 1.5
    policy.retry.exit_codes.extend([3, 137])
    policy.retry.first_backoff.seconds, policy.retry.max_backoff.seconds = 1, 8
    policy.run_timeout.seconds = 60
    spec = decode_submission(request)
    assert encode_submission(spec, ["t-a"]) == request
    assert decode_submission(encode_submission(spec, ["t-a"])) == spec


@pytest.mark.parametrize(
    ("setting", "field", "text"),
    [
        ({"max_attempts": 101}, "max_attempts", "101 is out of range: 2 to 100, the first run included"),
        ({"factor": 0.5}, "factor", "retry.factor 0.5 is out of range: 1 to "),
        ({"factor": 1e9}, "factor", "retry.factor 1e+09 is out of range: 1 to "),
        ({"exit_codes": [1, 256]}, "exit_codes[1]", "retry.exit_codes has 256: an exit code of a failure is 1 to 255"),
        ({"exit_codes": [0]}, "exit_codes[0]", "retry.exit_codes has 0: "),
        ({"exit_codes": range(1, 256)}, "exit_codes", "retry.exit_codes has 255 entries: at most "),
    ],
)
def test_retries_that_cannot_be_are_refused(setting: dict[str, Any], field: str, text: str) -> None:
    request = v1.SubmitJobRequest(job=job_request("j", task_request("a")))
    request.task_policies["a"].retry.CopyFrom(v1.Retry(**{"max_attempts": 2, **setting}))
    (problem,) = problems(request)
    assert problem.field == f'task_policies["a"].retry.{field}'
    assert text in problem.text


@pytest.mark.parametrize(
    ("labels", "field", "text"),
    [
        ({str(number): "" for number in range(129)}, "labels", "labels has 129 entries: at most 128 are possible"),
        ({"a\n": ""}, r"labels['a\n']", "is not valid: 1 to 253 characters, no control characters"),
        ({"a": "x" * 4097}, 'labels["a"]', 'labels["a"] has 4097 characters: at most 4096 are possible'),
        ({str(number): "x" * 4096 for number in range(9)}, "labels", "characters: at most "),
    ],
)
def test_labels_that_cannot_be_are_refused(labels: dict[str, str], field: str, text: str) -> None:
    (problem,) = problems(v1.SubmitJobRequest(job=job_request("j", task_request("a")), labels=labels))
    assert problem.field == field
    assert text in problem.text


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "deadline of 0 s is out of range: above 0, at most 316224000 s (10 years)"),
        (-5, 0, "deadline of -5 s is out of range"),
        (2**62, 0, "is out of range"),
        (1, 1_000_000_000, "deadline of 1 s and 1000000000 ns is no time span"),
        (-1, 1, "is no time span"),
    ],
)
def test_time_spans_that_cannot_be_are_refused(seconds: int, nanos: int, text: str) -> None:
    request = v1.SubmitJobRequest(job=job_request("j"), deadline=Duration(seconds=seconds, nanos=nanos))
    with pytest.raises(InvalidJob) as refused:
        decode_submission(request)
    assert text in str(refused.value)
    assert [problem.field for problem in refused.value.problems] == ["deadline"]
