"""The calls of Kuscia's JobService: decode, call the use case, encode."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import TypeAlias, TypeVar

from cachetools import LRUCache
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls.encoded import MAX_BATCH_BYTES, BatchResponse, EncodedResponse, too_large
from kusciajob.contracts import Published
from kusciajob.model import failures, weight
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import InvalidJob, JobNotFound
from kusciajob.model.job import REASON_HEADER
from kusciajob.model.moves import Operation
from kusciajob.model.status import Job, JobSummary
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.wire import codec
from kusciajob.wire.job_status import encode_summary
from kusciajob.wire.nested import nested, tag_of
from kusciajob.wire.status import Answer, Code

MAX_BATCH_IDS = 10_000
BATCH_READ = 64
"""So many jobs are read at once: each can be large."""
MAX_WATCH_SECONDS = 2**31 - 1
LARGE_INPUTS_CHARACTERS = 1 << 20
"""A job with more task_input_config is described off the event loop, one at a time."""


_Key: TypeAlias = tuple[int, int, str]
"""A job's number and revision, and whom it is told; empty for the master."""

_JOBS = tag_of(pb.BatchQueryJobStatusResponseData, "jobs")

_Command: TypeAlias = pb.StopJobRequest | pb.SuspendJobRequest | pb.RestartJobRequest | pb.CancelJobRequest
_Response = TypeVar("_Response", pb.StopJobResponse, pb.SuspendJobResponse, pb.RestartJobResponse, pb.CancelJobResponse)
_FAILED = {
    Operation.STOP: Code.STOP_FAILED,
    Operation.SUSPEND: Code.SUSPEND_FAILED,
    Operation.RESTART: Code.RESTART_FAILED,
    Operation.CANCEL: Code.CANCEL_FAILED,
}


class InvalidWatch(Exception):
    """The watch request is invalid; the text names the value and what would be right."""


