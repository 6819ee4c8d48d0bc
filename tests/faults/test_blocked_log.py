"""Nobody reads the server's stderr any more: it goes on serving, and ends when it is told to."""

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.support.polling import PATIENCE_SECONDS
from tests.support.ports import free_range
from tests.support.program import started
from tests.support.requests import create, ended, job_request

pytestmark = pytest.mark.hostile

JOBS = 150
"""What is told of so many is more than a pipe holds, which are 64 KiB."""
_QUICKLY = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


async def test_a_stderr_that_nobody_reads_holds_up_neither_calls_nor_jobs_nor_the_end(tmp_path: Path) -> None:
    (port,) = free_range(1)
    settings = {"data_dir": tmp_path / "data", "grpc_port": port, "http_port": -1, "runtime": "simulated"}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    with started("serve", *flags) as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_QUICKLY) as channel:
            await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
            stub = job_pb2_grpc.JobServiceStub(channel)
            for number in range(0, JOBS, 10):
                await asyncio.gather(*(create(stub, job_request(f"job-{number + at}")) for at in range(10)))
            assert (await ended(stub, f"job-{JOBS - 1}")).state == "Succeeded"
        process.terminate()
        assert await asyncio.to_thread(process.wait, PATIENCE_SECONDS) == 0
        told = process.stderr.read()
    assert "job-0" in told
    assert f"job-{JOBS - 1}" not in told, "the pipe was never full"
