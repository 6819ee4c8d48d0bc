"""Jobs as traces of OpenTelemetry: one trace a job, with a span for it, for each attempt of a task and for each party.

Importing this imports OpenTelemetry: only a server that makes traces does.

A span is made when its job, task or party has ended, from the stored times. Its id follows from the job, so that
any server of the job's store knows it beforehand: programs are given the id of a span that is yet to be made, and a
restart of the server leaves no hole. Of the spans that wait to be sent, a killed server loses the last few seconds.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Mapping

from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

import kusciajob
from kusciajob.contracts import ExitResult, PartyKey, PartySpec
from kusciajob.model.status import ACTIVE, Job, JobSummary
from kusciajob.model.text import cut

SERVICE_NAME = "kusciajob"
"""Unless the usual variables of OpenTelemetry name another."""
TRACES_PATH = "/v1/traces"
CLOSE_SECONDS = 3.0
"""How long the end of the server is put off for spans that have yet to be sent."""
MAX_TEXT_CHARACTERS = 256
DELETED = "Deleted"
"""The state of what had not ended when its job was deleted."""

_NANOSECONDS = 1_000_000_000

Attributes = Mapping[str, str | int]


class _Trace(Struct, frozen=True):
    """What the spans of a job have in common."""

    id: int
    prefix: str
    is_sampled: bool

    def span(self, kind: str, *place: object) -> int:
        """The id of one of its spans."""
        return _number_of(f"{self.prefix}/{kind}/{'/'.join(map(str, place))}", 8)


class Tracing:
    """Makes the Spans of `story` and sends them to an OTLP collector over HTTP, by a thread of its own.

    What OpenTelemetry's own variables say beside the endpoint is in force, such as headers and samplers.
    """

    def __init__(self, endpoint: str) -> None:
        self._ids = _GivenIds()
        is_named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        self._provider = TracerProvider(
            resource=Resource.create({} if is_named else {"service.name": SERVICE_NAME}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES_PATH)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("kusciajob", kusciajob.__version__)

    async def close(self) -> None:
        """Send the waiting spans, within CLOSE_SECONDS."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(closed.set)

        # Not one that the end of the loop would wait for.
        threading.Thread(target=close, name="traces-close", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            return

    def traceparent(self, party: PartyKey, job: Job) -> str:
        """See Spans."""
        trace = self._trace_of(job)
        return _format(trace, trace.span("party", party.task, party.attempt, party.party))

    def party_ended(self, party: PartySpec, result: ExitResult, *, began_at: float, ended_at: float) -> None:
        """See Spans."""
        key = party.key
        trace = _trace_in(party.traceparent, key.job, party.spec.job_id)
        attributes: dict[str, str | int] = {}
        if result.exit_code is not None:
            attributes["exit_code"] = result.exit_code
        self._party(
            trace,
            key,
            domain=party.party.domain_id,
            attributes={"job": party.spec.job_id, "task": party.task_id, **attributes},
            state=result.state,
            message=result.message,
            times=(began_at, ended_at),
        )

    def task_ended(self, job: Job, index: int, *, began_at: float) -> None:
        """See Spans."""
        task = job.status.tasks[index]
        ended_at = task.phase.ended_at or began_at
        self._task(
            self._trace_of(job), job, index, state=task.phase.state, message=task.message, times=(began_at, ended_at)
        )

    def job_ended(self, job: Job, *, ended_at: float) -> None:
        """See Spans."""
        state, message = job.status.phase.state, job.status.message
        self._job(self._trace_of(job), job, state=state, message=message, ended_at=ended_at)

    def deleted(self, job: Job | JobSummary, *, now: float) -> None:
        """See Spans."""
        status = job.status
        if not status.is_unfinished:
            return
        trace = self._trace_of(job)
        for index, task in enumerate(status.tasks):
            if task.state not in ACTIVE:
                continue
            times = task.since or task.created_at, now
            self._task(trace, job, index, state=DELETED, message="", times=times)
            for position, party in enumerate(task.parties):
                if party.state in ACTIVE:
                    self._party(
                        trace,
                        PartyKey(job.number, index, task.attempt, position),
                        domain=party.domain_id,
                        attributes={"job": job.job_id, "task": task.task_id},
                        state=DELETED,
                        message="",
                        times=times,
                    )
        self._job(trace, job, state=DELETED, message="", ended_at=now)

    def _job(self, trace: _Trace, job: Job | JobSummary, *, state: str, message: str, ended_at: float) -> None:
        self._export(
            "job",
            trace,
            span=trace.span("job", job.status.began_at),
            context=_parent_in(job.status.traceparent) or Context(),
            attributes={"job": job.job_id},
            state=state,
            message=message,
            times=(job.status.began_at, ended_at),
        )

    def _task(
        self,
        trace: _Trace,
        job: Job | JobSummary,
        index: int,
        *,
        state: str,
        message: str,
        times: tuple[float, float],
    ) -> None:
        task = job.status.tasks[index]
        self._export(
            f"task {cut(task.alias, MAX_TEXT_CHARACTERS)}",
            trace,
            span=trace.span("task", index, task.attempt),
            context=_context(trace, trace.span("job", job.status.began_at)),
            attributes={"job": job.job_id, "task": task.task_id, "attempt": task.attempt},
            state=state,
            message=message,
            times=times,
        )

    def _party(
        self,
        trace: _Trace,
        key: PartyKey,
        *,
        domain: str,
        attributes: Attributes,
        state: str,
        message: str,
        times: tuple[float, float],
    ) -> None:
        self._export(
            f"party {cut(domain, MAX_TEXT_CHARACTERS)}",
            trace,
            span=trace.span("party", key.task, key.attempt, key.party),
            context=_context(trace, trace.span("task", key.task, key.attempt)),
            attributes={**attributes, "party": str(key), "attempt": key.attempt, "domain": domain},
            state=state,
            message=message,
            times=times,
        )

    def _export(
        self,
        name: str,
        trace: _Trace,
        *,
        span: int,
        context: Context,
        attributes: Attributes,
        state: str,
        message: str,
        times: tuple[float, float],
    ) -> None:
        self._ids.trace_id, self._ids.span_id = trace.id, span
        began_at, ended_at = times
        all_attributes = {f"kusciajob.{key}": value for key, value in {**attributes, "state": state}.items()}
        made = self._tracer.start_span(
            name, context=context, attributes=all_attributes, start_time=_nanoseconds(began_at)
        )
        if state == "Failed":
            made.set_status(Status(StatusCode.ERROR, cut(message, MAX_TEXT_CHARACTERS)))
        made.end(end_time=_nanoseconds(max(began_at, ended_at)))

    def _trace_of(self, job: Job | JobSummary) -> _Trace:
        status = job.status
        parent = _parent_in(status.traceparent)
        if parent:
            trace_id = int(status.traceparent.split("-")[1], 16)
        else:
            ids = "/".join([task.task_id for task in status.tasks])
            trace_id = _number_of(f"{job.job_id}/{status.created_at!r}/{ids}", 16)
        decision = self._provider.sampler.should_sample(parent, trace_id, "job").decision
        is_sampled = decision is Decision.RECORD_AND_SAMPLE
        return _Trace(trace_id, f"{trace_id:032x}/{job.number}/{job.job_id}", is_sampled)


class _GivenIds(IdGenerator):
    """The ids of the span that is made next; spans are made on one thread."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


def _number_of(text: str, size: int) -> int:
    """A number that looks random, the same for the same text. Never 0, which is no valid id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1


def _format(trace: _Trace, span: int) -> str:
    return f"00-{trace.id:032x}-{span:016x}-{'01' if trace.is_sampled else '00'}"


def _trace_in(traceparent: str, number: int, job_id: str) -> _Trace:
    """The trace in what a party was given."""
    _, trace_id, _, flags = traceparent.split("-")
    return _Trace(int(trace_id, 16), f"{trace_id}/{number}/{job_id}", flags == "01")


def _parent_in(traceparent: str) -> Context | None:
    """The client's span; None where there is none, or what is stored is damaged."""
    try:
        trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-")[1:])
    except ValueError:
        return None
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(parent), Context()) if parent.is_valid else None


def _context(trace: _Trace, span: int) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if trace.is_sampled else TraceFlags.DEFAULT)
    parent = SpanContext(trace.id, span, is_remote=False, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)
