"""From errors to codes: the one table that faces the client."""

import asyncio
import logging
import re

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob.model import errors
from kusciajob.model.errors import (
    AppImageExists,
    AppImageInFile,
    AppImageNotFound,
    InvalidAppImage,
    InvalidJob,
    InvalidTransition,
    JobError,
    JobExists,
    JobNotFound,
    LogTruncated,
    NotAllowed,
    StaleJob,
    StoreFailed,
    TooManyAppImages,
    UnknownAppImage,
)
from kusciajob.wire.status import Answer, Code, code_and_message

CALLS = (
    Code.CREATE_FAILED,
    Code.QUERY_FAILED,
    Code.BATCH_QUERY_FAILED,
    Code.DELETE_FAILED,
    Code.STOP_FAILED,
    Code.APPROVE_FAILED,
    Code.SUSPEND_FAILED,
    Code.RESTART_FAILED,
    Code.CANCEL_FAILED,
    Code.CREATE_APP_IMAGE_FAILED,
    Code.QUERY_APP_IMAGE_FAILED,
    Code.UPDATE_APP_IMAGE_FAILED,
    Code.BATCH_QUERY_APP_IMAGE_FAILED,
    Code.QUERY_LOG_FAILED,
    Code.QUERY_NODE_FAILED,
)


def test_the_codes_are_kuscias() -> None:
    assert {code.name: code.value for code in Code} == {
        "OK": 0,
        "INVALID_REQUEST": 11100,
        "UNEXPECTED": 11101,
        "NOT_ALLOWED": 11102,
        "CREATE_FAILED": 11201,
        "QUERY_FAILED": 11202,
        "BATCH_QUERY_FAILED": 11203,
        "DELETE_FAILED": 11204,
        "STOP_FAILED": 11205,
        "APPROVE_FAILED": 11206,
        "SUSPEND_FAILED": 11207,
        "RESTART_FAILED": 11208,
        "CANCEL_FAILED": 11209,
        "NOT_SUSPENDABLE": 11210,
        "NOT_RESTARTABLE": 11211,
        "CREATE_APP_IMAGE_FAILED": 13100,
        "QUERY_APP_IMAGE_FAILED": 13101,
        "UPDATE_APP_IMAGE_FAILED": 13102,
        "DELETE_APP_IMAGE_FAILED": 13103,
        "BATCH_QUERY_APP_IMAGE_FAILED": 13104,
        "APP_IMAGE_NOT_FOUND": 13105,
        "APP_IMAGE_EXISTS": 13106,
        "QUERY_LOG_FAILED": 13200,
        "QUERY_NODE_FAILED": 13201,
    }


@pytest.mark.parametrize("failed", CALLS)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidJob("text"), Code.INVALID_REQUEST),
        (UnknownAppImage("text"), Code.INVALID_REQUEST),
        (InvalidAppImage("text"), Code.INVALID_REQUEST),
        (AppImageExists("text"), Code.APP_IMAGE_EXISTS),
        (AppImageNotFound("text"), Code.APP_IMAGE_NOT_FOUND),
        (AppImageInFile("text"), None),
        (TooManyAppImages("text"), None),
        (NotAllowed("text"), Code.NOT_ALLOWED),
        (JobExists("text"), None),
        (StaleJob("text"), None),
        (LogTruncated("text"), None),
        (StoreFailed("text"), None),
        (JobError("text"), None),
    ],
)
def test_an_error_of_the_model_in_every_call(error: JobError, code: Code | None, failed: Code) -> None:
    assert code_and_message(error, failed) == (code or failed, "text")


@pytest.mark.parametrize("failed", CALLS)
def test_a_refused_operation_has_its_own_code_where_there_is_one(failed: Code) -> None:
    own = {Code.SUSPEND_FAILED: Code.NOT_SUSPENDABLE, Code.RESTART_FAILED: Code.NOT_RESTARTABLE}
    assert code_and_message(InvalidTransition("text"), failed) == (own.get(failed, failed), "text")


def test_an_unknown_image_that_is_to_be_deleted_has_the_code_of_the_call_as_in_kuscia() -> None:
    assert code_and_message(AppImageNotFound("text"), Code.DELETE_APP_IMAGE_FAILED) == (13103, "text")


def test_unknown_jobs_are_all_named() -> None:
    assert code_and_message(JobNotFound("a"), Code.QUERY_FAILED) == (11202, 'job "a" not found')
    assert code_and_message(JobNotFound("a", "b"), Code.BATCH_QUERY_FAILED) == (11203, 'jobs "a", "b" not found')


def test_every_error_of_the_model_is_a_job_error() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, JobError) for kind in kinds)
    assert len(kinds) > 10


def test_an_unexpected_error_is_logged_under_a_reference_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    code, message = code_and_message(KeyError("secret"), Code.CREATE_FAILED)
    assert code == Code.UNEXPECTED
    found = re.fullmatch(
        r"unexpected server error; the server's log has the details under reference ([0-9a-f]{8})", message
    )
    assert found is not None
    (record,) = caplog.records
    assert found[1] in record.getMessage()
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_an_answer_is_success_unless_something_is_raised() -> None:
    status = common_pb2.Status()
    with Answer(status, Code.STOP_FAILED):
        assert status.message == ""
    assert (status.code, status.message) == (0, "success")


def test_an_answer_tells_the_error_and_keeps_it_from_going_further() -> None:
    status = common_pb2.Status()
    with Answer(status, Code.STOP_FAILED):
        raise JobNotFound("a")
    assert (status.code, status.message) == (11205, 'job "a" not found')


def test_cancellation_goes_on_through_an_answer() -> None:
    status = common_pb2.Status()
    with pytest.raises(asyncio.CancelledError), Answer(status, Code.STOP_FAILED):
        raise asyncio.CancelledError
    assert (status.code, status.message) == (0, "")
