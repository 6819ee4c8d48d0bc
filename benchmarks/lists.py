"""ListJobs with many stored jobs, and the upgrade of a store that has none of what lists need."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks import jobs
from benchmarks.h2 import call_once
from benchmarks.harness import Effort, Result, at_most, single
from benchmarks.jobs import JobMessages
from benchmarks.scale import fill, stored_id
from benchmarks.servers import ServerProcess, kusciajob
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb

LIST = "/kusciajob.v1.JobsService/ListJobs"
PAGE_MS = 50.0
MIGRATION_SECONDS = 60.0
"""For a million jobs."""
ROUNDS = 21
PAGE_JOBS = (100, 1000)
RARE = 500
"""One of so many jobs has failed, and another party."""
NEW_TABLES = ("listing", "facet", "departed", "history", "attempt", "audit", "app_image")


def lists(effort: Effort, directory: Path) -> Iterator[Result]:
    """First and deep pages, and filters, each by the largest page there is and the usual one; then the upgrade."""
    count = effort.stored_jobs
    in_store = f"with {count:,} stored jobs"
    fill(directory, count)
    _vary(directory)
    _make_earlier(directory)
    with ExitStack() as stack:
        begun = time.monotonic()
        server = stack.enter_context(kusciajob(directory, runtime="simulated", http_port=-1))
        seconds = time.monotonic() - begun
        limit = at_most(MIGRATION_SECONDS * max(count / 1e6, 0.1))
        yield single(f"First start of this version {in_store}", "s", limit, [seconds])
        for name, request in _requests(server, count).items():
            for size in PAGE_JOBS:
                request.page_size = size
                values = [_milliseconds(server, request) for _ in range(ROUNDS)]
                yield single(f"ListJobs {in_store}: {name}, page_size {size}", "ms", at_most(PAGE_MS), values)


def _requests(server: ServerProcess, count: int) -> dict[str, pb.ListJobsRequest]:
    deep = pb.ListJobsRequest(page_size=max(PAGE_JOBS))
    for _ in range(count // max(PAGE_JOBS) // 2):
        deep.page_token = _list(server, deep).next_page_token
    return {
        "first page": pb.ListJobsRequest(),
        "deep page": deep,
        "party and state": pb.ListJobsRequest(party="carol", states=["Failed"]),
        "party, state and AppImage": pb.ListJobsRequest(party="alice", states=["Succeeded"], app_image="any"),
        "two that never meet": pb.ListJobsRequest(party="bob", states=["Failed"]),
        "a rare one among all of a party": pb.ListJobsRequest(party="alice", states=["Failed"], labels=["no=such"]),
        "one job by how its id begins": pb.ListJobsRequest(job_id_prefix=stored_id(count // 2)),
    }


def _list(server: ServerProcess, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
    return pb.ListJobsResponse.FromString(call_once(server.address, LIST, request.SerializeToString()))


def _milliseconds(server: ServerProcess, request: pb.ListJobsRequest) -> float:
    message = request.SerializeToString()
    begun = time.perf_counter()
    call_once(server.address, LIST, message)
    return (time.perf_counter() - begun) * 1e3


def _vary(directory: Path) -> None:
    """Make every RARE-th job one that has failed, of alice and carol."""
    job = jobs.make_job()
    for task in job.tasks:
        task.parties[1].domain_id = "carol"
        task.task_input_config = '{"seconds": 600}'
    with kusciajob(directory, runtime="simulated", http_port=-1) as server:
        (job_id,) = jobs.create(server.address, JobMessages(job), 1)
        jobs.stop(server.address, job_id)
    with closing(sqlite3.connect(directory / "data" / "jobs.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        status, spec = connection.execute(
            "SELECT status, CAST(spec AS TEXT) FROM job JOIN spec USING (number) WHERE job_id = ?", (job_id,)
        ).fetchone()
        chosen = connection.execute("SELECT number, job_id FROM job WHERE number % ? = 0", (RARE,)).fetchall()
        connection.executemany("UPDATE job SET status = ? WHERE number = ?", [(status, number) for number, _ in chosen])
        specs = [(spec.replace(job_id, other).encode(), number) for number, other in chosen]
        connection.executemany("UPDATE spec SET spec = ? WHERE number = ?", specs)
        connection.execute("COMMIT")


def _make_earlier(directory: Path) -> None:
    """Leave the database as schema 5 has it: what lists need was not there."""
    with closing(sqlite3.connect(directory / "data" / "jobs.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for table in NEW_TABLES:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE log DROP COLUMN before")
        connection.execute("ALTER TABLE store DROP COLUMN phases_told_after")
        connection.execute("PRAGMA user_version = 5")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


BENCHMARKS = (lists,)
