"""Translates errors into codes and texts for clients. This is the only such table."""

import logging
import secrets
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from kusciajob.model.errors import (
    AppImageExists,
    AppImageNotFound,
    InvalidAppImage,
    InvalidJob,
    InvalidTransition,
    JobError,
    NotAllowed,
    UnknownAppImage,
)

logger = logging.getLogger(__name__)

SUCCESS = "success"


class Code(IntEnum):
    """Kuscia's error codes."""

    OK = 0
    INVALID_REQUEST = 11100
    UNEXPECTED = 11101
    NOT_ALLOWED = 11102
    CREATE_FAILED = 11201
    QUERY_FAILED = 11202
    BATCH_QUERY_FAILED = 11203
    DELETE_FAILED = 11204
    STOP_FAILED = 11205
    APPROVE_FAILED = 11206
    SUSPEND_FAILED = 11207
    RESTART_FAILED = 11208
    CANCEL_FAILED = 11209
    NOT_SUSPENDABLE = 11210
    NOT_RESTARTABLE = 11211
    CREATE_APP_IMAGE_FAILED = 13100
    QUERY_APP_IMAGE_FAILED = 13101
    UPDATE_APP_IMAGE_FAILED = 13102
    DELETE_APP_IMAGE_FAILED = 13103
    BATCH_QUERY_APP_IMAGE_FAILED = 13104
    APP_IMAGE_NOT_FOUND = 13105
    APP_IMAGE_EXISTS = 13106
    QUERY_LOG_FAILED = 13200
    QUERY_NODE_FAILED = 13201


_REFUSED = {Code.SUSPEND_FAILED: Code.NOT_SUSPENDABLE, Code.RESTART_FAILED: Code.NOT_RESTARTABLE}


def code_and_message(error: Exception, failed: Code) -> tuple[Code, str]:
    """The code and text for an error. `failed` is the call's code for unexpected ones. No text has a stack trace."""
    match error:
        case InvalidJob() | UnknownAppImage() | InvalidAppImage():
            return Code.INVALID_REQUEST, str(error)
        case NotAllowed():
            return Code.NOT_ALLOWED, str(error)
        case InvalidTransition():
            return _REFUSED.get(failed, failed), str(error)
        case AppImageExists():
            return Code.APP_IMAGE_EXISTS, str(error)
        case AppImageNotFound() if failed is not Code.DELETE_APP_IMAGE_FAILED:  # as Kuscia
            return Code.APP_IMAGE_NOT_FOUND, str(error)
        case JobError():
            return failed, str(error)
    reference = secrets.token_hex(4)
    logger.error("unexpected error, reference %s", reference, exc_info=error)
    return Code.UNEXPECTED, f"unexpected server error; the server's log has the details under reference {reference}"


class StatusMessage(Protocol):
    """The protobuf `Status`, as far as it is written here."""

    code: int
    message: str


class Answer:
    """A context that sets a response's status: success, or the code of the block's error, which it swallows."""

    __slots__ = ("_failed", "_status")

    def __init__(self, status: StatusMessage, failed: Code) -> None:
        self._status = status
        self._failed = failed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._status.message = SUCCESS
            return False
        if not isinstance(error, Exception):
            return False
        self._status.code, self._status.message = code_and_message(error, self._failed)
        return True
