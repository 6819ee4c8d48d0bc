"""Kuscia's habits, for tests of clients: what this server does better is undone.

- A job that exists is refused, also an identical one.
- A job has no err_msg; those of its tasks and parties stay.
- The end_time of a job comes in an event after that of its last state.
- An idle watch is sent HEARTBEATs, over gRPC as well. Nothing, no headers either, comes before its first event.
- There is no kusciajob.v1, so there are no revisions: a watch begins with all jobs, each time.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls.job import JobCalls
from kusciajob.usecases.callers import Caller
from kusciajob.wire.job_status import encode_event
from kusciajob.wire.status import Code

HEARTBEAT_SECONDS = 1.0


class KusciaHabits(JobCalls):
    """JobService as Kuscia has it."""

    async def CreateJob(self, request: pb.CreateJobRequest, caller: Caller) -> pb.CreateJobResponse:
        there = await super().QueryJob(pb.QueryJobRequest(job_id=request.job_id), caller)
        if request.job_id and there.status.code == Code.OK:
            response = pb.CreateJobResponse()
            response.status.code = Code.CREATE_FAILED
            response.status.message = f'kusciajobs.kuscia.secretflow "{request.job_id}" already exists'
            return response
        return await super().CreateJob(request, caller)

    async def QueryJob(self, request: pb.QueryJobRequest, caller: Caller) -> pb.QueryJobResponse:
        response = pb.QueryJobResponse.FromString((await super().QueryJob(request, caller)).SerializeToString())
        response.data.status.err_msg = ""
        return response

    async def BatchQueryJobStatus(
        self, request: pb.BatchQueryJobStatusRequest, caller: Caller
    ) -> pb.BatchQueryJobStatusResponse:
        told = await super().BatchQueryJobStatus(request, caller)
        response = pb.BatchQueryJobStatusResponse.FromString(told.SerializeToString())
        for job in response.data.jobs:
            job.status.err_msg = ""
        return response

    async def WatchJob(
        self, request: pb.WatchJobRequest, caller: Caller, *, idle_seconds: float | None = None
    ) -> AsyncGenerator[Sequence[Any], None]:
        """As JobCalls has it, each event as a message."""
        is_begun = is_answered = False
        async with aclosing(super().WatchJob(request, caller, idle_seconds=idle_seconds or HEARTBEAT_SECONDS)) as told:
            async for batch in told:
                if not is_begun:
                    is_begun = True  # JobCalls tells that nothing is missed from now on; Kuscia does not
                    continue
                if not is_answered:
                    is_answered = True
                    yield ()
                if not batch and idle_seconds is None:  # over HTTP the edge makes one of an empty batch
                    yield (pb.WatchJobEventResponse(type=pb.HEARTBEAT),)
                else:
                    yield [event for published in batch for event in _events(published.encoded(encode_event))]


def _events(data: bytes) -> list[pb.WatchJobEventResponse]:
    event = pb.WatchJobEventResponse.FromString(data)
    status = event.object.status
    status.err_msg = ""
    if event.type != pb.MODIFIED or not status.end_time:
        return [event]
    earlier = pb.WatchJobEventResponse.FromString(event.SerializeToString())
    earlier.object.status.end_time = ""
    return [earlier, event]
