"""The calls of kusciajob.v1. Each part has one coroutine, or generator of batches, per RPC, of its name.

They raise the errors of the model: the edges make statuses of them, by wire/rich_status. A part may have some RPCs of a
service only; one that no part has is not served.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from google.protobuf.descriptor import MethodDescriptor

from kusciajob.wire.status import Code

PACKAGE = "kusciajob.v1"
_TESTING = "kusciajob.testing.v1"
FAILED: Mapping[str, Code] = MappingProxyType(
    {
        "ListJobs": Code.QUERY_FAILED,
        "GetJob": Code.QUERY_FAILED,
        "ListJobHistory": Code.QUERY_FAILED,
        "GetTaskConfig": Code.QUERY_FAILED,
        "ListAuditEntries": Code.QUERY_FAILED,
        "ValidateJob": Code.CREATE_FAILED,
        "SubmitJob": Code.CREATE_FAILED,
        "WatchJobs": Code.QUERY_FAILED,
        "ListAppImages": Code.QUERY_APP_IMAGE_FAILED,
        "GetAppImage": Code.QUERY_APP_IMAGE_FAILED,
        "ReadTaskLog": Code.QUERY_LOG_FAILED,
    }
)
"""Kuscia's code for what fails in a call; UNEXPECTED in others."""


def is_v1(package: str) -> bool:
    """Whether errors of its calls are statuses of gRPC, and its paths below /v1: ours, not Kuscia's."""
    return package in (PACKAGE, _TESTING)


class Told(Protocol):
    """A message of a stream whose forms are made once for all that are sent it."""

    @property
    def id(self) -> str:
        """After which a stream can go on, as an id of server-sent events; empty where none can."""

    @property
    def event(self) -> str:
        """What server-sent events call it, such as `added`."""

    def SerializeToString(self) -> bytes:
        """The message."""

    def to_json(self) -> bytes:
        """The message in JSON, without a line end."""


class V1Calls:
    """All parts as one."""

    def __init__(self, *parts: object) -> None:
        self._parts = parts

    def of(self, method: MethodDescriptor) -> Any:
        """What serves the RPC: of a request and a caller, as UnaryCall or StreamCall; None where nothing does."""
        return next((getattr(part, method.name) for part in self._parts if hasattr(part, method.name)), None)


def failed_code(method: MethodDescriptor) -> Code:
    """Kuscia's code for what fails in that call."""
    return FAILED.get(method.name, Code.UNEXPECTED)