class JobCalls:
    """One method per RPC, of its name. None but WatchJob raises: the outcome is in the response's status.

    Encoded statuses and answers to QueryJob are cached: a job of one number and revision never changes. If a job has
    details, each domain has an entry of its own.
    """

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._responses: LRUCache[_Key, EncodedResponse] = LRUCache(weight.KEPT_BYTES, weight.encoded_bytes)
        self._statuses: LRUCache[_Key, bytes] = LRUCache(weight.KEPT_BYTES, weight.encoded_bytes)
        self._describing = asyncio.Semaphore(1)

    async def CreateJob(self, request: pb.CreateJobRequest, caller: Caller) -> pb.CreateJobResponse:
        response = pb.CreateJobResponse()
        with Answer(response.status, Code.CREATE_FAILED):
            spec = codec.decode_spec(request)
            response.data.job_id = await self._service.create(spec, caller)
        return response

    async def QueryJob(self, request: pb.QueryJobRequest, caller: Caller) -> pb.QueryJobResponse | EncodedResponse:
        response = pb.QueryJobResponse()
        with Answer(response.status, Code.QUERY_FAILED):
            job = await self._service.query(request.job_id, caller)
            key = job.number, job.revision, caller.domain
            return self._responses.get(key) or await self._describe(job, key)
        return response

    async def BatchQueryJobStatus(
        self, request: pb.BatchQueryJobStatusRequest, caller: Caller
    ) -> pb.BatchQueryJobStatusResponse | EncodedResponse:
        response = pb.BatchQueryJobStatusResponse()
        with Answer(response.status, Code.BATCH_QUERY_FAILED):
            job_ids = request.job_ids
            if len(job_ids) > MAX_BATCH_IDS:
                raise InvalidJob(f"job_ids has {len(job_ids):,} entries: at most {MAX_BATCH_IDS:,} are possible")
            statuses = await self._statuses_of(job_ids, caller)
            jobs = [statuses[job_id] for job_id in job_ids if job_id in statuses]
            if len(jobs) < len(job_ids) or sum(map(len, jobs)) > MAX_BATCH_BYTES:
                sizes = accumulate(map(len, jobs))
                return too_large(sum(size <= MAX_BATCH_BYTES for size in sizes), len(job_ids))
            return BatchResponse(jobs)
        return response

    async def _statuses_of(self, job_ids: Sequence[str], caller: Caller) -> dict[str, bytes]:
        """The parts of the answer by job id; without the last ones if all are too large for one answer."""
        if len(job_ids) <= BATCH_READ:
            jobs = await self._service.summaries(job_ids, caller)
            return {job.job_id: self._summarize(job, caller.domain) for job in jobs}
        if "" in job_ids:
            await self._service.summaries(job_ids, caller)  # is refused
        statuses: dict[str, bytes] = {}
        missing: list[str] = []
        damaged: list[JobSummary] = []
        size = 0
        unique = list(dict.fromkeys(job_ids))
        for start in range(0, len(unique), BATCH_READ):
            try:
                jobs = await self._service.summaries(unique[start : start + BATCH_READ], caller)
            except JobNotFound as error:
                missing += error.job_ids
                continue
            except JobDamaged as error:
                damaged += error.jobs
                continue
            for job in jobs if not (missing or damaged) else ():
                encoded = statuses[job.job_id] = self._summarize(job, caller.domain)
                size += len(encoded)
            if size > MAX_BATCH_BYTES:
                break
            await asyncio.sleep(0)  # the store may answer without yielding to the event loop
        if missing:
            raise JobNotFound(*missing)
        if damaged:
            raise JobDamaged(*damaged)
        return statuses

    async def DeleteJob(self, request: pb.DeleteJobRequest, caller: Caller) -> pb.DeleteJobResponse:
        response = pb.DeleteJobResponse()
        with Answer(response.status, Code.DELETE_FAILED):
            reason = request.header.custom_headers.get(REASON_HEADER, "")
            await self._service.delete(request.job_id, caller, reason=reason)
            response.data.job_id = request.job_id
        return response

    async def StopJob(self, request: pb.StopJobRequest, caller: Caller) -> pb.StopJobResponse:
        return await self._command(Operation.STOP, request, pb.StopJobResponse(), caller)

    async def SuspendJob(self, request: pb.SuspendJobRequest, caller: Caller) -> pb.SuspendJobResponse:
        return await self._command(Operation.SUSPEND, request, pb.SuspendJobResponse(), caller)

    async def RestartJob(self, request: pb.RestartJobRequest, caller: Caller) -> pb.RestartJobResponse:
        return await self._command(Operation.RESTART, request, pb.RestartJobResponse(), caller)

    async def CancelJob(self, request: pb.CancelJobRequest, caller: Caller) -> pb.CancelJobResponse:
        return await self._command(Operation.CANCEL, request, pb.CancelJobResponse(), caller)

    async def ApproveJob(self, request: pb.ApproveJobRequest, caller: Caller) -> pb.ApproveJobResponse:
        response = pb.ApproveJobResponse()
        with Answer(response.status, Code.APPROVE_FAILED):
            if request.result not in (pb.APPROVE_RESULT_ACCEPT, pb.APPROVE_RESULT_REJECT):
                raise InvalidJob(
                    f"result {request.result} is not valid: APPROVE_RESULT_ACCEPT (1) or APPROVE_RESULT_REJECT (2)"
                )
            await self._service.approve(
                request.job_id,
                accepted=request.result == pb.APPROVE_RESULT_ACCEPT,
                reason=request.reason,
                caller=caller,
            )
            response.data.job_id = request.job_id
        return response

    async def WatchJob(
        self, request: pb.WatchJobRequest, caller: Caller, *, idle_seconds: float | None = None
    ) -> AsyncGenerator[Sequence[Published], None]:
        """The events in batches, for at most `timeout_seconds`.

        The first batch is empty: from now on nothing is missed. After `idle_seconds` without an event comes another
        empty one. Raises InvalidWatch, HubClosed, LogTruncated, StoreFailed.
        """
        seconds = request.timeout_seconds
        if not 0 <= seconds <= MAX_WATCH_SECONDS:
            raise InvalidWatch(f"timeout_seconds {seconds} is out of range: 0 (no limit) to {MAX_WATCH_SECONDS}")
        monotonic = self._service.clock.monotonic
        now = last = monotonic()
        deadline = now + (seconds or float("inf"))
        idle = idle_seconds or float("inf")
        async with self._service.watch(caller) as stream:
            yield ()
            while now < deadline:
                wake = min(deadline, last + idle)
                # It can come back early and empty: what the caller may not see is left out.
                batch = await stream.read(None if wake == float("inf") else max(0, wake - now))
                now = monotonic()
                if batch or now >= last + idle:
                    last = now
                    yield batch

    async def _command(self, operation: Operation, request: _Command, response: _Response, caller: Caller) -> _Response:
        with Answer(response.status, _FAILED[operation]):
            await self._service.command(operation, request.job_id, request.reason, caller)
            response.data.job_id = request.job_id
        return response

    async def _describe(self, job: Job, key: _Key) -> EncodedResponse:
        if key[2]:
            job = replace(job, status=failures.seen_by(job.status, key[2]))
        if sum([len(task.task_input_config) for task in job.spec.tasks]) > LARGE_INPUTS_CHARACTERS:
            async with self._describing:
                data = await asyncio.to_thread(_describe, job)
        else:
            data = _describe(job)
        response = EncodedResponse(pb.QueryJobResponse, data, partial(self._keep, key))
        self._keep(key, response)
        return response

    def _keep(self, key: _Key, response: EncodedResponse) -> None:
        """Keep it with its present weight."""
        with suppress(ValueError):  # too large by itself
            self._responses[key] = response

    def _summarize(self, job: JobSummary, domain: str) -> bytes:
        key = job.number, job.revision, domain
        try:
            return self._statuses[key]  # get() takes twice as long
        except KeyError:
            seen = replace(job, status=failures.seen_by(job.status, domain)) if domain else job
        data = nested(_JOBS, encode_summary(seen))
        with suppress(ValueError):  # too large by itself
            self._statuses[key] = data
        return data


def _describe(job: Job) -> bytes:
    """The answer to QueryJob, serialised."""
    response = pb.QueryJobResponse(status=EncodedResponse.status)
    codec.fill_job(response.data, job)
    return response.SerializeToString()
