"""How calls end over gRPC: those of Kuscia's services with a status in the response, those of kusciajob.v1 with one of
gRPC that has details."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from kusciajob.api.broken import Broken
from kusciajob.api.calls.job import InvalidWatch
from kusciajob.api.calls.v1 import failed_code, is_v1
from kusciajob.api.gate import LimitReached
from kusciajob.api.grpc import requests
from kusciajob.contracts import HubClosed
from kusciajob.model.errors import LogTruncated, StoreDamaged, StoreFailed
from kusciajob.wire import rich_status
from kusciajob.wire.bounds import TooManyElements
from kusciajob.wire.job_status import encode_event
from kusciajob.wire.status import Code

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
End: TypeAlias = tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]
"""A status, its text, and the metadata that follow; without any, those that the call has already."""

OK = "OK"

_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class Ending(Protocol):
    """How the calls of a method end."""

    name: str
    """The method's."""
    kind: type[Message]
    """Its request."""
    call_errors: tuple[type[Exception], ...]
    """The errors that end a call with a status of gRPC."""
    stream_errors: tuple[type[Exception], ...]
    code_of: Callable[[Any], int | str]
    """What a response tells the meter."""
    data_of: Callable[[Any], bytes]
    """What is sent of an item of a stream."""

    def end_of(self, error: Exception) -> End:
        """What the client gets."""


class KusciaEnding:
    """The outcome is in the response's status, but for what cannot be served, and for streams."""

    call_errors: tuple[type[Exception], ...] = (LimitReached, TooManyElements, DecodeError, Broken)
    stream_errors: tuple[type[Exception], ...] = (*call_errors, InvalidWatch, HubClosed, LogTruncated, StoreFailed)

    def __init__(self, method: MethodDescriptor) -> None:
        self.name: str = method.name
        self.kind = GetMessageClass(method.input_type)
        self.code_of: Callable[[Any], int | str] = _code_in
        self.data_of: Callable[[Any], bytes] = _event_data

    def end_of(self, error: Exception) -> End:
        status, text = self._status_of(error)
        return status, text, ()

    def _status_of(self, error: Exception) -> tuple[grpc.StatusCode, str]:
        match error:
            case DecodeError():
                return grpc.StatusCode.INVALID_ARGUMENT, unreadable(self.kind, error)
            case LimitReached() | TooManyElements():
                return grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
            case Broken():
                return _STATUSES[error.number], str(error)
            case InvalidWatch():
                return grpc.StatusCode.INVALID_ARGUMENT, str(error)
            case HubClosed():
                return grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again to go on"
            case LogTruncated():
                return grpc.StatusCode.OUT_OF_RANGE, (
                    f"this watcher fell too far behind: {error}: connect again for the present state of every job"
                )
            case StoreDamaged():
                return grpc.StatusCode.DATA_LOSS, str(error)
        return grpc.StatusCode.UNAVAILABLE, f"the store cannot be read: {error}"


class RichEnding:
    """Every error is a status of gRPC, with details."""

    call_errors: tuple[type[Exception], ...] = (Exception,)
    stream_errors = call_errors

    def __init__(self, method: MethodDescriptor) -> None:
        self.name: str = method.name
        self.kind = GetMessageClass(method.input_type)
        self.code_of: Callable[[Any], int | str] = _ok
        self.data_of: Callable[[Any], bytes] = _data
        self._failed = failed_code(method)

    def end_of(self, error: Exception) -> End:
        return end_with(self._status_of(error))

    def _status_of(self, error: Exception) -> status_pb2.Status:
        match error:
            case DecodeError():
                text = unreadable(self.kind, error)
                return rich_status.status(
                    code_pb2.INVALID_ARGUMENT, text, reason="UNREADABLE", kuscia_code=Code.INVALID_REQUEST
                )
            case LimitReached() | TooManyElements():
                return rich_status.status(
                    code_pb2.RESOURCE_EXHAUSTED,
                    str(error),
                    reason="LIMIT_REACHED",
                    kuscia_code=Code.INVALID_REQUEST,
                )
            case Broken():
                return rich_status.of_broken(error.number, str(error), error.kuscia_code)
        return rich_status.status_of(error, self._failed)


def end_with(told: status_pb2.Status) -> End:
    """End the present call with that status."""
    told = rich_status.fit_metadata(told)
    details = (rich_status.DETAILS_KEY, told.SerializeToString())
    return _STATUSES[told.code], told.message, (*requests.answer_metadata(), details)


def is_rich(method: str) -> bool:
    """Whether the method, by its path, is of kusciajob.v1."""
    return is_v1(method.strip("/").rpartition("/")[0].rpartition(".")[0])


def unreadable(kind: type[Message], error: Exception) -> str:
    """The text for bytes that are no such message."""
    return f"the message cannot be read as {kind.DESCRIPTOR.name}: {error}"


def _code_in(response: Any) -> int:
    code: int = response.status.code
    return code


def _ok(_: object) -> str:
    return OK


def _data(item: Any) -> bytes:
    data: bytes = item.SerializeToString()
    return data


def _event_data(item: Any) -> bytes:
    data: bytes = item.SerializeToString() if isinstance(item, Message) else item.encoded(encode_event)
    return data
