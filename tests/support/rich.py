"""What calls of kusciajob.v1 that fail are told, over both edges."""

import json
from collections.abc import Sequence
from typing import Any

import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from msgspec import Struct

DETAILS = "grpc-status-details-bin"
_TYPES = "type.googleapis.com/google.rpc."


class Refusal(Struct, frozen=True):
    """The end of a call. `violations`: each field with what is wrong with it."""

    code: str
    text: str
    reason: str
    kuscia_code: int
    violations: Sequence[tuple[str, str]] = ()


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What is in a call's status and its details, which must agree."""
    metadata: Any = error.trailing_metadata()
    told = status_pb2.Status.FromString(dict(metadata)[DETAILS])
    code, text = error.code(), error.details() or ""
    assert (told.code, told.message) == (code.value[0], text)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert told.details[0].Unpack(info)
    assert info.domain == "kusciajob"
    if len(told.details) > 1:
        assert told.details[1].Unpack(request)
    violations = [(each.field, each.description) for each in request.field_violations]
    return Refusal(code.name, text, info.reason, int(info.metadata["kuscia_code"]), violations)


def refusal_in(body: bytes | str, http_status: int) -> Refusal:
    """What is in an answer over HTTP."""
    (error,) = json.loads(body).values()
    assert error["code"] == http_status
    info, *others = error["details"]
    assert (info["@type"], info["domain"]) == (f"{_TYPES}ErrorInfo", "kusciajob")
    assert [other["@type"] for other in others] in ([], [f"{_TYPES}BadRequest"])
    violations = [(each["field"], each["description"]) for other in others for each in other["field_violations"]]
    return Refusal(error["status"], error["message"], info["reason"], int(info["metadata"]["kuscia_code"]), violations)
