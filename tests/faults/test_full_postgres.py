"""A database with very many jobs: pages are complete and right, and a server begins at once where the log goes on."""

import os
from pathlib import Path
from typing import Any

import pytest

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob._gen.kusciajob.v1.jobs_pb2_grpc import JobsServiceStub
from tests.support.full_postgres import fill
from tests.support.postgres import postgres_server
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import running_server

pytestmark = pytest.mark.postgres

JOBS = int(os.environ.get("JOBS", "50000"))
PAGE = 500


async def test_lists_of_very_many_jobs_are_right_and_new_jobs_run(tmp_path: Path) -> None:
    url = await postgres_server().new_database()
    async with running_server(tmp_path, runtime="simulated", store=url) as server:
        await create(server.stub, job_request("the-first", task_request("a")))
        await ended(server.stub, "the-first")
    await fill(url, JOBS)
    async with running_server(tmp_path, runtime="simulated", store=url, max_jobs=0) as server:
        stub = JobsServiceStub(server.channel)

        async def ids(**chosen: Any) -> tuple[list[str], str]:
            answer = await stub.ListJobs(v1.ListJobsRequest(page_size=PAGE, **chosen))
            return [job.job_id for job in answer.jobs], answer.next_page_token

        newest, token = await ids()
        assert newest == [f"job-{number:07}" for number in range(JOBS, JOBS - PAGE, -1)]
        assert (await ids(page_token=token))[0][0] == f"job-{JOBS - PAGE:07}"
        assert (await ids(oldest_first=True))[0][:2] == ["the-first", "job-0000001"]
        assert (await ids(job_id_prefix="job-000002", oldest_first=True))[0][0] == "job-0000020"
        found, token = await ids(initiator="nobody")
        assert found == []
        await create(server.stub, job_request("the-last", task_request("a")))
        assert (await ended(server.stub, "the-last")).state == "Succeeded"
        assert (await ids())[0][0] == "the-last"
