"""Requests in the shape that most tests need."""

from collections.abc import Sequence
from typing import Any

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.polling import PATIENCE_SECONDS, eventually_true

ENDED = ("Succeeded", "Failed", "Cancelled", "ApprovalReject")


def task_request(
    alias: str, app_image: str = "any", domains: Sequence[str] = ("alice", "bob"), **fields: Any
) -> pb.Task:
    """A task with one party per domain."""
    return pb.Task(
        alias=alias, app_image=app_image, parties=[pb.Party(domain_id=domain) for domain in domains], **fields
    )


def job_request(job_id: str, *tasks: pb.Task, **fields: Any) -> pb.CreateJobRequest:
    """A job of alice's; one task without a script when none is given."""
    return pb.CreateJobRequest(job_id=job_id, initiator="alice", tasks=tasks or [task_request("only")], **fields)


async def create(stub: job_pb2_grpc.JobServiceStub, request: pb.CreateJobRequest) -> None:
    """Create a job that must be accepted."""
    response = await stub.CreateJob(request)
    assert response.status.code == 0, response.status.message


async def status_of(stub: job_pb2_grpc.JobServiceStub, job_id: str) -> pb.JobStatusDetail:
    """The job's status; it must exist."""
    response = await stub.QueryJob(pb.QueryJobRequest(job_id=job_id))
    assert response.status.code == 0, response.status.message
    return response.data.status


async def ended(
    stub: job_pb2_grpc.JobServiceStub, job_id: str, *, timeout_seconds: float = PATIENCE_SECONDS
) -> pb.JobStatusDetail:
    """The job's status once it has ended."""

    async def is_ended() -> pb.JobStatusDetail | None:
        status = await status_of(stub, job_id)
        return status if status.state in ENDED else None

    status = await eventually_true(is_ended, timeout_seconds=timeout_seconds)
    assert status is not None
    return status


async def in_state(
    stub: job_pb2_grpc.JobServiceStub, job_id: str, state: str, *, timeout_seconds: float = PATIENCE_SECONDS
) -> pb.JobStatusDetail:
    """The job's status once it has that state."""

    async def has_state() -> pb.JobStatusDetail | None:
        status = await status_of(stub, job_id)
        return status if status.state == state else None

    status = await eventually_true(has_state, timeout_seconds=timeout_seconds)
    assert status is not None
    return status
