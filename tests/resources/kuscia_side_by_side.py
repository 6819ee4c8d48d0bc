"""Run by test_proto_contract.py: `first second socket`, the two roots below which stubs of the same files are imported.

Prints "ok" when the stubs below `first` serve a call of the stubs below `second` in this one process.
"""

import asyncio
import sys
from importlib import import_module
from typing import Any

import grpc


async def serve_and_call(first: str, second: str, address: str) -> None:
    """Both sides use messages of their own module; raises AssertionError or grpc.RpcError when they do not fit."""
    served, served_grpc, called, called_grpc = (
        import_module(f"{root}.proto.api.v1alpha1.kusciaapi.{name}")
        for root in (first, second)
        for name in ("job_pb2", "job_pb2_grpc")
    )
    assert served is not called

    class Jobs(served_grpc.JobServiceServicer):  # type: ignore[name-defined, misc]
        async def WatchJob(self, request: Any, context: Any) -> Any:  # noqa: N802
            assert request == served.WatchJobRequest(timeout_seconds=7)
            yield served.WatchJobEventResponse(type=served.MODIFIED, object=served.JobStatus(job_id="job-a"))

    server = grpc.aio.server()
    served_grpc.add_JobServiceServicer_to_server(Jobs(), server)
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = called_grpc.JobServiceStub(channel)
        events = [event async for event in stub.WatchJob(called.WatchJobRequest(timeout_seconds=7), timeout=10)]
    await server.stop(grace=None)
    assert events == [called.WatchJobEventResponse(type=called.MODIFIED, object=called.JobStatus(job_id="job-a"))]


if __name__ == "__main__":
    asyncio.run(serve_and_call(sys.argv[1], sys.argv[2], sys.argv[3]))
    print("ok")  # noqa: T201
