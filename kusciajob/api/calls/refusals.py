"""Sees to it that every refused call that wanted to change something is in the audit before it is answered."""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from kusciajob.api.calls.v1 import failed_code
from kusciajob.model.errors import JobError
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.refusals import RefusalLog
from kusciajob.wire.status import Code, code_and_message

CHANGES = frozenset(
    {
        "CreateJob",
        "SubmitJob",
        "DeleteJob",
        "StopJob",
        "SuspendJob",
        "RestartJob",
        "CancelJob",
        "ApproveJob",
        "CreateAppImage",
        "UpdateAppImage",
        "DeleteAppImage",
    }
)
"""The RPCs that change something."""


def noting(
    method: MethodDescriptor, call: Callable[[Any, Caller], Awaitable[Any]], log: RefusalLog
) -> Callable[[Any, Caller], Awaitable[Any]]:
    """The call, whose refusals are noted; the call itself where it changes nothing."""
    if method.name not in CHANGES:
        return call

    async def noted(request: Any, caller: Caller) -> Any:
        try:
            response = await call(request, caller)
        except JobError as error:
            code, text = code_and_message(error, failed_code(method))
            await log.note(method.name, _subject(request), caller, code=code, reason=text)
            raise
        except Exception:
            text = "unexpected server error"
            await log.note(method.name, _subject(request), caller, code=Code.UNEXPECTED, reason=text)
            raise
        # A call of Kuscia's services tells a refusal in its response's status.
        status = getattr(response, "status", None)
        if status is not None and status.code:
            await log.note(method.name, _subject(request), caller, code=status.code, reason=status.message)
        return response

    return noted


def _subject(request: Any) -> str:
    """The id of the job that a request is about, or the name of the AppImage."""
    if hasattr(request, "job"):
        request = request.job
    return str(request.job_id if hasattr(request, "job_id") else request.name)
