"""A collector of OpenTelemetry traces: takes what an exporter sends over HTTP and keeps it decoded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.polling import eventually

PREFIX = "kusciajob."


class Span(Struct, frozen=True):
    """A span with ids in hex and times in seconds; `parent` is empty for none."""

    trace: str
    id: str
    parent: str
    name: str
    attributes: dict[str, Any]
    began_at: float
    ended_at: float
    is_error: bool
    service: str

    @property
    def kind(self) -> str:
        return self.name.partition(" ")[0]


class Collector:
    """See `running_collector`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.endpoint = ""

    def of(self, job_id: str, kind: str = "") -> list[Span]:
        """A job's spans: "job", "task", "party", or all."""
        return [span for span in self.spans if span.attributes[f"{PREFIX}job"] == job_id and kind in ("", span.kind)]

    async def until(self, job_id: str, kind: str, *, times: int = 1) -> list[Span]:
        """The job's spans of that kind once there are so many."""

        def are_there() -> list[Span] | None:
            spans = self.of(job_id, kind)
            return spans if len(spans) >= times else None

        return await eventually(are_there) or []

    async def take(self, request: web.Request) -> web.Response:
        for of_resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            service = _values(of_resource.resource.attributes)["service.name"]
            for of_scope in of_resource.scope_spans:
                self.spans += [_span(span, service) for span in of_scope.spans]
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()


def _span(span: Any, service: str) -> Span:
    return Span(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        attributes=_values(span.attributes),
        began_at=span.start_time_unix_nano / 1e9,
        ended_at=span.end_time_unix_nano / 1e9,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        service=service,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}
