"""How calls of kusciajob.v1 end: a code, a reason and an HTTP status for each error, as small as metadata need it."""

import inspect
import json

import pytest
from google.rpc import code_pb2, error_details_pb2

from kusciajob.contracts import HubClosed
from kusciajob.model import errors
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import InvalidJob, JobError, Problem
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code

ERRORS: list[type[Exception]] = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, JobError) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind is not JobError], ids=lambda kind: kind.__name__)
def test_each_error_of_the_model_has_a_cause_of_its_own(kind: type[Exception]) -> None:
    told = rich_status.status_of(kind("job-1"), Code.QUERY_FAILED)
    info = error_details_pb2.ErrorInfo()
    assert told.details[0].Unpack(info)
    assert info.reason not in ("REFUSED", "UNEXPECTED"), "add it to the table"
    assert int(info.metadata["kuscia_code"]) in list(Code)
    assert told.code in rich_status.HTTP_STATUSES
    assert "job-1" in told.message


@pytest.mark.parametrize(
    ("error", "code", "http_status", "kuscia_code"),
    [
        (errors.JobNotFound("a"), "NOT_FOUND", 404, 11202),
        (errors.NotAllowed("a"), "PERMISSION_DENIED", 403, 11102),
        (errors.JobExists("a"), "ALREADY_EXISTS", 409, 11202),
        (errors.TooManyJobs("a"), "RESOURCE_EXHAUSTED", 429, 11202),
        (errors.LogTruncated("a"), "OUT_OF_RANGE", 410, 11202),
        (errors.StoreFailed("a"), "UNAVAILABLE", 503, 11202),
        (JobDamaged(), "DATA_LOSS", 500, 11202),
        (HubClosed(), "UNAVAILABLE", 503, 11101),
        (InvalidJob("a"), "INVALID_ARGUMENT", 400, 11100),
        (RuntimeError("the secret details"), "INTERNAL", 500, 11101),
    ],
)
def test_an_error_in_both_forms(error: Exception, code: str, http_status: int, kuscia_code: int) -> None:
    told = rich_status.status_of(error, Code.QUERY_FAILED)
    assert rich_status.name_of(told) == code
    content = json.loads(rich_status.error_json(told))["error"]
    assert (content["code"], content["status"]) == (http_status, code)
    assert content["details"][0]["metadata"] == {"kuscia_code": str(kuscia_code)}
    assert "secret" not in json.dumps(content)


def test_each_problem_is_a_violation_of_its_field() -> None:
    problems = [Problem("tasks[2].alias", "is empty"), Problem("job_id", "is too long")]
    told = rich_status.status_of(InvalidJob("two things", problems=problems), Code.CREATE_FAILED)
    request = error_details_pb2.BadRequest()
    assert told.details[1].Unpack(request)
    assert [(each.field, each.description) for each in request.field_violations] == [
        ("tasks[2].alias", "is empty"),
        ("job_id", "is too long"),
    ]
    assert rich_status.fit_metadata(told) is told


@pytest.mark.parametrize("letter", ["x", "雪", "\0"])
def test_metadata_carry_a_status_whatever_its_length(letter: str) -> None:
    problems = [Problem(f"tasks[{index}]{letter * 500}", letter * 5000) for index in range(1000)]
    whole = rich_status.status_of(InvalidJob(letter * 100_000, problems=problems), Code.CREATE_FAILED)
    told = rich_status.fit_metadata(whole)
    assert told.ByteSize() <= rich_status.MAX_METADATA_BYTES
    assert 0 < len(told.message.encode()) <= rich_status.MAX_TEXT_BYTES
    assert told.code == code_pb2.INVALID_ARGUMENT
    request = error_details_pb2.BadRequest()
    assert told.details[1].Unpack(request)
    assert request.field_violations[0].field.startswith("tasks[0]")
