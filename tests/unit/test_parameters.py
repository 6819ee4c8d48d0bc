"""Parameters of URLs become the fields of a request, or are refused one by one with what would be right."""

from typing import Any
from urllib.parse import urlencode

import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from hypothesis import example, given
from hypothesis import strategies as st

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob._gen.kusciajob.v1 import server_pb2
from kusciajob.api.http.parameters import MAX_PROBLEMS, read_parameters
from kusciajob.api.http.paths import PathTable
from kusciajob.api.routes import V1_ROUTES, V1_SERVICES, annotated
from kusciajob.model.errors import InvalidJob
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code

TIME = "2026-11-27T10:59:38.5Z"


def read(query: str, kind: type[Message] = pb.ListJobsRequest, **path: str) -> Any:
    return read_parameters(kind, path=path, query=query)


def problems(query: str, kind: type[Message] = pb.ListJobsRequest, **path: str) -> dict[str, str]:
    with pytest.raises(InvalidJob) as refused:
        read(query, kind, **path)
    return {problem.field: problem.text for problem in refused.value.problems}


def test_each_kind_of_field_is_read_by_both_of_its_names() -> None:
    query = f"states=Running&states=Failed&initiator=a%26b+c&pageSize=5&oldest_first=true&createdAfter={TIME}"
    request = read(query)
    assert list(request.states) == ["Running", "Failed"]
    assert (request.initiator, request.page_size, request.oldest_first) == ("a&b c", 5, True)
    assert request.created_after.ToJsonString() == "2026-11-27T10:59:38.500Z"
    assert not request.HasField("created_before")


def test_what_is_optional_is_absent_or_there_whatever_its_value() -> None:
    assert read("after_revision=0", pb.WatchJobsRequest).HasField("after_revision")
    assert not read("", pb.WatchJobsRequest).HasField("after_revision")


def test_variables_of_a_path_are_fields_as_they_are() -> None:
    request = read("tail_lines=7", pb.ReadTaskLogRequest, task_id="a+b/c")
    assert (request.task_id, request.tail_lines) == ("a+b/c", 7)


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("stats=Running", "stats", "is no parameter here: there is states, initiator"),
        ("page_size=many", "page_size", 'expected a whole number, not "many"'),
        ("page_size=1&page_size=2", "page_size", 'is given twice, at last as "2"'),
        ("page_size=1&pageSize=2", "pageSize", "is given twice"),
        ("page_size=99999999999", "page_size", "is out of range"),
        ("page_size=", "page_size", 'expected a whole number, not ""'),
        ("oldest_first=yes", "oldest_first", 'expected true or false, not "yes"'),
        ("oldest_first", "oldest_first", 'expected true or false, not ""'),
        ("created_after=yesterday", "created_after", "expected a time such as"),
        ("created_after=2026-02-30T00:00:00Z", "created_after", "expected a time such as"),
        ("created_after=0000-01-01T00:00:00Z", "created_after", "expected a time such as"),
        ("created_after=2026-01-01T00:00:00.1234567890Z", "created_after", "expected a time such as"),
        ("initiator=%zz", "initiator", '"%zz" is no percent-encoding'),
        ("initiator=%", "initiator", '"%" is no percent-encoding'),
        ("initiator=%ff", "initiator", "byte 0 (0xff) is not UTF-8"),
        ("%ff=1", "%ff", "is not UTF-8"),
        ("=1", "", "is no parameter here"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(query: str, field: str, words: str) -> None:
    found = problems(query)
    assert list(found) in ([field], [field, field], ["page_size"])
    assert words in next(iter(found.values()))


def test_all_that_is_wrong_is_told_at_once_up_to_a_bound() -> None:
    found = problems("page_size=x&oldest_first=1&nothing=2")
    assert set(found) == {"page_size", "oldest_first", "nothing"}
    many = "&".join(f"n{index}=1" for index in range(1000))
    with pytest.raises(InvalidJob) as refused:
        read(many)
    assert len(refused.value.problems) == MAX_PROBLEMS
    assert len(str(refused.value)) < 20_000


def test_a_message_is_no_parameter_nor_is_what_the_path_has() -> None:
    assert problems("request=1", pb.ValidateJobRequest)["request"] == "is no parameter here: there is file"
    assert 'is "a" already, in the path' in problems("job_id=b", pb.GetJobRequest, job_id="a")["job_id"]
    assert problems("x=1", server_pb2.GetServerInfoRequest)["x"] == "is no parameter here: there are none"


QUERY = st.text(max_size=30) | st.lists(
    st.tuples(
        st.sampled_from([field.name for field in pb.WatchJobsRequest.DESCRIPTOR.fields]) | st.text(max_size=5),
        st.text(max_size=12) | st.integers().map(str) | st.sampled_from(["true", "NaN", "1e5", TIME, "\0", "\x7f"]),
    ),
    max_size=6,
).map(urlencode)


@given(query=QUERY)
@example("a=\udcff")
@example("created_after=٢٠٢٦-01-01T00:00:00Z")
def test_any_query_is_a_request_or_is_refused_in_a_bounded_text(query: str) -> None:
    for kind in (pb.WatchJobsRequest, pb.ReadTaskLogRequest, pb.ListAuditEntriesRequest):
        try:
            assert isinstance(read(query, kind), kind)
        except InvalidJob as refused:
            told = rich_status.fit_metadata(rich_status.status_of(refused, Code.QUERY_FAILED))
            assert 0 < told.ByteSize() <= rich_status.MAX_METADATA_BYTES


def test_every_rpc_has_a_path_of_its_own() -> None:
    assert {route.call.full_name for route in V1_ROUTES} == {
        method.full_name for service in V1_SERVICES for method in service.methods
    }
    table = PathTable(V1_ROUTES)
    for route in V1_ROUTES:
        found = table.find(route.path.replace("{", "").replace("}", ""))
        assert found is not None
        assert found[0][route.http_methods[0]] is route


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/v1/jobs/a", {"job_id": "a"}),
        ("/v1/jobs/a%2Fb%20c", {"job_id": "a/b c"}),
        ("/v1/jobs/a+b", {"job_id": "a+b"}),
        ("/v1/jobs/a:b/history", {"job_id": "a:b"}),
        ("/v1/jobs:watch", {}),
    ],
)
def test_a_variable_is_one_part_of_a_path_decoded(path: str, values: dict[str, str]) -> None:
    found = PathTable(V1_ROUTES).find(path)
    assert found is not None
    assert found[1] == values


@pytest.mark.parametrize(
    "path", ["/v1/jobs/", "/v1/jobs/a/b", "/v1/jobs//history", "/v1/jobs:stop", "/v1/Jobs", "/v1/jobs/a/"]
)
def test_nothing_else_is_at_a_path(path: str) -> None:
    assert PathTable(V1_ROUTES).find(path) is None


def test_a_variable_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidJob, match="job_id in the path: byte 1 "):
        PathTable(V1_ROUTES).find("/v1/jobs/a%ff")


def test_annotations_of_another_kind_are_not_taken() -> None:
    with pytest.raises(ValueError, match="ListOperations: a rule must be one get, or one post"):
        list(annotated(operations_pb2.DESCRIPTOR.services_by_name.values()))


def test_a_post_takes_no_parameters() -> None:
    with pytest.raises(InvalidJob, match="job_id: is no parameter here: the request is the body"):
        read_parameters(pb.SubmitJobRequest, path={}, query="job_id=a", takes_query=False)
