"""Clients send jobs of many megabytes, over TLS, and wait seconds for the answer."""

from pathlib import Path

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.requests import job_request, task_request
from tests.support.secured import secured_server

INPUT_BYTES = 20 << 20
GENEROUS_SECONDS = 60.0
"""The clients' own deadline is 5 s, on a machine that does nothing else."""


async def test_a_job_of_20_mib_is_created_over_tls(tmp_path: Path) -> None:
    async with secured_server(tmp_path) as place:
        caller = place.domain("alice")
        request = job_request("large", task_request("t", task_input_config="x" * INPUT_BYTES))
        async with caller.channel(place.server.address) as channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            answer = await stub.CreateJob(request, metadata=caller.metadata, timeout=GENEROUS_SECONDS)
    assert answer.status.code == 0, answer.status.message
