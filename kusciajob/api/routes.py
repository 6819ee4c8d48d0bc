"""The tables of the HTTP API: which path serves which call. The gateway and the OpenAPI document are made from them.

Kuscia's are written here; those of kusciajob.v1 are the annotations in its proto files.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2, health_pb2, job_pb2, log_pb2
from kusciajob._gen.kusciajob.v1 import app_images_pb2, jobs_pb2, server_pb2

TOKEN_HEADER = "Token"  # noqa: S105  # its name, not its value
DOMAIN_HEADER = "domain"
"""The custom header of a QueryLogRequest that chooses the party."""


class Route(Struct, frozen=True):
    """An RPC and its HTTP path, in which `{field}` stands for a field of the request."""

    path: str
    call: MethodDescriptor
    http_methods: tuple[str, ...] = ("POST",)
    is_change: bool = False
    """Whether the call changes anything."""

    @property
    def name(self) -> str:
        """The RPC's name, which is also that of the coroutine that serves it."""
        return str(self.call.name)

    @property
    def has_body(self) -> bool:
        """Whether the request is a body, not parameters."""
        return "POST" in self.http_methods

    @property
    def is_stream(self) -> bool:
        return bool(self.call.server_streaming)

    @property
    def request(self) -> type[Message]:
        return GetMessageClass(self.call.input_type)

    @property
    def response(self) -> type[Message]:
        return GetMessageClass(self.call.output_type)


def _call(file: FileDescriptor, name: str) -> MethodDescriptor:
    return next(
        method for service in file.services_by_name.values() for method in service.methods if method.name == name
    )


_JOB, _LOG, _HEALTH = job_pb2.DESCRIPTOR, log_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR
_APP_IMAGE = appimage_pb2.DESCRIPTOR

WATCH = Route("/api/v1/job/watch", _call(_JOB, "WatchJob"))
WATCHES = frozenset({WATCH.name, "WatchJobs"})
"""The calls whose streams the limit of watch streams counts."""
QUERY_LOG = Route("/api/v1/log/task/query", _call(_LOG, "QueryLog"))
ROUTES = (
    Route("/api/v1/job/create", _call(_JOB, "CreateJob"), is_change=True),
    Route("/api/v1/job/query", _call(_JOB, "QueryJob")),
    Route("/api/v1/job/status/batchQuery", _call(_JOB, "BatchQueryJobStatus")),
    Route("/api/v1/job/delete", _call(_JOB, "DeleteJob"), is_change=True),
    Route("/api/v1/job/stop", _call(_JOB, "StopJob"), is_change=True),
    Route("/api/v1/job/suspend", _call(_JOB, "SuspendJob"), is_change=True),
    Route("/api/v1/job/restart", _call(_JOB, "RestartJob"), is_change=True),
    Route("/api/v1/job/cancel", _call(_JOB, "CancelJob"), is_change=True),
    Route("/api/v1/job/approve", _call(_JOB, "ApproveJob"), is_change=True),
    WATCH,
    QUERY_LOG,
    Route("/api/v1/log/node/query", _call(_LOG, "QueryPodNode")),
    Route("/api/v1/appimage/create", _call(_APP_IMAGE, "CreateAppImage"), is_change=True),
    Route("/api/v1/appimage/query", _call(_APP_IMAGE, "QueryAppImage")),
    Route("/api/v1/appimage/update", _call(_APP_IMAGE, "UpdateAppImage"), is_change=True),
    Route("/api/v1/appimage/delete", _call(_APP_IMAGE, "DeleteAppImage"), is_change=True),
    Route("/api/v1/appimage/batchQuery", _call(_APP_IMAGE, "BatchQueryAppImage")),
    Route("/healthZ", _call(_HEALTH, "healthZ"), ("POST", "GET")),
)

_VARIABLE = re.compile(r"\{([a-z0-9_]+)\}")


def variables_in(path: str) -> tuple[str, ...]:
    """The fields for which a path has places."""
    return tuple(_VARIABLE.findall(path))


def annotated(services: Iterable[ServiceDescriptor]) -> Iterator[Route]:
    """The routes that the google.api.http annotations of the services ask for. Raises ValueError for other kinds."""
    for method in (method for service in services for method in service.methods):
        options: Any = method.GetOptions()
        rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
        http_method, path = rule.WhichOneof("pattern") or "", rule.get or rule.post
        is_plain = "{" not in _VARIABLE.sub("", path)
        if not path or not is_plain or rule.additional_bindings or rule.body != ("*" if rule.post else ""):
            raise ValueError(
                f"{method.full_name}: a rule must be one get, or one post with body *, and plain variables"
            )
        yield Route(path, method, (http_method.upper(),), is_change=bool(rule.post))


V1_SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service for file in (jobs_pb2, app_images_pb2, server_pb2) for service in file.DESCRIPTOR.services_by_name.values()
)
V1_ROUTES = tuple(annotated(V1_SERVICES))
