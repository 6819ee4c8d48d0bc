"""What can go wrong with a call, each kind with a type of its own; `str(error)` is fit for a user's eyes.

Kuscia answers with codes of its own, kusciajob.v1 with gRPC's and details. Both become these types here, and only here.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from msgspec import Struct

STATUS_DETAILS = "grpc-status-details-bin"
KUSCIA_CODE = "kuscia_code"


class Problem(Struct, frozen=True):
    """What is wrong with one field of a request, such as `tasks[2].dependencies[0]`; empty where none is named."""

    field: str
    text: str


class ClientError(Exception):
    """Base of all errors of this package."""

    was_lost = False
    """An earlier try of the call had no answer: it may have taken effect."""


class CallFailed(ClientError):
    """The server refused a call. `code` is Kuscia's; 0 where it has none for that."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})" if code else message)
        self.code = code
        self.message = message


class JobNotFound(CallFailed):
    """No job of that id exists, or the caller may not know of it."""


class JobExists(CallFailed):
    """Another job has the id, or one of the task ids."""


class InvalidJob(CallFailed):
    """The request breaks a rule. `problems` has all that is wrong, where the server tells each."""

    def __init__(self, code: int, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(code, message)
        self.problems = tuple(problems)


class NotAllowed(CallFailed):
    """The caller may not do that."""


class LimitReached(CallFailed):
    """A limit of the server keeps it from taking more."""


class InvalidTransition(CallFailed):
    """The job's state does not allow the command."""


class RevisionGone(CallFailed):
    """The server's log no longer reaches back to the revision of a watch, or does not have it."""


class RpcFailed(ClientError):
    """gRPC ended a call with an error of its own, not with one of Kuscia's codes."""


class TimedOut(RpcFailed):
    """The server did not answer within the time of the call. The call may have taken effect."""


class NotOffered(RpcFailed):
    """The server does not have this call, or not this choice: it is a plain Kuscia or an earlier kusciajob."""


class Unauthenticated(RpcFailed):
    """The server accepts neither this caller's token nor its withdrawn certificate, or there is no token."""


class Unavailable(ClientError):
    """No server answers at the address, or the connection was lost. The call may have taken effect."""

    _text = "no job server can be reached at {address}: {details}"

    def __init__(self, address: str, details: str) -> None:
        super().__init__(self._text.format(address=address, details=details))
        self.address = address
        self.details = details


class NotServing(Unavailable):
    """The server answers, but cannot serve at present: it is stopping, or does not reach its store."""

    _text = "the server at {address} cannot serve this now: {details}"


class ClientClosed(RpcFailed):
    """The client was closed, before the call or during it."""

    def __init__(self) -> None:
        super().__init__("the client was closed")


class PartyFailure(Struct, frozen=True):
    """How one party of a task failed."""

    task: str
    domain: str
    role: str
    exit_code: int | None
    """None: unknown, or it was never started."""
    message: str
    """With the last lines that it wrote, where the caller may see them."""

    def __str__(self) -> str:
        return f"task {self.task}, party {self.domain}{f' ({self.role})' if self.role else ''}: {self.message}"


class JobEnded(ClientError):
    """The job ended in another way than the caller waited for. `status` is its last."""

    def __init__(self, status: Any, failures: Sequence[PartyFailure] = ()) -> None:
        causes = "; ".join(map(str, failures)) or status.err_msg
        super().__init__(f"job {status.job_id} ended: {status.state}{f': {causes}' if causes else ''}")
        self.status = status
        self.failures = tuple(failures)


class JobFailed(JobEnded):
    """It Failed. `failures` tells which party of which task, and why."""


class JobCancelled(JobEnded):
    """It was Cancelled."""


class JobRejected(JobEnded):
    """A domain has not approved it."""


class JobDeleted(JobEnded):
    """It was deleted while it was waited for; `status` is the last that was seen."""

    def __init__(self, status: Any) -> None:
        ClientError.__init__(self, f"job {status.job_id} was deleted; it was {status.state}")
        self.status = status
        self.failures = ()


class WaitTimeout(ClientError, TimeoutError):
    """The job was in none of the wanted states in time. `status` is its last, `waiting` tells what it waits for."""

    def __init__(self, text: str, status: Any, waiting: str = "") -> None:
        super().__init__(f"{text}: {waiting}" if waiting else text)
        self.status = status
        self.waiting = waiting


_BY_REASON: dict[str, type[CallFailed]] = {
    "JOB_NOT_FOUND": JobNotFound,
    "TASK_NOT_FOUND": JobNotFound,
    "JOB_EXISTS": JobExists,
    "TASK_EXISTS": JobExists,
    "INVALID_REQUEST": InvalidJob,
    "UNKNOWN_APP_IMAGE": InvalidJob,
    "UNKNOWN_ROLE": InvalidJob,
    "NOT_ALLOWED": NotAllowed,
    "TOO_MANY_JOBS": LimitReached,
    "LIMIT_REACHED": LimitReached,
    "INVALID_TRANSITION": InvalidTransition,
    "LOG_TRUNCATED": RevisionGone,
}
_BY_CODE: dict[int, type[CallFailed]] = {
    11100: InvalidJob,
    11102: NotAllowed,
    11210: InvalidTransition,
    11211: InvalidTransition,
}
# Kuscia has one code for all that can go wrong with a call; what is wrong stands in the text only.
_BY_TEXT: tuple[tuple[str, type[CallFailed]], ...] = (
    ("not found", JobNotFound),
    ("already exists", JobExists),
    ("exists already", JobExists),
    ("exists with another", JobExists),
    ("is possible only when", InvalidTransition),
)


def of_code(code: int, message: str) -> CallFailed:
    """The error for a status in the body of one of Kuscia's answers."""
    kind = _BY_CODE.get(code) or next((kind for text, kind in _BY_TEXT if text in message), CallFailed)
    return kind(code, message)


def of_rpc(error: grpc.RpcError, address: str) -> ClientError:
    """The error for a call that gRPC ended."""
    call: Any = error  # gRPC's errors are calls, too
    code, details = call.code(), call.details() or "no details given"
    info, problems = _details(call)
    if info is not None:
        kind = _BY_REASON.get(info.reason)
        number = int(info.metadata[KUSCIA_CODE]) if info.metadata[KUSCIA_CODE].isdigit() else 0
        if kind is InvalidJob:
            return InvalidJob(number, details, problems)
        if kind is not None:
            return kind(number, details)
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            # What nobody answers has no reason of a server's in it.
            return Unavailable(address, details) if info is None else NotServing(address, details)
        case grpc.StatusCode.UNAUTHENTICATED:
            return Unauthenticated(f"{details} (gRPC {code.name})")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut(f"the server at {address} did not answer in time")
        case grpc.StatusCode.UNIMPLEMENTED:
            return NotOffered(f"the server at {address} does not offer this operation (gRPC UNIMPLEMENTED)")
    if info is not None and info.metadata[KUSCIA_CODE].isdigit():
        return CallFailed(int(info.metadata[KUSCIA_CODE]), details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return LimitReached(0, details)
    return RpcFailed(f"{details} (gRPC {code.name})")


def _details(call: Any) -> tuple[error_details_pb2.ErrorInfo | None, list[Problem]]:
    """The reason and the problems in the details of an error of kusciajob.v1."""
    status = status_pb2.Status()
    metadata = call.trailing_metadata() or ()
    packed = next((value for key, value in metadata if key == STATUS_DETAILS), b"")
    status.ParseFromString(packed if isinstance(packed, bytes) else b"")
    found, problems = None, []
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            found = info
        elif detail.Unpack(bad):
            problems += [Problem(each.field, each.description) for each in bad.field_violations]
    return found, problems
