"""Kuscia's JobService over gRPC."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.calls import JobCalls
from kusciajob.contracts import HubClosed
from kusciajob.model.errors import LogTruncated, StoreDamaged, StoreFailed
from kusciajob.usecases.jobs import Caller, JobService
from kusciajob.wire.job_status import encode_event

MAX_WATCH_SECONDS = 2**31 - 1

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
CallerOf: TypeAlias = Callable[[Context], Caller]


class JobServicer:
    """Unary calls are those of JobCalls; WatchJob streams what the hub has encoded once for all."""

    def __init__(self, service: JobService, caller_of: CallerOf) -> None:
        self._service = service
        self._caller_of = caller_of
        calls = JobCalls(service)
        self.CreateJob = self._unary(calls.CreateJob)
        self.QueryJob = self._unary(calls.QueryJob)
        self.BatchQueryJobStatus = self._unary(calls.BatchQueryJobStatus)
        self.StopJob = self._unary(calls.StopJob)
        self.RestartJob = self._unary(calls.RestartJob)
        self.SuspendJob = self._unary(calls.SuspendJob)
        self.CancelJob = self._unary(calls.CancelJob)
        self.DeleteJob = self._unary(calls.DeleteJob)
        self.ApproveJob = self._unary(calls.ApproveJob)

    def _unary(self, call: Callable[[Any, Caller], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        def serve(request: Any, context: Context) -> Awaitable[Any]:
            return call(request, self._caller_of(context))

        return serve

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> None:
        """Stream until the client leaves, `timeout_seconds` are over or the server stops."""
        seconds = request.timeout_seconds
        if not 0 <= seconds <= MAX_WATCH_SECONDS:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"timeout_seconds {seconds} is out of range: 0 (no limit) to {MAX_WATCH_SECONDS}",
            )
        try:
            await self._stream(context, deadline=time.monotonic() + seconds if seconds else None)
        except HubClosed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again to go on")
        except LogTruncated as error:
            await context.abort(
                grpc.StatusCode.OUT_OF_RANGE,
                f"this watcher fell too far behind: {error}: connect again for the present state of every job",
            )
        except StoreDamaged as error:
            await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
        except StoreFailed as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the store cannot be read: {error}")

    async def _stream(self, context: Context, deadline: float | None) -> None:
        async with self._service.watch(self._caller_of(context), form=encode_event) as stream:
            # Without a job there is no message yet: the headers tell the client that from now on it misses nothing.
            await context.send_initial_metadata(())
            while True:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return
                for published in await stream.read(remaining):
                    await context.write(published.encoded(encode_event))
