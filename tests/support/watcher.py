"""A client that watches, and connects again when the server has gone."""

import asyncio
from contextlib import suppress

import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.server import RunningServer


class Watcher:
    """`jobs` is what it knows: each existing job with its last status. AssertionError where an event contradicts it."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._watching: asyncio.Task[None] | None = None
        self.jobs: dict[str, pb.JobStatusDetail] = {}
        self.faults: list[str] = []
        """The texts of ERROR events."""

    async def connect(self) -> None:
        """Watch from the beginning; raises what was wrong with the stream before.

        Returns when the server has the watch in its books, so that no ERROR is missed, or has gone.
        """
        await self.close()
        self.jobs = {}
        call = self._server.stub.WatchJob(pb.WatchJobRequest(), wait_for_ready=True)
        self._watching = asyncio.create_task(self._watch(call))
        with suppress(grpc.aio.AioRpcError):  # told by the task
            await call.initial_metadata()

    async def close(self) -> None:
        """Leave; raises what went wrong meanwhile."""
        if self._watching is None:
            return
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self, call: "grpc.aio.UnaryStreamCall[pb.WatchJobRequest, pb.WatchJobEventResponse]") -> None:
        try:
            async for event in call:
                self._take(event)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise

    def _take(self, event: pb.WatchJobEventResponse) -> None:
        job_id = event.object.job_id
        if event.type == pb.ERROR:
            self.faults.append(event.object.status.err_msg)
        elif event.type == pb.DELETED:
            del self.jobs[job_id]
        else:
            assert (event.type == pb.ADDED) == (job_id not in self.jobs), event
            self.jobs[job_id] = event.object.status
