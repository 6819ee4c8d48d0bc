"""The statuses with which calls of kusciajob.v1 end: gRPC's codes, with details. This is the only such table.

Over gRPC a status is that of the call; over HTTP it is the answer's `error`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from kusciajob.contracts import HubClosed
from kusciajob.model.damage import JobDamaged
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
    Problem,
    StaleJob,
    StoreDamaged,
    StoreFailed,
    TaskExists,
    TaskNotFound,
    TemplateError,
    TooManyAppImages,
    TooManyJobs,
    UnknownAppImage,
    UnknownRole,
)
from kusciajob.model.text import cut
from kusciajob.wire.json_writer import writer_of
from kusciajob.wire.status import Code, code_and_message

DOMAIN = "kusciajob"
"""Whose reasons they are."""
DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata of gRPC that has the status with its details."""
CODE_KEY = "kuscia_code"
MAX_METADATA_BYTES = 3 << 10
"""A status in metadata has no more: clients take 8 KiB of metadata, in which its bytes are base64, beside its text."""
MAX_TEXT_BYTES = 1 << 10

CAUSES: tuple[tuple[type[Exception], code_pb2.Code, str], ...] = (
    (InvalidJob, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (InvalidAppImage, code_pb2.INVALID_ARGUMENT, "INVALID_APP_IMAGE"),
    (UnknownAppImage, code_pb2.INVALID_ARGUMENT, "UNKNOWN_APP_IMAGE"),
    (AppImageNotFound, code_pb2.NOT_FOUND, "APP_IMAGE_NOT_FOUND"),
    (AppImageInFile, code_pb2.FAILED_PRECONDITION, "APP_IMAGE_IN_FILE"),
    (AppImageExists, code_pb2.ALREADY_EXISTS, "APP_IMAGE_EXISTS"),
    (TooManyAppImages, code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_APP_IMAGES"),
    (UnknownRole, code_pb2.INVALID_ARGUMENT, "UNKNOWN_ROLE"),
    (TemplateError, code_pb2.FAILED_PRECONDITION, "TEMPLATE_ERROR"),
    (NotAllowed, code_pb2.PERMISSION_DENIED, "NOT_ALLOWED"),
    (JobNotFound, code_pb2.NOT_FOUND, "JOB_NOT_FOUND"),
    (TaskNotFound, code_pb2.NOT_FOUND, "TASK_NOT_FOUND"),
    (TaskExists, code_pb2.ALREADY_EXISTS, "TASK_EXISTS"),
    (JobExists, code_pb2.ALREADY_EXISTS, "JOB_EXISTS"),
    (TooManyJobs, code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS"),
    (InvalidTransition, code_pb2.FAILED_PRECONDITION, "INVALID_TRANSITION"),
    (StaleJob, code_pb2.ABORTED, "STALE_JOB"),
    (LogTruncated, code_pb2.OUT_OF_RANGE, "LOG_TRUNCATED"),
    (JobDamaged, code_pb2.DATA_LOSS, "JOB_DAMAGED"),
    (StoreDamaged, code_pb2.DATA_LOSS, "STORE_DAMAGED"),
    (StoreFailed, code_pb2.UNAVAILABLE, "STORE_FAILED"),
    (JobError, code_pb2.FAILED_PRECONDITION, "REFUSED"),
    (Exception, code_pb2.INTERNAL, "UNEXPECTED"),
)
"""Each kind of error with its code and reason. The first that fits counts."""

HTTP_STATUSES: Mapping[int, HTTPStatus] = MappingProxyType(
    {
        code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
        code_pb2.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
        code_pb2.OUT_OF_RANGE: HTTPStatus.GONE,
        code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
        code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
        code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
        code_pb2.ABORTED: HTTPStatus.CONFLICT,
        code_pb2.ALREADY_EXISTS: HTTPStatus.CONFLICT,
        code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
        code_pb2.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
        code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        code_pb2.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
        code_pb2.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
        code_pb2.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
        code_pb2.CANCELLED: HTTPStatus.INTERNAL_SERVER_ERROR,
        code_pb2.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_CODES: Mapping[int, int] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
        HTTPStatus.FORBIDDEN: code_pb2.PERMISSION_DENIED,
        HTTPStatus.NOT_FOUND: code_pb2.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED: code_pb2.UNIMPLEMENTED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
        HTTPStatus.TOO_MANY_REQUESTS: code_pb2.RESOURCE_EXHAUSTED,
        HTTPStatus.INTERNAL_SERVER_ERROR: code_pb2.INTERNAL,
        HTTPStatus.SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    }
)


def status_of(error: Exception, failed: Code) -> status_pb2.Status:
    """The status for an error; `failed` is Kuscia's code of the call. No text has a stack trace."""
    if isinstance(error, HubClosed):
        return status(code_pb2.UNAVAILABLE, "the server is stopping: connect again to go on", reason="SERVER_STOPPING")
    kuscia_code, text = code_and_message(error, failed)
    code, reason = next((code, reason) for kind, code, reason in CAUSES if isinstance(error, kind))
    problems = error.problems or (Problem("", text),) if isinstance(error, InvalidJob) else ()
    return status(code, text, reason=reason, kuscia_code=kuscia_code, problems=problems)


def status(
    code: int,
    text: str,
    *,
    reason: str,
    kuscia_code: Code = Code.UNEXPECTED,
    problems: Sequence[Problem] = (),
) -> status_pb2.Status:
    """A status with its details."""
    told = status_pb2.Status(code=code, message=text)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={CODE_KEY: str(int(kuscia_code))})
    told.details.add().Pack(info)
    if problems:
        told.details.add().Pack(_bad_request(problems))
    return told


def of_broken(code: int, text: str, kuscia_code: int) -> status_pb2.Status:
    """The status of a call that a test has end so."""
    told = status_pb2.Status(code=code, message=text)
    metadata = {CODE_KEY: str(kuscia_code or int(Code.UNEXPECTED))}
    told.details.add().Pack(error_details_pb2.ErrorInfo(reason="INJECTED", domain=DOMAIN, metadata=metadata))
    return told


def code_of_http(http_status: HTTPStatus) -> int:
    """The code for a request that is refused with that status."""
    return _CODES.get(http_status, code_pb2.INVALID_ARGUMENT)


def name_of(told: status_pb2.Status) -> str:
    """Its code's name."""
    name: str = code_pb2.Code.Name(told.code)
    return name


def fit_metadata(told: status_pb2.Status) -> status_pb2.Status:
    """The status, cut to what metadata can carry: of many problems the first ones, and of a long text its beginning."""
    if told.ByteSize() <= MAX_METADATA_BYTES and len(told.message.encode()) <= MAX_TEXT_BYTES:
        return told
    fitting = status_pb2.Status(code=told.code, message=_cut_bytes(told.message))
    for detail in told.details:
        fitting.details.add().CopyFrom(detail)
        request = error_details_pb2.BadRequest()
        if detail.Unpack(request):
            fitting.details[-1].Pack(_bad_request([_cut_problem(each) for each in request.field_violations]))
            while fitting.ByteSize() > MAX_METADATA_BYTES and request.field_violations:
                del request.field_violations[len(request.field_violations) // 2 :]
                fitting.details[-1].Pack(_bad_request([_cut_problem(each) for each in request.field_violations]))
    return fitting


def error_json(told: status_pb2.Status, http_status: HTTPStatus | None = None) -> bytes:
    """`{"error": {...}}`, with the HTTP status as code and the gRPC code's name as status."""
    return msgspec.json.encode(
        {
            "error": {
                "code": int(http_status or HTTP_STATUSES[told.code]),
                "status": name_of(told),
                "message": told.message,
                "details": [_detail(each) for each in told.details],
            }
        }
    )


def _detail(packed: Message) -> object:
    return writer_of(packed.DESCRIPTOR)(packed)


def _bad_request(problems: Sequence[Problem]) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[violation(field=each.field, description=each.text) for each in problems]
    )


def _cut_problem(violation: error_details_pb2.BadRequest.FieldViolation) -> Problem:
    return Problem(violation.field[:256], cut(violation.description, 256))


def _cut_bytes(text: str) -> str:
    """At most MAX_TEXT_BYTES as metadata carry it: what is not ASCII takes three bytes for each of its own."""
    characters = MAX_TEXT_BYTES
    while len(cut(text, characters).encode()) > MAX_TEXT_BYTES:
        characters //= 2
    return cut(text, characters)
